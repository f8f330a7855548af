use reqwest::{Method, StatusCode};

use crate::support::{Platform, TOKEN};

#[tokio::test]
async fn nothing_is_told_without_a_good_token() {
    let platform = Platform::start().await;
    for token in [None, Some("ast_wrong"), Some("")] {
        let mut request = platform.request(Method::GET, "/api/v1/projects");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Platform::send(request).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.problem(), "unauthorized");
    }
    assert_eq!(platform.get("/projects").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_login_link_opens_one_session_that_other_sites_cannot_use() {
    let platform = Platform::start().await;
    let link = platform.plane.login_link().await.unwrap();
    let first = reqwest::get(link.clone()).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let cookie = first.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let again = reqwest::get(link).await.unwrap();
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);

    let session = cookie.split(';').next().unwrap();
    let with = |method: Method, origin: Option<&str>| {
        let mut request = platform.request(method, "/api/v1/projects").header("cookie", session);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.json(&serde_json::json!({ "name": "shop" }))
    };
    let own = platform.api.as_str().trim_end_matches('/').to_owned();
    assert_eq!(Platform::send(with(Method::GET, None)).await.status, StatusCode::OK);
    let foreign = Platform::send(with(Method::POST, Some("http://evil.example"))).await;
    assert_eq!(foreign.status, StatusCode::UNAUTHORIZED);
    assert_eq!(Platform::send(with(Method::POST, None)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(Platform::send(with(Method::POST, Some(&own))).await.status, StatusCode::CREATED);

    let logout = platform.request(Method::POST, "/logout").header("cookie", session).send().await.unwrap();
    assert_eq!(logout.status(), StatusCode::OK, "it leads to the start page");
    assert_eq!(Platform::send(with(Method::GET, None)).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_is_not_in_the_database() {
    let platform = Platform::start().await;
    let link = platform.plane.login_link().await.unwrap();
    let login = link.query_pairs().next().unwrap().1.into_owned();
    let platform = platform.restart().await;
    for file in std::fs::read_dir(platform.folder()).unwrap().flatten().filter(|f| f.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        for secret in [TOKEN, login.as_str()] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{} is in {}", secret, file.path().display());
        }
    }
}

#[tokio::test]
async fn the_start_page_runs_nothing_from_elsewhere() {
    let platform = Platform::start().await;
    for (path, kind) in [("/", "text/html"), ("/start.js", "text/javascript"), ("/start.css", "text/css")] {
        let page = platform.request(Method::GET, path).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::OK);
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with(kind));
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

#[tokio::test]
async fn whoever_has_a_token_gets_another_login_link() {
    let platform = Platform::start().await;
    let answer = platform.post("/login-links", serde_json::json!({})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let opened = reqwest::get(answer.body["url"].as_str().unwrap()).await.unwrap();
    assert_eq!(opened.status(), StatusCode::OK);
    assert!(opened.headers().contains_key("set-cookie"));
    let stranger = Platform::send(platform.request(Method::POST, "/api/v1/login-links")).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
}
