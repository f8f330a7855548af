//! A platform is backed up while it works, and restored elsewhere.

use std::path::Path;

use reqwest::{Method, StatusCode};
use testkit::postgres::Postgres;

use crate::support::{Outcome, Platform, folder, until};

const PASSPHRASE: (&str, &str) = ("ASTROCLOUD_BACKUP_PASSPHRASE", "a horse that reads");

async fn restore(platform: &Platform, from: &Path, to: &Path, more: &[(&str, &str)]) -> Outcome {
    let variables = [&[PASSPHRASE], more].concat();
    let args = ["restore", from.to_str().unwrap(), "--data-dir", to.to_str().unwrap(), "--json"];
    platform.cli_with(&args, &variables).await
}

#[tokio::test]
async fn what_is_restored_serves_the_same_bytes_on_sqlite_and_on_postgres() {
    let platform = Platform::start().await;
    let site = folder(&[("index.html", "<h1>shop</h1>"), ("big.txt", &"line\n".repeat(50_000))]);
    platform.deploy_live(site.path(), "shop", &[]).await;
    let app = folder(&[
        ("package.json", r#"{ "name": "api", "scripts": { "start": "node server.js" } }"#),
        (
            "server.js",
            r#"require("http").createServer((q, r) => r.end("api " + process.env.WORD)).listen(process.env.PORT);"#,
        ),
    ]);
    platform.deploy_live(app.path(), "api", &["--env", "WORD=hunter22"]).await;
    // The first look also fills the edge's cache.
    let page = platform.get("shop", "/").await.body;
    let big = platform.get("shop", "/big.txt").await.body;
    assert_eq!(platform.get("api", "/").await.body, "api hunter22");

    // One is being built when the backup is made.
    let slow = folder(&[
        ("package.json", r#"{ "name": "slow", "scripts": { "build": "sh build.sh" } }"#),
        ("build.sh", "mkdir -p dist && echo done > dist/index.html && echo building && sleep 3"),
    ]);
    let args = ["deploy", slow.path().to_str().unwrap(), "--project", "slow", "--json"];
    let data = platform.folder.path().join("data");
    let out = platform.folder.path().join("backups/one");
    let backed_up = async {
        until("the build has begun", || async {
            let page = platform.api(Method::GET, "/projects/slow/deployments").await;
            (page["items"].get(0)?["status"] == "building").then_some(())
        })
        .await;
        let (out, data) = (out.to_str().unwrap(), data.to_str().unwrap());
        let args = ["backup", out, "--data-dir", data, "--with-objects", "--json"];
        let made = platform.cli_with(&args, &[PASSPHRASE]).await.ok().json();
        assert_eq!(made["objects_included"], true, "{made}");
        let again = platform.cli_with(&args, &[PASSPHRASE]).await;
        assert!(again.code != Some(0) && again.stderr.contains("is there already"), "{again:?}");
    };
    let (built, ()) = tokio::join!(platform.cli(&args), backed_up);
    built.ok();

    let args = ["restore", out.to_str().unwrap(), "--data-dir", "elsewhere"];
    let wrong = platform.cli_with(&args, &[(PASSPHRASE.0, "another passphrase")]).await;
    assert!(wrong.stderr.contains("passphrase"));
    let taken = restore(&platform, &out, &data, &[]).await;
    assert!(taken.code != Some(0) && taken.stderr.contains("holds something"), "{taken:?}");

    let postgres = Postgres::shared().create_database();
    for database in [None, Some(postgres.as_str())] {
        let place = tempfile::tempdir().unwrap();
        let variables: Vec<_> = database.map(|url| ("ASTROCLOUD_DATABASE_URL", url)).into_iter().collect();
        restore(&platform, &out, &place.path().join("data"), &variables).await.ok();
        let restored = Platform::start_on(place, &variables).await;
        assert_eq!(restored.ready.api_token, platform.ready.api_token);
        assert_eq!(restored.get("shop", "/").await.body, page);
        assert_eq!(restored.get("shop", "/big.txt").await.body, big);
        until("the app runs", || async {
            let answer = restored.get("api", "/").await;
            (answer.status == StatusCode::OK && answer.body == "api hunter22").then_some(())
        })
        .await;
        // What was being built is built: its row was there, and its source.
        until("the build that was interrupted is live", || async {
            (restored.get("slow", "/").await.body.trim() == "done").then_some(())
        })
        .await;
    }
    let again = restore(
        &platform,
        &out,
        &platform.folder.path().join("third"),
        &[("ASTROCLOUD_DATABASE_URL", postgres.as_str())],
    )
    .await;
    assert!(again.code != Some(0) && again.stderr.contains("holds nothing yet"), "{again:?}");
    assert!(!platform.folder.path().join("third").exists());
}
