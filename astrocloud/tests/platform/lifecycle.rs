use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Platform, folder, host, write};

#[tokio::test]
async fn state_survives_a_kill_and_a_restart() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    let first = platform.deploy_live(source.path(), "shop", &[]).await;
    write(source.path(), &[("index.html", "two")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let token = platform.ready.api_token.clone();
    let platform = platform.kill_and_restart().await;
    assert_eq!(platform.ready.api_token, token);
    assert_eq!(platform.get("shop", "/").await.body, "two");
    assert_eq!(platform.get(&host(&first["deployment_url"]), "/").await.body, "one");
    platform.cli(&["rollback", "--project", "shop"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.body, "one");
}

#[tokio::test]
async fn a_build_that_the_kill_interrupted_is_built_again() {
    let platform = Platform::start().await;
    let source = folder(&[
        ("package.json", r#"{ "name": "slow", "scripts": { "build": "sh build.sh" } }"#),
        // Goes on only when it is begun for the second time.
        (
            "build.sh",
            "mkdir -p dist && echo done > dist/index.html && test -e node_modules/again || { mkdir -p node_modules; echo building; sleep 8; }",
        ),
    ]);
    let args = ["deploy", source.path().to_str().unwrap(), "--project", "slow", "--json"];
    let deploying = platform.cli(&args);
    let begun = async {
        crate::support::until("the build has begun", || async {
            let page = platform.api(reqwest::Method::GET, "/projects/slow/deployments").await;
            let first = page["items"].get(0)?;
            let id = first["id"].as_str()?.to_owned();
            (first["status"] == "building" && platform.build_log(&id).await.contains("\nbuilding")).then_some(id)
        })
        .await
    };
    let id = tokio::select! {
        outcome = deploying => panic!("it ended early: {outcome:?}"),
        id = begun => id,
    };
    let platform = platform.kill_and_restart().await;
    crate::support::until("the deployment is live", || async {
        let deployment = platform.api(reqwest::Method::GET, &format!("/deployments/{id}")).await;
        assert_ne!(deployment["status"], "failed", "{deployment}");
        (deployment["status"] == "live").then_some(())
    })
    .await;
    assert_eq!(platform.get("slow", "/").await.body.trim(), "done", "live is said when visitors get it");
}

#[tokio::test]
async fn a_terminated_platform_drains_and_ends_well() {
    let mut platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    assert_eq!(platform.terminate().await, Some(0));
}

#[tokio::test]
async fn the_ready_file_says_where_everything_is() {
    let platform = Platform::start().await;
    let ready = &platform.ready;
    let source = folder(&[("index.html", "over TLS")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let port = ready.https_url.port().unwrap();
    let page =
        platform.trusting("shop.localhost", port).get(format!("https://shop.localhost:{port}/")).send().await.unwrap();
    assert_eq!(page.text().await.unwrap(), "over TLS");
    let health = reqwest::get(ready.api_url.join("/api/v1/health").unwrap()).await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    let login = reqwest::get(ready.dashboard_url.clone()).await.unwrap();
    assert_eq!(login.status(), StatusCode::OK);
    let again = reqwest::get(ready.dashboard_url.clone()).await.unwrap();
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED, "the link works once");
    let system = platform.api(reqwest::Method::GET, "/system").await;
    assert_eq!(system["base_domain"], json!("localhost"));
}

#[tokio::test]
async fn who_lost_the_master_key_keeps_sites_over_plain_http() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    std::fs::remove_file(platform.folder.path().join("data/master.key")).unwrap();
    let platform = platform.kill_and_restart().await;
    assert_eq!(platform.get("shop", "/").await.body, "one");
    assert!(platform.ready.ca_certificate.is_none());
    assert!(platform.said().contains("restore the key file"));
}

#[tokio::test]
async fn two_platforms_do_not_share_a_data_folder() {
    let platform = Platform::start().await;
    let data = platform.folder.path().join("data");
    let ports = ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--api", "127.0.0.1:0"];
    let mut args = vec!["up", "--data-dir", data.to_str().unwrap()];
    args.extend(ports);
    let second = platform.cli(&args).await;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("data"), "{}", second.stderr);
}
