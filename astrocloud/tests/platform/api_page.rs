//! The start page in a browser: log in, drop a ZIP, watch the log, click the link.

use std::path::Path;

use chromiumoxide::cdp::browser_protocol::dom::SetFileInputFilesParams;

use crate::browser::{Browser, Tab};
use crate::support::{Platform, folder, run};

/// Chooses a file on the start page and deploys it.
async fn choose(tab: &Tab, file: &Path) {
    let input = tab.page.find_element("#archive").await.unwrap();
    let files = SetFileInputFilesParams::builder()
        .file(file.to_str().unwrap())
        .backend_node_id(input.backend_node_id)
        .build()
        .unwrap();
    tab.page.execute(files).await.unwrap();
    tab.page.find_element("#start").await.unwrap().click().await.unwrap();
}

#[tokio::test]
async fn a_zip_dropped_on_the_start_page_is_online_after_its_log_ran_by() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "<title>Dropped</title><h1>Dropped</h1>")]);
    run(source.path(), "python3", &["-m", "zipfile", "-c", "my site.zip", "index.html"]).await;
    let archive = source.path().join("my site.zip");

    let browser = Browser::start().await;
    let locked = browser.open(platform.ready.api_url.as_str()).await;
    locked.says("Please log in").await;
    let tab = browser.open(platform.ready.dashboard_url.as_str()).await;
    tab.says("Deploy a ZIP").await;
    let fake = source.path().join("fake.zip");
    std::fs::write(&fake, "no archive").unwrap();
    choose(&tab, &fake).await;
    tab.says("fake.zip is no ZIP archive").await;
    choose(&tab, &archive).await;
    let text = tab.says("Live at").await;
    assert!(text.contains("Published 1 file "), "{text}");
    tab.says("http://my-site.localhost").await;
    assert_eq!(tab.errors(), [] as [&str; 0]);

    tab.page.find_element("#link a").await.unwrap().click().await.unwrap();
    tab.says("Dropped").await;

    // Who comes later gets the whole log.
    let late = browser.open(platform.ready.api_url.as_str()).await;
    late.says("my-site").await;
    assert_eq!(late.errors(), [] as [&str; 0]);
    browser.close().await;
}
