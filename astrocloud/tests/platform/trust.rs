//! `astrocloud trust`: a browser that trusts the development CA, in a home of its own.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::browser::Browser;
use crate::support::{BINARY, Platform, folder};

#[tokio::test]
async fn a_browser_opens_a_site_over_https_once_the_development_ca_is_trusted() {
    let platform = Platform::start().await;
    let site = folder(&[("index.html", "<title>Shop</title><link rel=icon href=data:,><p>Welcome over HTTPS")]);
    platform.deploy_live(site.path(), "shop", &[]).await;
    let url = format!("https://shop.localhost:{}/", platform.ready.https_url.port().unwrap());
    let home = tempfile::tempdir().unwrap();
    let trust = async |more: &[&str]| -> Value {
        let args = [&["trust", "--browsers", "--json"], more].concat();
        platform.cli_with(&args, &[("HOME", home.path().to_str().unwrap())]).await.ok().json()
    };
    let refuses = async || {
        let browser = Browser::start_strict(home.path()).await;
        assert!(browser.refuses(&url).await, "without trust the browser opens no page of it");
        browser.close().await;
    };
    refuses().await;
    for _ in 0..2 {
        let done = trust(&[]).await;
        assert_eq!(done[0]["outcome"], "trusted", "{done}");
        assert!(done[0]["store"].as_str().unwrap().starts_with("Chromium"), "{done}");
    }
    let browser = Browser::start_strict(home.path()).await;
    let tab = browser.open(&url).await;
    tab.says("Welcome over HTTPS").await;
    assert_eq!(tab.errors(), Vec::<String>::new());
    browser.close().await;

    assert_eq!(trust(&["--remove"]).await[0]["outcome"], "removed");
    assert_eq!(trust(&["--remove"]).await[0]["outcome"], "absent");
    refuses().await;
}

#[tokio::test]
async fn what_is_no_root_of_a_development_ca_is_never_trusted() {
    let platform = Platform::start().await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("some.pem");
    for (text, why) in
        [("", "no certificate"), ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not the")]
    {
        std::fs::write(&file, text).unwrap();
        let args = ["trust", "--browsers", "--certificate", file.to_str().unwrap()];
        let refused = platform.cli_with(&args, &[("HOME", home.path().to_str().unwrap())]).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert!(!home.path().join(".pki").exists());
}

#[tokio::test]
async fn the_systems_store_trusts_the_development_ca_and_no_longer_when_it_is_taken_back() {
    let platform = Platform::start().await;
    let ca = platform.ready.ca_certificate.clone().unwrap();
    // The machine with copies of the two folders that the store is made of.
    let (certs, added) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copied = Command::new("cp").args(["-a", "/etc/ssl/certs/."]).arg(certs.path()).status().await.unwrap();
    assert!(copied.success());
    let in_copy = async |program: &str, args: &[&str]| {
        Command::new("bwrap")
            .args(["--unshare-user", "--uid", "0", "--gid", "0", "--dev-bind", "/", "/", "--bind"])
            .args([certs.path(), "/etc/ssl/certs".as_ref()])
            .arg("--bind")
            .args([added.path(), "/usr/local/share/ca-certificates".as_ref()])
            .args(["--", program])
            .args(args)
            .output()
            .await
            .unwrap()
    };
    let trust = async |more: &[&str]| -> Value {
        let args = [&["trust", "--system", "--json", "--certificate", ca.to_str().unwrap()], more].concat();
        let output = in_copy(BINARY, &args).await;
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let is_trusted = async || {
        let args = ["verify", "-no-CAfile", "-CApath", "/etc/ssl/certs", ca.to_str().unwrap()];
        in_copy("openssl", &args).await.status.success()
    };
    assert!(!is_trusted().await);
    assert_eq!(trust(&[]).await[0]["outcome"], "trusted");
    assert!(is_trusted().await);
    assert_eq!(trust(&["--remove"]).await[0]["outcome"], json!("removed"));
    assert!(!is_trusted().await);
    assert_eq!(trust(&["--remove"]).await[0]["outcome"], json!("absent"));
}
