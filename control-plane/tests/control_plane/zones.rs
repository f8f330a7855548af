//! Zones through the API, and what dig sees of them.

use std::net::SocketAddr;
use std::process::Command;

use common::secret::MasterKey;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Platform, until};

pub async fn dig(server: SocketAddr, words: &str) -> String {
    let line = format!("@{} -p {} +norecurse +tries=1 +time=5 {words}", server.ip(), server.port());
    let output = tokio::task::spawn_blocking(move || Command::new("dig").args(line.split_whitespace()).output());
    String::from_utf8(output.await.unwrap().unwrap().stdout).unwrap()
}

/// What dig prints of an answer alone.
pub async fn short(platform: &Platform, words: &str) -> String {
    dig(platform.plane.dns()[0], &format!("+short {words}")).await.trim().to_owned()
}

pub async fn create(platform: &Platform, body: Value) -> Value {
    let answer = platform.post("/zones", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.body
}

async fn edit(platform: &Platform, changes: Value) -> Answer {
    platform.call(Method::PATCH, "/zones/example.com/records", Some(json!({ "changes": changes }))).await
}

pub async fn edited(platform: &Platform, changes: Value) -> Value {
    let answer = edit(platform, changes).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

pub fn add(name: &str, kind: &str, data: &str) -> Value {
    json!({ "add": { "name": name, "type": kind, "data": data } })
}

#[tokio::test]
async fn a_zone_is_answered_when_its_creation_and_each_edit_return() {
    let platform = Platform::start().await;
    let zone = create(&platform, json!({ "name": "Example.com." })).await;
    assert_eq!(zone["name"], "example.com");
    assert_eq!(zone["nameservers"], json!(["ns1.sites.test", "ns2.sites.test"]));
    assert!(short(&platform, "example.com SOA").await.starts_with("ns1.sites.test. hostmaster.sites.test. "));
    let made = edited(&platform, json!([add("www", "CNAME", "@"), add("@", "A", "192.0.2.7")])).await;
    assert_eq!((&made["servers"], &made["late"]), (&json!(1), &json!(0)));
    assert_eq!(made["edit"]["actor"], "token");
    assert_eq!(made["edit"]["differences"].as_array().unwrap().len(), 2);
    assert_eq!(short(&platform, "www.example.com A").await, "example.com.\n192.0.2.7");
    let set = json!([{ "replace": { "name": "@", "type": "A", "ttl": 60, "data": ["192.0.2.8", "192.0.2.9"] } }]);
    edited(&platform, set.clone()).await;
    assert_eq!(short(&platform, "example.com A").await.lines().count(), 2);
    assert_eq!(edit(&platform, set).await.status, StatusCode::NO_CONTENT);
    let records = platform.get("/zones/example.com/records?type=a").await.body;
    assert_eq!(records["items"][0], json!({ "name": "@", "type": "A", "ttl": 60, "data": "192.0.2.8" }));
    let answer = platform.call(Method::DELETE, "/zones/example.com", None).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(dig(platform.plane.dns()[0], "example.com SOA").await.contains("REFUSED"));
    assert_eq!(platform.get("/zones/example.com").await.problem(), "not_found");
}

#[tokio::test]
async fn a_zone_that_would_break_is_refused_with_the_reason_and_nothing_changes() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com" })).await;
    edited(&platform, json!([add("www", "CNAME", "shop.example.net")])).await;
    for (changes, said) in [
        (json!([add("a", "A", "192.0.2.7"), add("www", "A", "192.0.2.7")]), "CNAME beside other records"),
        (json!([add("a", "A", "192.0.2")]), "such as 192.0.2.1"),
        (json!([add("@", "CNAME", "shop.example.net")]), "ALIAS"),
        (json!([{ "remove": { "name": "@", "type": "NS" } }]), "no NS record"),
        (json!([{ "remove": { "name": "gone" } }]), "no record"),
    ] {
        let answer = edit(&platform, changes).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (422, "invalid_zone"));
        assert!(answer.body["detail"].as_str().unwrap().contains(said), "{}", answer.body);
    }
    assert_eq!(short(&platform, "a.example.com A").await, "");
    let long = json!({ "note": "x".repeat(501), "changes": [add("a", "A", "192.0.2.7")] });
    let answer = platform.call(Method::PATCH, "/zones/example.com/records", Some(long)).await;
    assert_eq!(answer.problem(), "invalid_zone");
    let stale = json!({ "serial": 7, "changes": [add("a", "A", "192.0.2.7")] });
    let answer = platform.call(Method::PATCH, "/zones/example.com/records", Some(stale)).await;
    assert_eq!(answer.problem(), "changed_meanwhile");
    for (name, word) in [("example.com", "zone_exists"), ("co.uk", "invalid_name"), ("a..b", "invalid_name")] {
        assert_eq!(platform.post("/zones", json!({ "name": name })).await.problem(), word, "{name}");
    }
    let broken = json!({ "name": "b.example", "master": "$TTL 60\nwww IN CNAME a\nwww IN A 192.0.2.1\n" });
    assert_eq!(platform.post("/zones", broken).await.problem(), "invalid_zone");
    let unreadable = platform.post("/zones", json!({ "name": "b.example", "master": "www IN A x\n" })).await;
    assert!(unreadable.body["detail"].as_str().unwrap().contains("line 1"), "{}", unreadable.body);
}

