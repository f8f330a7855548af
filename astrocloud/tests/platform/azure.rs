//! The platform with its object store in Azure Blob Storage.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use testkit::azurite::{ACCOUNT, Azurite, KEY};
use zip::write::SimpleFileOptions;

use crate::browser::Browser;
use crate::support::{Platform, folder, until, write};

/// How settings name an Azurite.
fn settings(azurite: &Azurite) -> Vec<(&'static str, String)> {
    vec![
        ("ASTROCLOUD_OBJECTS_URL", format!("azure://{ACCOUNT}/sites")),
        ("ASTROCLOUD_OBJECTS_ENDPOINT", azurite.endpoint()),
        ("ASTROCLOUD_OBJECTS_IDENTITY", "key".to_owned()),
        ("AZURE_STORAGE_KEY", KEY.to_owned()),
    ]
}

/// A platform on an Azurite that was set up.
async fn platform(azurite: &Azurite) -> Platform {
    let settings = settings(azurite);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let platform = Platform::start_with(&settings).await;
    let origin = platform.ready.api_url.as_str();
    let first = platform.cli_with(&["setup", "--origin", origin], &settings).await.ok().stdout;
    assert!(first.contains("was made") && first.contains("may upload from now on"), "{first}");
    let again = platform.cli_with(&["setup", "--origin", origin], &settings).await.ok().stdout;
    assert!(again.contains("is there") && !again.contains("from now on"), "{again}");
    platform
}

fn archive(path: &Path) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    zip.start_file("index.html", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"from the browser").unwrap();
    zip.finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_goes_to_azure_and_visitors_get_it_also_while_azure_is_away_and_comes_back() {
    let azurite = Azurite::start();
    let platform = platform(&azurite).await;
    let source = folder(&[("index.html", "one"), ("style.css", "body {}")]);
    let first = platform.deploy_live(source.path(), "shop", &[]).await;
    assert_eq!(platform.get("shop", "/").await.body, "one");

    // The second deployment begins while the store is away: it waits for it, and visitors get the first.
    azurite.stop();
    let id = first["deployment"].as_str().unwrap();
    let second = platform.api(Method::POST, &format!("/deployments/{id}/redeploy")).await;
    let second = format!("/deployments/{}", second["id"].as_str().unwrap());
    until("the deployment is begun", || async {
        let state = platform.api(Method::GET, &second).await;
        (state["status"] != "queued").then_some(())
    })
    .await;
    assert_eq!(platform.get("shop", "/").await.body, "one");
    azurite.begin();
    until("the deployment is live", || async {
        let deployment = platform.api(Method::GET, &second).await;
        assert_ne!(deployment["status"], "failed", "{deployment}");
        (deployment["status"] == "live").then_some(())
    })
    .await;
    assert_eq!(platform.get("shop", "/").await.body, "one");

    write(source.path(), &[("index.html", "two")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    assert_eq!(platform.get("shop", "/").await.body, "two");
    let said = platform.cli(&["gc", "--dry-run"]).await.ok().stdout;
    assert!(said.contains("Would remove 0 objects") && said.contains("3 manifests"), "{said}");
    assert!(!platform.said().contains("sig="), "signatures are in no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_uploads_straight_to_azure() {
    let azurite = Azurite::start();
    let platform = platform(&azurite).await;
    let file = platform.folder.path().join("site.zip");
    archive(&file);
    let archive = STANDARD.encode(std::fs::read(&file).unwrap());
    let browser = Browser::start().await;
    let tab = browser.open(platform.ready.dashboard_url.as_str()).await;
    tab.says("Drop a ZIP").await;
    let script = format!(
        "const bytes = Uint8Array.from(atob('{archive}'), (c) => c.charCodeAt(0));
         const files = new DataTransfer();
         files.items.add(new File([bytes], 'site.zip', {{ type: 'application/zip' }}));
         document.getElementById('archive').files = files.files;
         document.getElementById('project').value = 'dropped';
         document.getElementById('upload').requestSubmit();"
    );
    tab.page.evaluate(script).await.unwrap();
    until("the site is there", || async {
        let answer = platform.get("dropped", "/").await;
        (answer.body == "from the browser").then_some(())
    })
    .await;
    assert_eq!(tab.errors(), Vec::<String>::new());
    browser.close().await;
}
