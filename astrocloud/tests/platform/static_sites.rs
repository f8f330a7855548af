use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::browser::Browser;
use crate::support::{Platform, answer, folder, host, run, write};

/// It has an empty icon, or a browser asks for one, which is an error in its console or not, as time allows.
fn site(word: &str) -> tempfile::TempDir {
    folder(&[
        (
            "index.html",
            &format!(
                "<!doctype html><title>{word}</title><link rel=icon href=data:,><h1>{word}</h1><script src=/app.js></script>"
            ),
        ),
        ("app.js", &format!("document.title = {word:?};")),
        ("about.html", "<h1>About</h1>"),
        ("docs/index.html", "<h1>Docs</h1>"),
        ("404.html", "<h1>Nothing here</h1>"),
        (".env", "SECRET=hunter22"),
        (".git/config", "[core]"),
        (".well-known/security.txt", "Contact: mailto:a@example.org"),
    ])
}

#[tokio::test]
async fn a_folder_is_online_with_one_command() {
    let platform = Platform::start().await;
    let source = site("one");
    let live = platform.deploy_live(source.path(), "shop", &[]).await;
    for key in ["project", "deployment", "status", "url", "deployment_url", "duration_ms", "reason"] {
        assert!(live.get(key).is_some(), "{key} is missing in {live}");
    }
    assert_eq!(live["reason"], json!(null));
    assert_eq!(host(&live["url"]), "shop.localhost");

    let home = platform.get("shop", "/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert_eq!(home.headers["content-type"], "text/html; charset=utf-8");
    assert!(home.body.contains("<h1>one</h1>"));
    for (path, status, text) in [
        ("/about", 200, "About"),
        ("/docs/", 200, "Docs"),
        ("/nowhere", 404, "Nothing here"),
        ("/missing.js", 404, ""),
        ("/.well-known/security.txt", 200, "Contact"),
        ("/.env", 404, ""),
        ("/.git/config", 404, ""),
    ] {
        let found = platform.get("shop", path).await;
        assert_eq!(found.status, status, "{path}");
        assert!(found.body.contains(text) && !found.body.contains("hunter22"), "{path}: {}", found.body);
    }
    assert_eq!(platform.get("other", "/").await.status, StatusCode::NOT_FOUND);

    let browser = Browser::start().await;
    let tab = browser.open(live["url"].as_str().unwrap()).await;
    assert_eq!(tab.page.get_title().await.unwrap().as_deref(), Some("one"));
    assert_eq!(tab.errors(), [] as [&str; 0]);
    browser.close().await;
}

#[tokio::test]
async fn a_zip_deploys_as_its_folder_does_and_unchanged_files_are_not_stored_again() {
    let platform = Platform::start().await;
    let source = site("zipped");
    let archive = source.path().join("../site-under-test.zip");
    let packed = tempfile::tempdir().unwrap();
    let archive = packed.path().join(archive.file_name().unwrap());
    run(source.path(), "python3", &["-m", "zipfile", "-c", archive.to_str().unwrap(), "index.html", "app.js", "docs"])
        .await;
    platform.deploy_live(&archive, "shop", &[]).await;
    assert!(platform.get("shop", "/").await.body.contains("zipped"));
    let again = platform.deploy_live(&archive, "shop", &[]).await;
    let log = platform.build_log(again["deployment"].as_str().unwrap()).await;
    assert!(log.contains("Published 3 files") && log.contains(" 0 new."), "{log}");
}

#[tokio::test]
async fn every_deployment_keeps_its_address_and_old_pages_keep_their_files() {
    let platform = Platform::start().await;
    let source =
        folder(&[("index.html", "<script src=/assets/app-DkT2a_9x.js></script>"), ("assets/app-DkT2a_9x.js", "1")]);
    let first = platform.deploy_live(source.path(), "shop", &[]).await;
    std::fs::remove_file(source.path().join("assets/app-DkT2a_9x.js")).unwrap();
    write(source.path(), &[("index.html", "second"), ("assets/app-Qm3xY_71.js", "2"), ("plain.js", "3")]);
    platform.deploy_live(source.path(), "shop", &[]).await;

    assert_eq!(platform.get("shop", "/").await.body, "second");
    assert_eq!(platform.get("shop", "/assets/app-DkT2a_9x.js").await.body, "1");
    let own = platform.get(&host(&first["deployment_url"]), "/").await;
    assert!(own.body.contains("app-DkT2a_9x.js"));
    assert_eq!(own.headers["x-robots-tag"], "noindex");
    assert!(platform.get("shop", "/").await.headers.get("x-robots-tag").is_none());
}

#[tokio::test]
async fn a_hundred_flips_under_load_fail_no_request_and_mix_no_deployments() {
    let platform = Arc::new(Platform::start().await);
    let mut ids = Vec::new();
    for word in ["one", "two"] {
        let source = site(word);
        ids.push(platform.deploy_live(source.path(), "shop", &[]).await["deployment"].as_str().unwrap().to_owned());
    }
    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let (platform, done, answered) = (platform.clone(), done.clone(), answered.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    let home = platform.get("shop", "/").await;
                    assert_eq!(home.status, StatusCode::OK);
                    assert!(home.body.contains("<h1>one</h1>") || home.body.contains("<h1>two</h1>"), "{}", home.body);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for flip in 0..100 {
        let url = platform.ready.api_url.join("/api/v1/projects/shop/rollback").unwrap();
        let body = json!({ "deployment": ids[flip % 2] });
        let client = reqwest::Client::new();
        let flipped = client.post(url).bearer_auth(&platform.ready.api_token).json(&body).send().await.unwrap();
        assert_eq!(flipped.status(), StatusCode::OK);
        let word = ["one", "two"][flip % 2];
        let home = platform.get("shop", "/").await;
        assert!(home.body.contains(&format!("<h1>{word}</h1>")), "flip {flip} answered before it was so");
    }
    done.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 100);
}

#[tokio::test]
async fn ranges_conditions_and_encodings_are_answered_as_http_says() {
    let platform = Platform::start().await;
    let text = "All work and no play makes a dull site. ".repeat(500);
    let source = folder(&[("index.html", "x"), ("text.txt", &text)]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let ask = |name: &'static str, value: String| {
        answer(platform.request(Method::GET, "shop", "/text.txt").header(name, value))
    };
    let part = ask("range", "bytes=0-7".to_owned()).await;
    assert_eq!((part.status, part.body.as_str()), (StatusCode::PARTIAL_CONTENT, "All work"));
    assert_eq!(part.headers["content-range"], format!("bytes 0-7/{}", text.len()));
    let beyond = ask("range", "bytes=99999999-".to_owned()).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let whole = platform.get("shop", "/text.txt").await;
    let tag = whole.headers["etag"].to_str().unwrap().to_owned();
    assert!(!tag.starts_with("W/"));
    assert_eq!(ask("if-none-match", tag).await.status, StatusCode::NOT_MODIFIED);
    for encoding in ["br", "zstd", "gzip"] {
        let packed = platform.request(Method::GET, "shop", "/text.txt").header("accept-encoding", encoding);
        let packed = packed.send().await.unwrap();
        assert_eq!(packed.headers()["content-encoding"], encoding);
        assert_eq!(packed.headers()["vary"].to_str().unwrap().to_lowercase(), "accept-encoding");
        assert!(packed.bytes().await.unwrap().len() < text.len() / 10);
    }
    let head = answer(platform.request(Method::HEAD, "shop", "/text.txt")).await;
    assert_eq!(head.headers["content-length"].to_str().unwrap(), text.len().to_string());
    assert_eq!(
        answer(platform.request(Method::POST, "shop", "/text.txt")).await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn the_platforms_log_holds_no_secret() {
    let platform = Platform::start().await;
    let source = site("one");
    platform.deploy_live(source.path(), "shop", &["--env", "API_KEY=hunter22"]).await;
    let said = platform.said();
    assert!(!said.contains("hunter22") && !said.contains(&platform.ready.api_token), "{said}");
    assert!(Path::new(&platform.folder.path().join("data")).exists());
}
