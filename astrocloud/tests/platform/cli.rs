use serde_json::json;

use crate::support::{Platform, folder, write};

#[tokio::test]
async fn a_broken_build_ends_with_1_shows_its_last_lines_and_leaves_the_old_site_live() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "good")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    std::fs::remove_file(source.path().join("index.html")).unwrap();
    write(source.path(), &[("package.json", r#"{ "scripts": { "build": "echo this is $SECRET_WORD && exit 7" } }"#)]);
    let (outcome, json) = platform.deploy(source.path(), "shop", &["--env", "SECRET_WORD=hunter22"]).await;
    assert_eq!(outcome.code, Some(1));
    assert_eq!(json["status"], "failed");
    assert!(json["reason"].as_str().unwrap().contains('7'), "{json}");
    assert!(outcome.stderr.contains("this is ***"), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("hunter22"));
    assert!(outcome.stderr.contains("still live"), "{}", outcome.stderr);
    assert_eq!(platform.get("shop", "/").await.body, "good");
}

#[tokio::test]
async fn wrong_arguments_end_with_2_and_say_what_is_right() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "x"), ("notes.txt", "x"), ("fake.zip", "no archive")]);
    let at = |name: &str| source.path().join(name).to_str().unwrap().to_owned();
    let here = source.path().to_str().unwrap();
    for (args, said) in [
        (vec!["deploy", "/nowhere/at/all", "--project", "a"], "/nowhere/at/all"),
        (vec!["deploy", here, "--project", "My Shop"], "my-shop"),
        (vec!["deploy", here, "--project", "a", "--type", "php"], "static"),
        (vec!["deploy", here, "--project", "a", "--env", "NOVALUE"], "NOVALUE"),
        (vec!["deploy", here, "--project", "a", "--env", "A-B=hunter2"], "`A-B`"),
        (vec!["deploy", here, "--project", "a", "--env", "PORT=80"], "`PORT`"),
        (vec!["deploy", here, "--project", "a", "--root-dir", "../b"], "--root-dir"),
        (vec!["deploy", &at("notes.txt"), "--project", "a"], "zip"),
        (vec!["deploy", &at("fake.zip"), "--project", "a"], "zip"),
        (vec!["deploy", "ftp://host/repo.git", "--project", "a"], "http"),
        (vec!["deploi"], "deploy"),
    ] {
        let outcome = platform.cli(&args).await;
        assert_eq!(outcome.code, Some(2), "{args:?}: {outcome:?}");
        assert!(outcome.stderr.to_lowercase().contains(&said.to_lowercase()), "{args:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
    // Nothing was done, not even the project made.
    assert_eq!(platform.cli(&["projects", "ls", "--json"]).await.ok().json(), json!([]));
    for args in [["env", "set", "A-B=hunter2"], ["logs", "--project", "My Shop"]] {
        assert_eq!(platform.cli(&args).await.code, Some(2), "{args:?}");
    }
}

#[tokio::test]
async fn every_command_helps_with_examples() {
    let platform = Platform::start().await;
    for command in ["up", "deploy", "deployments", "logs", "rollback", "redeploy", "env", "projects", "open", "login"] {
        let help = platform.cli(&[command, "--help"]).await.ok();
        assert!(help.stdout.contains("Examples:"), "{command}: {}", help.stdout);
    }
}

#[tokio::test]
async fn deployments_logs_redeploy_and_rollback_work_from_the_command_line() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    let first = platform.deploy_live(source.path(), "shop", &[]).await;
    write(source.path(), &[("index.html", "two")]);
    let second = platform.deploy_live(source.path(), "shop", &[]).await;

    let listed = platform.cli(&["deployments", "--project", "shop", "--json"]).await.ok().json();
    let listed = listed.as_array().or_else(|| listed["items"].as_array()).unwrap().clone();
    let ids: Vec<_> = listed.iter().map(|d| d["id"].clone()).collect();
    assert_eq!(ids, [second["deployment"].clone(), first["deployment"].clone()]);

    let logs = platform.cli(&["logs", "--project", "shop"]).await.ok();
    assert!(logs.stdout.contains("Live at http://shop.localhost"), "{}", logs.stdout);
    let of_first = platform.cli(&["logs", first["deployment"].as_str().unwrap(), "-f"]).await.ok();
    assert!(of_first.stdout.contains("Published 1 file "), "{}", of_first.stdout);

    platform.cli(&["rollback", "--project", "shop"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.body, "one");
    let forth =
        platform.cli(&["rollback", second["deployment"].as_str().unwrap(), "--project", "shop", "--json"]).await.ok();
    assert_eq!(forth.json()["status"], "live");
    assert_eq!(platform.get("shop", "/").await.body, "two");

    let again =
        platform.cli(&["redeploy", first["deployment"].as_str().unwrap(), "--project", "shop", "--json"]).await.ok();
    assert_eq!(again.json()["status"], "live");
    assert_eq!(platform.get("shop", "/").await.body, "one");

    let opened = platform.cli(&["open", "--project", "shop"]).await.ok();
    assert!(opened.stdout.contains("http://shop.localhost"), "{}", opened.stdout);
}

#[tokio::test]
async fn variables_are_set_listed_without_values_and_used_by_the_next_build() {
    let platform = Platform::start().await;
    let source = folder(&[(
        "package.json",
        r#"{ "scripts": { "build": "mkdir -p dist && echo $GREETING > dist/index.html" } }"#,
    )]);
    platform.deploy_live(source.path(), "shop", &["--env", "GREETING=good morning"]).await;
    assert_eq!(platform.get("shop", "/").await.body.trim(), "good morning");
    platform.cli(&["env", "set", "GREETING=good evening", "OTHER=x", "--project", "shop"]).await.ok();
    let listed = platform.cli(&["env", "ls", "--project", "shop"]).await.ok();
    assert!(listed.stdout.contains("GREETING") && !listed.stdout.contains("evening"), "{}", listed.stdout);
    platform.cli(&["env", "unset", "OTHER", "--project", "shop"]).await.ok();
    platform.cli(&["redeploy", "--project", "shop"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.body.trim(), "good evening");
}

#[tokio::test]
async fn projects_are_listed_and_removed() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let listed = platform.cli(&["projects", "ls", "--json"]).await.ok().json();
    let listed = listed.as_array().or_else(|| listed["items"].as_array()).unwrap().clone();
    assert_eq!(listed[0]["name"], json!("shop"));
    platform.cli(&["projects", "rm", "shop", "--yes"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.status, 404);
    let gone = platform.cli(&["deployments", "--project", "shop"]).await;
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("shop"), "{}", gone.stderr);
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_told_with_the_way_to_start_one() {
    let mut platform = Platform::start().await;
    assert_eq!(platform.terminate().await, Some(0));
    assert!(!platform.folder.path().join("ready.json").exists(), "who is gone is not ready");
    let outcome = platform.cli(&["projects", "ls"]).await;
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("astrocloud up"), "{}", outcome.stderr);
}

#[tokio::test]
async fn who_is_told_everything_by_the_environment_needs_no_file() {
    let platform = Platform::start().await;
    std::fs::write(platform.folder.path().join("config/astrocloud/config.toml"), "no login").unwrap();
    platform.cli(&["projects", "ls"]).await.ok();
}

#[tokio::test]
async fn flags_count_for_one_deployment_and_the_projects_settings_for_all() {
    let platform = Platform::start().await;
    let source = folder(&[("web/index.html", "web"), ("index.html", "root")]);
    platform.deploy_live(source.path(), "shop", &["--root-dir", "web"]).await;
    assert_eq!(platform.get("shop", "/").await.body, "web");
    platform.cli(&["redeploy", "--project", "shop"]).await.ok();
    assert_eq!(platform.get("shop", "/").await.body, "web", "a redeploy is of what was asked for");
    let (broken, _) = platform.deploy(source.path(), "shop", &["--root-dir", "nowhere"]).await;
    assert_eq!(broken.code, Some(1));
    platform.deploy_live(source.path(), "shop", &[]).await;
    assert_eq!(platform.get("shop", "/").await.body, "root");

    let url = platform.ready.api_url.join("/api/v1/projects/shop").unwrap();
    let patch = reqwest::Client::new().patch(url).bearer_auth(&platform.ready.api_token);
    let set = patch.json(&json!({ "root_dir": "web" })).send().await.unwrap();
    assert_eq!(set.status(), 200);
    let (outcome, _) = platform.deploy(source.path(), "shop", &[]).await;
    assert!(outcome.stderr.contains("--root-dir 'web'"), "it is told: {}", outcome.stderr);
    assert_eq!(platform.get("shop", "/").await.body, "web");
    platform.deploy_live(source.path(), "shop", &["--root-dir", "."]).await;
    assert_eq!(platform.get("shop", "/").await.body, "root");
}