#[tokio::test]
async fn the_history_says_what_was_done_and_undoing_survives_a_restart() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com" })).await;
    edited(&platform, json!([add("a", "A", "192.0.2.1")])).await;
    edited(&platform, json!([{ "remove": { "name": "a" } }, add("b", "A", "192.0.2.2")])).await;
    let platform = platform.restart().await;
    let undo = |body: Value| platform.post("/zones/example.com/undo", body);
    let undone = undo(json!({})).await.body;
    assert_eq!((&undone["edit"]["number"], &undone["edit"]["undoes"]), (&json!(4), &json!(3)));
    assert_eq!(short(&platform, "a.example.com A").await, "192.0.2.1");
    assert_eq!(short(&platform, "b.example.com A").await, "");
    // The undoing itself is undone, and what it took back can be taken back again.
    assert_eq!(undo(json!({ "number": 4 })).await.status, StatusCode::OK);
    assert_eq!(short(&platform, "b.example.com A").await, "192.0.2.2");
    assert_eq!(undo(json!({ "number": 2 })).await.problem(), "cannot_undo");
    assert_eq!(undo(json!({ "number": 4 })).await.problem(), "cannot_undo");
    assert_eq!(undo(json!({ "number": 1 })).await.problem(), "cannot_undo");
    assert_eq!(undo(json!({ "number": 99 })).await.problem(), "not_found");
    for _ in 0..2 {
        assert_eq!(undo(json!({})).await.status, StatusCode::OK);
    }
    assert_eq!(undo(json!({})).await.problem(), "cannot_undo");
    let first = platform.get("/zones/example.com/edits?limit=3").await.body;
    let numbers: Vec<_> = first["items"].as_array().unwrap().iter().map(|edit| edit["number"].clone()).collect();
    assert_eq!(numbers, [7, 6, 5]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = platform.get(&format!("/zones/example.com/edits?cursor={cursor}")).await.body;
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    let serials: Vec<u64> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|edit| edit["serial"].as_u64().unwrap())
        .collect();
    assert!(serials.windows(2).all(|pair| pair[0] == pair[1] + 1), "{serials:?}");
}

