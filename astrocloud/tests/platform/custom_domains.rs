//! Custom domains from the name to the padlock: the real binary, real name servers, and Pebble.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::internet::{Internet, deploy, shown};
use crate::support::{PATIENCE, Platform, until};

/// Domains of the figure.
const DOMAINS: usize = 40;
/// Time between the records of two of them, so that they neither wait for each other nor for the same look.
const APART: Duration = Duration::from_millis(410);
/// Time between two visits of a domain that is not served yet.
const BETWEEN_VISITS: Duration = Duration::from_millis(200);

async fn certificate(platform: &Platform, name: &str) -> Value {
    platform.cli(&["certificates", "show", name, "--json"]).await.ok().json()
}

#[tokio::test]
async fn a_domain_has_trusted_https_once_its_record_is_set() {
    let internet = Internet::start().await;
    let platform = internet.platform("").await;
    let root = internet.pebble.root(0).await;
    deploy(&platform, "shop").await;
    let name = "www.customer.example";
    let added = platform.cli(&["domains", "add", name, "--project", "shop"]).await.ok();
    assert!(added.stdout.contains("www.customer.example  CNAME  shop.apps.example"), "{}", added.stdout);

    // What is wrong is named, for people and for programs.
    internet.set("www IN CNAME shop.elsewhere.example.\n");
    let check = platform.cli(&["domains", "check", name]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    for told in ["error", "what to do", "set           www.customer.example  CNAME  shop.apps.example"] {
        assert!(check.stdout.contains(told), "{}", check.stdout);
    }
    let check = platform.cli(&["domains", "check", name, "--json"]).await;
    let report = check.json();
    assert_eq!((check.code, &report["health"]), (Some(1), &json!("broken")), "{report}");
    assert_eq!(report["findings"][0]["code"], "wrong_cname", "{report}");
    assert!(internet.visit(name, &root).await.is_none());
    assert_eq!(shown(&platform, name).await["hostname"]["state"], "misconfigured");

    internet.clear();
    internet.set("www IN CNAME shop.apps.example.\n");
    let page = until("it is trusted", || internet.visit(name, &root)).await;
    assert!(page.contains("shop"), "{page}");
    let domain = shown(&platform, name).await;
    assert_eq!((&domain["hostname"]["state"], &domain["certificate"]["state"]), (&json!("active"), &json!("active")));
    let check = platform.cli(&["domains", "check", name]).await.ok();
    assert!(check.stdout.contains("All is well."), "{check:?}");
    let check = platform.cli(&["domains", "check", name, "--json"]).await.ok().json();
    assert_eq!((&check["health"], &check["findings"]), (&json!("healthy"), &json!([])));

    // Who removes it has its certificate revoked.
    let serial = certificate(&platform, name).await["serial"].as_str().unwrap().to_owned();
    platform.cli(&["domains", "rm", name]).await.ok();
    until("it is served no more", || async { internet.visit(name, &root).await.is_none().then_some(()) }).await;
    until("it is revoked", || async { (internet.pebble.status_of(&serial).await == "Revoked").then_some(()) }).await;
    until("nothing is left of it", || async {
        let listed = platform.cli(&["certificates", "list", "--json"]).await.ok().json();
        (listed == json!([])).then_some(())
    })
    .await;
}

/// Passes visitors on to the edge over plain HTTP, and says that it is Cloudflare.
async fn cdn(internet: &Internet) {
    let edge = format!("http://127.0.0.1:{}/", internet.pebble.http);
    let pass_on = move |headers: HeaderMap| async move {
        let request = reqwest::Client::new().get(edge).header("host", &headers["host"]);
        let answer = request.send().await.unwrap();
        let mut headers = answer.headers().clone();
        headers.remove("transfer-encoding");
        headers.insert("cf-ray", "1".parse().unwrap());
        (answer.status(), headers, answer.bytes().await.unwrap())
    };
    let app = axum::Router::new().fallback(pass_on);
    let listener = tokio::net::TcpListener::bind(SocketAddr::new(internet.cdn, internet.pebble.http)).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
}

#[tokio::test]
async fn a_domain_behind_a_cdn_works_once_the_text_shows_whose_it_is_and_says_what_stands_in_front() {
    let internet = Internet::start().await;
    let platform = internet.platform("").await;
    let root = internet.pebble.root(0).await;
    deploy(&platform, "shop").await;
    cdn(&internet).await;
    let name = "www.customer.example";
    internet.set(&format!("www IN A {}\n", internet.cdn));
    let added = platform.cli(&["domains", "add", name, "--project", "shop", "--json"]).await.ok().json();
    let checked = platform.cli(&["domains", "check", name]).await;
    assert!(checked.stdout.contains("Cloudflare stands in front of www.customer.example"), "{checked:?}");
    assert_eq!(shown(&platform, name).await["hostname"]["state"], "misconfigured");

    let text = added[0]["records"]["prove"]["value"].as_str().unwrap();
    internet.set(&format!("_astrocloud.www IN TXT \"{text}\"\n"));
    until("it is trusted", || internet.visit(name, &root)).await;
    let hostname = until("it leads here through the CDN", || async {
        let hostname = shown(&platform, name).await["hostname"].take();
        (hostname["state"] == "active").then_some(hostname)
    })
    .await;
    assert_eq!((&hostname["proof"], &hostname["doubt"]["code"]), (&json!("txt"), &json!("proxied_through_cdn")));
    let message = hostname["doubt"]["message"].as_str().unwrap();
    assert!(message.contains("Cloudflare") && message.contains("Full (strict)"), "{message}");
}

#[tokio::test]
async fn a_zone_held_here_gets_the_wildcard_certificate_of_the_base_domain() {
    let internet = Internet::with_zone_at_the_platform().await;
    let platform = internet.platform("").await;
    let root = internet.pebble.root(0).await;
    deploy(&platform, "shop").await;
    assert!(internet.visit("shop.apps.example", &root).await.is_none());
    platform.cli(&["zones", "add", "apps.example"]).await.ok();
    for host in ["shop.apps.example", "other.apps.example"] {
        until("it is trusted", || internet.visit(host, &root)).await;
    }
    let wildcard = certificate(&platform, "*.apps.example").await;
    assert_eq!((&wildcard["state"], &wildcard["authority"]), (&json!("active"), &json!("pebble")), "{wildcard}");
    assert_eq!(internet.pebble.logged("Added order"), 1);
}

/// Prints the times from the right record to trusted HTTPS.
#[tokio::test]
async fn many_domains_have_trusted_https_soon_after_their_records_are_set() {
    let internet = Internet::start().await;
    let platform = internet.platform("").await;
    let root = internet.pebble.root(0).await;
    deploy(&platform, "shop").await;
    let name = |i: usize| format!("n{i}.customer.example");
    for i in 0..DOMAINS {
        platform.cli(&["domains", "add", &name(i), "--project", "shop"]).await.ok();
    }
    let (internet, platform, root) = (&internet, &platform, &root);
    let served = (0..DOMAINS).map(|i| async move {
        tokio::time::sleep(APART * u32::try_from(i).unwrap()).await;
        internet.set(&format!("n{i} IN CNAME shop.apps.example.\n"));
        let (begun, visitor) = (Instant::now(), internet.visitor(&name(i), root));
        // Forty visitors who try all the time would be what is measured.
        while internet.visit_by(&visitor, &name(i)).await.is_none() {
            tokio::time::sleep(BETWEEN_VISITS).await;
            assert!(begun.elapsed() < PATIENCE, "{}: {}", name(i), shown(platform, &name(i)).await);
        }
        begun.elapsed()
    });
    let mut times = futures::future::join_all(served).await;
    times.sort();
    let at = |percent: usize| times[(DOMAINS * percent).div_ceil(100) - 1];
    println!(
        "from right DNS to trusted HTTPS, {DOMAINS} domains: p50 {:?}, p95 {:?}, all {:?}",
        at(50),
        at(95),
        at(100)
    );
}
