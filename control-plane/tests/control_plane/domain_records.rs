//! Custom domains whose zone is held here.

use std::net::{SocketAddr, TcpListener};

use lookup::settings::ServerAddress;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::Platform;
use crate::zones::{create, short};

/// A platform whose own DNS server is the root of all that it asks.
async fn platform() -> Platform {
    let free: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let started = Platform::try_start(|config| {
        config.dns.listen = vec![free];
        config.lookup.roots = vec![ServerAddress(free)];
        config.domains.addresses = vec!["203.0.113.5".parse().unwrap()];
    });
    started.await.unwrap()
}

#[tokio::test]
async fn the_records_of_a_domain_are_offered_as_one_edit_and_set_when_it_is_asked_for() {
    let platform = platform().await;
    let master = "$TTL 60\n@ IN A 192.0.2.1\n@ IN AAAA 2001:db8::1\n@ IN MX 10 mail.example.net.\nwww IN A 192.0.2.1\n";
    create(&platform, json!({ "name": "example.com", "master": master })).await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    let attached = platform.post("/projects/shop/domains", json!({ "name": "example.com", "pair": true })).await;
    assert_eq!(attached.status, StatusCode::CREATED, "{}", attached.body);
    let offer = platform.get("/domains/www.example.com/records").await.body;
    assert_eq!(offer["zone"], "example.com");
    assert_eq!(offer["changes"][1]["replace"]["data"], json!(["shop.sites.localhost"]), "{offer}");
    for name in ["example.com", "www.example.com"] {
        let set = platform.post(&format!("/domains/{name}/records"), json!({})).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.body);
        assert_eq!(set.body["hostname"]["state"], "active", "{}", set.body);
        assert_eq!(platform.get(&format!("/domains/{name}/records")).await.body["changes"], json!([]));
    }
    assert_eq!(short(&platform, "example.com A").await, "203.0.113.5");
    assert_eq!(short(&platform, "example.com AAAA").await, "");
    assert_eq!(short(&platform, "example.com MX").await, "10 mail.example.net.");
    assert_eq!(short(&platform, "www.example.com CNAME").await, "shop.sites.localhost.");
    // Once more changes nothing.
    let edits = platform.get("/zones/example.com/edits").await.body["items"].as_array().unwrap().len();
    assert_eq!(platform.post("/domains/example.com/records", json!({})).await.status, StatusCode::OK);
    assert_eq!(platform.get("/zones/example.com/edits").await.body["items"].as_array().unwrap().len(), edits);
}

#[tokio::test]
async fn a_domain_whose_zone_is_elsewhere_is_told_so() {
    let platform = platform().await;
    platform.project("shop").await;
    platform.post("/projects/shop/domains", json!({ "name": "shop.example.net" })).await;
    assert_eq!(platform.get("/domains/shop.example.net/records").await.problem(), "no_zone");
}