#[tokio::test]
async fn a_zone_comes_in_and_goes_out_as_a_master_file_with_our_name_servers() {
    let platform = Platform::start().await;
    let master = "$TTL 300\n@ IN SOA ns.old.example. a.old.example. 5 1 1 1 1\n@ IN NS ns.old.example.\n\
                  www IN A 192.0.2.1\n@ IN ALIAS lb.example.net.\n";
    let templates = ["google_workspace"];
    let zone = create(&platform, json!({ "name": "example.com", "master": master, "templates": templates })).await;
    assert_eq!(zone["nameservers"], json!(["ns1.sites.test", "ns2.sites.test"]));
    assert_eq!(short(&platform, "example.com MX").await, "1 smtp.google.com.");
    let export = platform.get("/zones/example.com/master?portable=true").await;
    assert!(export.media_type.starts_with("text/dns"));
    let file = platform.folder().join("zone");
    std::fs::write(&file, export.body.as_str().unwrap()).unwrap();
    let verdict = Command::new("named-checkzone").args(["-i", "local", "example.com"]).arg(&file).output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stdout));
    let own = platform.get("/zones/example.com/master").await.body;
    platform.call(Method::DELETE, "/zones/example.com", None).await;
    create(&platform, json!({ "name": "example.com", "master": own })).await;
    let records = platform.get("/zones/example.com/records?type=ALIAS").await.body;
    assert_eq!(records["items"][0]["data"], "lb.example.net.");
    let unicode = create(&platform, json!({ "name": "bücher.example" })).await;
    assert_eq!((&unicode["name"], &unicode["unicode"]), (&json!("xn--bcher-kva.example"), &json!("bücher.example")));
}

#[tokio::test]
async fn dnssec_goes_on_at_once_and_off_only_after_the_ds_record() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com" })).await;
    let set = |body: Value| platform.call(Method::PUT, "/zones/example.com/dnssec", Some(body));
    let on = set(json!({ "on": true })).await.body;
    let dnskey = short(&platform, "example.com DNSKEY").await;
    assert_eq!(on["dnssec"]["dnskey"].as_str().unwrap().replace(' ', ""), dnskey.replace(' ', ""));
    let ds = on["dnssec"]["ds"].as_str().unwrap().to_owned();
    assert!(short(&platform, "example.com CDS").await.replace(' ', "").ends_with(&ds.replace(' ', "")));
    assert_eq!(set(json!({ "on": false, "ds_gone": true })).await.problem(), "ds_first");
    let platform = platform.restart().await;
    let set = |body: Value| platform.call(Method::PUT, "/zones/example.com/dnssec", Some(body));
    let leaving = set(json!({ "on": false })).await.body;
    assert_eq!((&leaving["dnssec"]["state"], &leaving["dnssec"]["ds"]), (&json!("leaving"), &Value::Null));
    assert_eq!(short(&platform, "example.com CDS").await, "0 0 0 00");
    assert_eq!(set(json!({ "on": true })).await.body["dnssec"]["ds"], json!(ds));
    set(json!({ "on": false })).await;
    let off = set(json!({ "on": false, "ds_gone": true })).await.body;
    assert_eq!(off["dnssec"], json!({ "state": "off" }));
    assert_eq!(short(&platform, "example.com DNSKEY").await, "");
}

