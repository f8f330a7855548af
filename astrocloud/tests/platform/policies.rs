use reqwest::StatusCode;

use crate::support::{Platform, folder, until};

#[tokio::test]
async fn a_policy_is_met_when_the_command_returns() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let file = platform.folder.path().join("policy.toml");
    std::fs::write(&file, "[https]\nredirect = true\n").unwrap();
    let file = file.to_str().unwrap();
    platform.cli(&["policy", "set", file, "--project", "shop"]).await.ok();
    let led = platform.get("shop", "/").await;
    assert_eq!(led.status, StatusCode::PERMANENT_REDIRECT);
    let port = platform.ready.https_url.port().unwrap();
    assert_eq!(led.headers["location"].to_str().unwrap(), format!("https://shop.localhost:{port}/"));

    let login =
        r#"{ "https": null, "protection": [{ "path": "/", "users": [{ "user": "ada", "password": "lovelace" }] }] }"#;
    std::fs::write(file, login).unwrap();
    platform.cli(&["policy", "set", file, "--merge", "--project", "shop"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.status, StatusCode::UNAUTHORIZED);
    let known = platform.request(reqwest::Method::GET, "shop", "/").basic_auth("ada", Some("lovelace"));
    assert_eq!(known.send().await.unwrap().text().await.unwrap(), "one");

    let shown = platform.cli(&["policy", "show", "--project", "shop"]).await.ok().stdout;
    assert!(
        shown.contains("password_set = true") && !shown.contains("lovelace") && !shown.contains("argon2"),
        "{shown}"
    );
    // What was shown can be set, and changes nothing.
    std::fs::write(file, &shown).unwrap();
    platform.cli(&["policy", "set", file, "--project", "shop"]).await.ok();
    assert_eq!(platform.cli(&["policy", "show", "--project", "shop"]).await.ok().stdout, shown);
    let known = platform.request(reqwest::Method::GET, "shop", "/").basic_auth("ada", Some("lovelace"));
    assert_eq!(known.send().await.unwrap().status(), StatusCode::OK);

    // An editor that turns compression off, and one that writes nonsense.
    let kept = platform.folder.path().to_str().unwrap();
    let edit = ["policy", "edit", "--project", "shop"];
    let off = "sed -i 's/^compression = .*/compression = \"off\"/'";
    platform.cli_with(&edit, &[("EDITOR", off)]).await.ok();
    let edited = platform.cli(&["policy", "show", "--project", "shop", "--json"]).await.ok().json();
    assert_eq!(edited["compression"], "off");
    let maybe = "sed -i 's/^compression = .*/compression = \"maybe\"/'";
    let nonsense = platform.cli_with(&edit, &[("EDITOR", maybe), ("TMPDIR", kept)]).await;
    assert_eq!(nonsense.code, Some(1));
    assert!(nonsense.stderr.contains("`compression`") && nonsense.stderr.contains("kept in"), "{}", nonsense.stderr);

    std::fs::write(file, "[htps]\nredirect = true\n").unwrap();
    let refused = platform.cli(&["policy", "set", file, "--project", "shop"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("`https`"), "{}", refused.stderr);
    assert!(!platform.said().contains("lovelace"));
}

#[tokio::test]
async fn a_purge_tells_how_many_edges_have_forgotten() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let purged = platform.cli(&["purge", "--everything", "--project", "shop", "--json"]).await.ok().json();
    assert_eq!(purged, serde_json::json!({ "edges": 1, "late": 0 }));
    let foreign = platform.cli(&["purge", "--host", "blog.localhost", "--project", "shop"]).await;
    assert_eq!(foreign.code, Some(1));
    assert!(foreign.stderr.contains("blog.localhost"), "{}", foreign.stderr);
}

#[tokio::test]
async fn visits_are_counted() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    for path in ["/", "/", "/nowhere"] {
        platform.get("shop", path).await;
    }
    let usage = until("the edge has told what it served", || async {
        let usage = platform.cli(&["usage", "--project", "shop", "--json"]).await.ok().json();
        let hours = usage["hours"].as_array().unwrap();
        let requests: u64 = hours.iter().map(|hour| hour["requests"].as_u64().unwrap()).sum();
        (requests >= 3).then_some(usage)
    })
    .await;
    let missing: u64 =
        usage["hours"].as_array().unwrap().iter().map(|hour| hour["statuses"][3].as_u64().unwrap()).sum();
    assert_eq!(missing, 1, "{usage}");
    let table = platform.cli(&["usage", "--project", "shop"]).await.ok();
    assert!(table.stdout.contains("REQUESTS"), "{}", table.stdout);
}
