use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Platform, folder};

/// A platform with `shop` and `blog` live.
async fn platform() -> Platform {
    platform_with(&[]).await
}

async fn platform_with(settings: &[(&str, &str)]) -> Platform {
    let platform = Platform::start_with(settings).await;
    for name in ["shop", "blog"] {
        let source = folder(&[("index.html", &format!("<h1>{name}</h1>"))]);
        platform.deploy_live(source.path(), name, &[]).await;
    }
    platform
}

#[tokio::test]
async fn a_pair_of_local_domains_works_over_https_at_once() {
    let platform = platform().await;
    let args = ["domains", "add", "acme.test.localhost", "--project", "shop", "--wait", "--json"];
    let added = platform.cli(&args).await.ok().json();
    assert_eq!(added[0]["hostname"]["state"], "active", "{added}");
    let args =
        ["domains", "add", "www.acme.test.localhost", "--redirect-to", "acme.test.localhost", "--project", "shop"];
    platform.cli(&args).await.ok();
    platform.cli(&["domains", "add", "*.acme.test.localhost", "--project", "shop"]).await.ok();

    let port = platform.ready.https_url.port().unwrap();
    for host in ["acme.test.localhost", "any.acme.test.localhost"] {
        let answer = platform.trusting(host, port).get(format!("https://{host}:{port}/")).send().await.unwrap();
        assert_eq!((answer.status(), answer.headers().get("set-cookie")), (StatusCode::OK, None));
        assert!(answer.text().await.unwrap().contains("shop"));
    }
    let led = platform.get("www.acme.test.localhost", "/a?b=c").await;
    assert_eq!(led.status, StatusCode::PERMANENT_REDIRECT);
    let http_port = platform.ready.http_url.port().unwrap();
    assert_eq!(led.headers["location"], format!("http://acme.test.localhost:{http_port}/a?b=c"));

    let set = ["domains", "set", "acme.test.localhost", "--https-redirect", "on", "--hsts", "600"];
    platform.cli(&set).await.ok();
    let led = platform.get("acme.test.localhost", "/x").await;
    assert_eq!(led.headers["location"], format!("https://acme.test.localhost:{port}/x"));
    let host = "acme.test.localhost";
    let secure = platform.trusting(host, port).get(format!("https://{host}:{port}/")).send().await.unwrap();
    assert_eq!(secure.headers()["strict-transport-security"], "max-age=600");

    let listed = platform.cli(&["domains", "ls", "--project", "shop"]).await.ok().stdout;
    assert!(listed.contains("*.acme.test.localhost") && listed.contains("→ acme.test.localhost"), "{listed}");
    let refused = platform.cli(&["domains", "rm", "acme.test.localhost"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("www.acme.test.localhost"), "{}", refused.stderr);
    for name in ["www.acme.test.localhost", "acme.test.localhost"] {
        platform.cli(&["domains", "rm", name]).await.ok();
    }
    // The wildcard goes on.
    assert_eq!(platform.get("www.acme.test.localhost", "/").await.status, StatusCode::OK);
    platform.cli(&["domains", "rm", "*.acme.test.localhost"]).await.ok();
    assert_eq!(platform.get("www.acme.test.localhost", "/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_transfer_fails_no_request() {
    let platform = platform().await;
    platform.cli(&["domains", "add", "acme.test.localhost", "--project", "shop"]).await.ok();
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let visitors: Vec<_> = (0..8)
        .map(|_| {
            let request = platform.request(reqwest::Method::GET, "acme.test.localhost", "/");
            let (over, served) = (Arc::clone(&over), Arc::clone(&served));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = request.try_clone().unwrap().send().await.unwrap();
                    assert_eq!(answer.status(), StatusCode::OK);
                    let body = answer.text().await.unwrap();
                    let which = ["shop", "blog"].iter().position(|name| body.contains(name)).unwrap();
                    served[which].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        for to in ["blog", "shop"] {
            let moved = platform.cli(&["domains", "transfer", "acme.test.localhost", "--to", to, "--json"]).await.ok();
            assert_eq!(moved.json()[0]["project"], json!(to));
            // Whoever comes from now on gets that project.
            let page = platform.get("acme.test.localhost", "/").await;
            assert!(page.body.contains(to), "{}", page.body);
        }
    }
    over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
    let counts = [served[0].load(Ordering::Relaxed), served[1].load(Ordering::Relaxed)];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[tokio::test]
async fn what_is_to_be_set_is_told_and_a_domain_survives_a_restart() {
    // Nothing listens there: the real DNS is not asked.
    let platform = platform_with(&[("ASTROCLOUD_LOOKUP_ROOTS", "127.0.0.1:9")]).await;
    let added = platform.cli(&["domains", "add", "www.bücher.example", "--project", "shop"]).await.ok();
    for told in
        ["www.bücher.example (www.xn--bcher-kva.example)", "CNAME  shop.localhost", "TXT  astrocloud-verification="]
    {
        assert!(added.stdout.contains(told), "{}", added.stdout);
    }
    platform.cli(&["domains", "add", "acme.test.localhost", "--project", "shop"]).await.ok();
    let platform = platform.kill_and_restart().await;
    assert_eq!(platform.get("acme.test.localhost", "/").await.status, StatusCode::OK);
    let shown = platform.cli(&["domains", "show", "www.bücher.example", "--json"]).await.ok().json();
    assert_eq!(shown["hostname"]["state"], "pending_dns");
    let refused = platform.cli(&["domains", "add", "example.com", "--project", "shop"]).await;
    assert!(refused.stderr.contains("domains.addresses"), "{}", refused.stderr);
}