#[tokio::test]
async fn every_control_plane_of_one_database_answers_with_an_edit_when_it_returns() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com" })).await;
    let other = platform.second().await;
    let made = edited(&platform, json!([add("www", "A", "192.0.2.7")])).await;
    assert_eq!((&made["servers"], &made["late"]), (&json!(2), &json!(0)));
    assert_eq!(short(&other, "www.example.com A").await, "192.0.2.7");
    let system = platform.get("/system").await.body;
    assert_eq!(system["name_servers"].as_array().unwrap().len(), 2, "{system}");
    // Edits from both sides are all made, whoever is first.
    let both = futures::future::join_all((0..6).map(|number| {
        let from = if number % 2 == 0 { &platform } else { &other };
        edited(from, json!([add(&format!("n{number}"), "A", "192.0.2.7")]))
    }));
    both.await;
    assert_eq!(platform.get("/zones/example.com/records?type=A").await.body["items"].as_array().unwrap().len(), 7);
    other.call(Method::DELETE, "/zones/example.com", None).await;
    assert!(dig(platform.plane.dns()[0], "example.com SOA").await.contains("REFUSED"));
    // One that ended is not waited for.
    other.end().await;
    until(|| async {
        let system = platform.get("/system").await.body;
        (system["name_servers"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_zone_whose_key_was_sealed_with_another_master_key_is_not_answered_unsigned() {
    let platform = Platform::start().await;
    create(&platform, json!({ "name": "example.com", "dnssec": true })).await;
    create(&platform, json!({ "name": "example.net" })).await;
    std::fs::remove_file(platform.folder().join("master.key")).unwrap();
    MasterKey::load_or_create(&platform.folder().join("master.key")).unwrap();
    let platform = platform.restart().await;
    assert!(dig(platform.plane.dns()[0], "example.com SOA").await.contains("REFUSED"));
    assert!(short(&platform, "example.net SOA").await.starts_with("ns1."));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let held = std::net::TcpListener::bind(taken).unwrap();
    let refusal = Platform::try_start(|config| config.dns.listen = vec![taken]);
    let refusal = refusal.await.err().unwrap().to_string();
    assert!(refusal.contains(&taken.to_string()) && refusal.contains("dns.listen"), "{refusal}");
    drop(held);
}

#[tokio::test]
async fn an_alias_is_answered_with_the_addresses_of_its_target_wherever_that_is() {
    // The world's DNS, which every question begins at.
    let world = Platform::start().await;
    create(&world, json!({ "name": "example.net" })).await;
    let lb = |address: &str| json!([{ "replace": { "name": "lb", "type": "A", "ttl": 60, "data": [address] } }]);
    let set =
        |changes: Value| world.call(Method::PATCH, "/zones/example.net/records", Some(json!({ "changes": changes })));
    assert_eq!(set(lb("203.0.113.5")).await.status, StatusCode::OK);
    let root = world.plane.dns()[0];
    let platform =
        Platform::try_start(|config| config.lookup.roots = vec![lookup::settings::ServerAddress(root)]).await;
    let platform = platform.unwrap();
    create(&platform, json!({ "name": "example.com" })).await;
    edited(
        &platform,
        json!([
            add("@", "ALIAS", "lb.example.net"),
            add("app", "ALIAS", "shop.sites.localhost"),
            add("here", "ALIAS", "www.example.com"),
            add("www", "A", "192.0.2.7"),
            add("gone", "ALIAS", "gone.example.net"),
        ]),
    )
    .await;
    for (name, address) in
        [("example.com", "203.0.113.5"), ("app.example.com", "127.0.0.1"), ("here.example.com", "192.0.2.7")]
    {
        until(|| async { (short(&platform, &format!("{name} A")).await == address).then_some(()) }).await;
    }
    until(|| async {
        let answer = dig(platform.plane.dns()[0], "gone.example.com A").await;
        (answer.contains("status: NOERROR") && answer.contains("ANSWER: 0")).then_some(())
    })
    .await;
    // The last good answer stands while the target can't be asked for.
    world.end().await;
    edited(&platform, json!([add("more", "A", "192.0.2.7")])).await;
    assert_eq!(short(&platform, "example.com A").await, "203.0.113.5");
}

#[tokio::test]
async fn signatures_go_on_while_the_parent_has_the_ds_record() {
    let parent = Platform::start().await;
    create(&parent, json!({ "name": "example.net" })).await;
    let root = parent.plane.dns()[0];
    let child = Platform::try_start(|config| config.lookup.roots = vec![lookup::settings::ServerAddress(root)]);
    let child = child.await.unwrap();
    let made = create(&child, json!({ "name": "shop.example.net", "dnssec": true })).await;
    let delegate =
        |changes: Value| parent.call(Method::PATCH, "/zones/example.net/records", Some(json!({ "changes": changes })));
    let ds = made["dnssec"]["ds"].as_str().unwrap();
    let set = json!([add("shop", "NS", "ns1.sites.test"), add("shop", "DS", ds)]);
    assert_eq!(delegate(set).await.status, StatusCode::OK);
    let off = |gone: bool| {
        let body = json!({ "on": false, "ds_gone": gone });
        child.call(Method::PUT, "/zones/shop.example.net/dnssec", Some(body))
    };
    assert_eq!(off(false).await.status, StatusCode::OK);
    let refused = off(true).await;
    assert_eq!(refused.problem(), "ds_first");
    assert!(refused.body["detail"].as_str().unwrap().contains("300 s"), "{}", refused.body);
    assert_eq!(delegate(json!([{ "remove": { "name": "shop", "type": "DS" } }])).await.status, StatusCode::OK);
    assert_eq!(off(true).await.body["dnssec"]["state"], "off");
}
