use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use peers::{Net, World};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{Answer, Platform, until};

/// The edges' address, which registered names point to.
const EDGE: &str = "203.0.113.7";

/// A root, `example.`, and `acme.example.` with lines of the test's.
struct Dns {
    world: World,
    zone: IpAddr,
    answers: Arc<dns::answer::Answers>,
    serial: AtomicU32,
}

impl Dns {
    async fn start() -> Self {
        let mut net = Net::new().unwrap();
        let zone = net.address();
        let mut world = World::plain(net, &format!("acme IN NS ns.acme\nns.acme IN A {zone}\n")).await.unwrap();
        let answers = world.net.own(zone, "acme.example.", &zone_text(1, zone, ""), None).await.unwrap();
        Self { world, zone, answers, serial: AtomicU32::new(1) }
    }

    /// Puts these lines in place of what `acme.example.` had.
    fn set(&self, lines: &str) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let text = zone_text(serial, self.zone, lines);
        self.answers.publish(Arc::new(peers::zone("acme.example.", &text, None).unwrap()));
    }

    fn settings(&self) -> lookup::Settings {
        lookup::Settings {
            roots: vec![self.world.root().parse().unwrap()],
            servers: self.world.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
            server_timeout: Duration::from_millis(600),
            ..lookup::Settings::default()
        }
    }

    async fn platform(&self) -> Platform {
        self.platform_with(control_plane::DomainsConfig::default().notice).await
    }

    /// A control plane that asks these servers, and serves a domain that moved away for the time `notice`.
    async fn platform_with(&self, notice: Duration) -> Platform {
        let lookup = self.settings();
        let platform = Platform::try_start(move |config| {
            config.base_domain = "apps.example".to_owned();
            config.domains.addresses = vec![EDGE.parse().unwrap()];
            config.lookup = lookup;
            config.domains.notice = notice;
        })
        .await
        .unwrap();
        platform.project("shop").await;
        platform
    }
}

fn zone_text(serial: u32, address: IpAddr, lines: &str) -> String {
    format!(
        "$ORIGIN acme.example.\n$TTL 60\n@ IN SOA ns hostmaster {serial} 3600 600 1209600 60\n@ IN NS ns\n\
         ns IN A {address}\n{lines}"
    )
}

/// A record that an answer names, as a line of a zone.
fn line(record: &Value) -> String {
    let (kind, value) = (record["type"].as_str().unwrap(), record["value"].as_str().unwrap());
    let value = match kind {
        "CNAME" => format!("{value}."),
        "TXT" => format!("\"{value}\""),
        _ => value.to_owned(),
    };
    format!("{}. IN {kind} {value}\n", record["name"].as_str().unwrap())
}

async fn attach(platform: &Platform, body: Value) -> Answer {
    platform.post("/projects/shop/domains", body).await
}

async fn check(platform: &Platform, name: &str) -> Value {
    let answer = platform.post(&format!("/domains/{name}/check"), json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body
}

/// The state of a domain's host name, with its cause.
fn state(domain: &Value) -> (&str, &str) {
    let hostname = &domain["hostname"];
    (hostname["state"].as_str().unwrap(), hostname["cause"]["code"].as_str().unwrap_or_default())
}

/// Hosts that the edges serve.
async fn hosts(platform: &Platform) -> Vec<String> {
    let mut edge = platform.edge("edge-of-the-test").await;
    let snapshot = edge.next().await.unwrap();
    edge.close().await;
    let routes = snapshot["routes"].as_array().unwrap();
    routes.iter().map(|route| route["host"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_domain_is_served_once_the_records_that_were_told_are_set() {
    let dns = Dns::start().await;
    let platform = dns.platform().await;
    platform.deploy("shop").await;
    for (name, kind) in [("www.acme.example", "CNAME"), ("acme.example", "A"), ("*.acme.example", "CNAME")] {
        let attached = attach(&platform, json!({ "name": name })).await;
        assert_eq!(attached.status, StatusCode::CREATED, "{}", attached.body);
        let domain = &attached.body["items"][0];
        assert_eq!(domain["records"]["point"][0]["type"], kind, "{domain}");
        assert_eq!(domain["certificate"]["state"], "waiting_for_dns");
        let before = check(&platform, name).await;
        assert_eq!(state(&before), ("pending_dns", "no_records"), "{before}");
        assert!(before["hostname"]["next_check"].is_string());
        assert!(!hosts(&platform).await.contains(&name.to_owned()), "nobody is served before");
        let told = before["records"]["point"].as_array().unwrap().iter().map(line).collect::<String>();
        dns.set(&told);
        // Nobody asks: it is looked at by itself.
        until(|| async {
            let domain = platform.get(&format!("/domains/{name}")).await.body;
            (state(&domain).0 == "active").then_some(())
        })
        .await;
        let after = platform.get(&format!("/domains/{name}")).await.body;
        assert_eq!(after["certificate"]["state"], "active", "the development authority's: {after}");
        assert!(hosts(&platform).await.contains(&name.to_owned()));
    }
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_says_what_was_seen_and_what_is_expected() {
    let dns = Dns::start().await;
    let platform = dns.platform().await;
    attach(&platform, json!({ "name": "www.acme.example" })).await;
    for (lines, expected) in [
        ("www IN CNAME other\nother IN A 198.51.100.7\n", ("misconfigured", "wrong_cname")),
        ("www IN A 198.51.100.7\n", ("misconfigured", "wrong_address")),
        ("www IN A 203.0.113.7\n", ("misconfigured", "ownership_not_shown")),
        ("www IN CNAME nobody.apps.example.\n", ("misconfigured", "no_such_project")),
        ("", ("pending_dns", "no_records")),
    ] {
        dns.set(lines);
        let domain = check(&platform, "www.acme.example").await;
        assert_eq!(state(&domain), expected, "{domain}");
        assert_eq!(domain["hostname"]["seen"].as_array().unwrap().is_empty(), lines.is_empty(), "{domain}");
        let point = json!([{ "name": "www.acme.example", "type": "CNAME", "value": "shop.apps.example" }]);
        assert_eq!(domain["hostname"]["expected"]["point"], point);
    }
    // The text shows whose it is before it leads here.
    let domain = check(&platform, "www.acme.example").await;
    dns.set(&line(&domain["records"]["prove"]));
    assert_eq!(state(&check(&platform, "www.acme.example").await).0, "verifying");
}

#[tokio::test]
async fn a_name_that_moves_away_is_told_so_first_and_then_no_longer_served() {
    for (notice, is_over) in [(Duration::from_secs(60 * 60), false), (Duration::ZERO, true)] {
        let dns = Dns::start().await;
        let platform = dns.platform_with(notice).await;
        platform.deploy("shop").await;
        attach(&platform, json!({ "name": "www.acme.example" })).await;
        dns.set("www IN CNAME shop.apps.example.\n");
        assert_eq!(state(&check(&platform, "www.acme.example").await).0, "active");
        dns.set("www IN A 198.51.100.7\n");
        let told = check(&platform, "www.acme.example").await;
        if is_over {
            until(|| async {
                let domain = platform.get("/domains/www.acme.example").await.body;
                (state(&domain) == ("misconfigured", "wrong_address")).then_some(())
            })
            .await;
        } else {
            assert_eq!(state(&told), ("moved", "wrong_address"));
            assert!(told["hostname"]["stops_at"].is_string(), "{told}");
        }
        assert_eq!(hosts(&platform).await.contains(&"www.acme.example".to_owned()), !is_over);
    }
}

#[tokio::test]
async fn a_dns_that_does_not_answer_changes_nothing_but_the_cause() {
    let dns = Dns::start().await;
    let platform = dns.platform().await;
    platform.deploy("shop").await;
    attach(&platform, json!({ "name": "www.acme.example" })).await;
    dns.set("www IN CNAME shop.apps.example.\n");
    assert_eq!(state(&check(&platform, "www.acme.example").await).0, "active");
    drop(dns.world);
    let doubted = check(&platform, "www.acme.example").await;
    assert_eq!(doubted["hostname"]["state"], "active");
    assert_eq!(doubted["hostname"]["doubt"]["code"], "dns_not_answering", "{doubted}");
    assert!(hosts(&platform).await.contains(&"www.acme.example".to_owned()));
}

#[tokio::test]
async fn a_pair_is_attached_in_one_request_and_one_leads_to_the_other() {
    let platform = Dns::start().await.platform().await;
    let pair = attach(&platform, json!({ "name": "acme.example", "pair": true })).await.body;
    assert_eq!(pair["items"][0]["name"], "acme.example");
    assert_eq!(pair["items"][1]["name"], "www.acme.example");
    assert_eq!(pair["items"][1]["redirect"], json!({ "to": "acme.example", "status": 308 }));
    let removed = platform.call(Method::DELETE, "/domains/acme.example", None).await;
    assert_eq!(removed.problem(), "redirect_in_use");
    let changed = platform
        .call(Method::PATCH, "/domains/www.acme.example", Some(json!({ "redirect": null, "https_redirect": true })))
        .await
        .body;
    assert_eq!((&changed["redirect"], &changed["https_redirect"]), (&Value::Null, &json!(true)));
    let removed = platform.call(Method::DELETE, "/domains/acme.example", None).await;
    assert_eq!(removed.body["hostname"]["state"], "removed");
    assert_eq!(platform.get("/domains/acme.example").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_cannot_be_attached_is_refused_with_the_reason() {
    let platform = Dns::start().await.platform().await;
    assert_eq!(attach(&platform, json!({ "name": "www.acme.example" })).await.status, StatusCode::CREATED);
    for (body, word, hint) in [
        (json!({ "name": "https://acme.example/" }), "invalid_request", "leave out the scheme"),
        (json!({ "name": "co.uk" }), "invalid_request", "public suffix"),
        (json!({ "name": "blog.apps.example" }), "invalid_domain", "own domain"),
        (json!({ "name": "www.acme.example" }), "domain_attached", "`shop`"),
        (json!({ "name": "a.b.acme.example", "pair": true }), "invalid_domain", "pair"),
        (
            json!({ "name": "a.acme.example", "redirect": { "to": "nobody.example" } }),
            "invalid_redirect",
            "not attached",
        ),
        (json!({ "name": "a.acme.example", "redirect": { "to": "a.acme.example" } }), "invalid_redirect", "same"),
        (
            json!({ "name": "a.acme.example", "redirect": { "to": "a.acme.example", "status": 302 } }),
            "invalid_request",
            "308",
        ),
    ] {
        let refused = attach(&platform, body).await;
        assert_eq!(refused.problem(), word, "{}", refused.body);
        assert!(refused.body["detail"].as_str().unwrap().contains(hint), "{}", refused.body);
    }
    let missing = platform.get("/domains/nobody.example").await;
    assert_eq!((missing.status, missing.problem()), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn a_project_has_as_many_domains_as_its_plan_allows() {
    let platform = Platform::try_start(|config| config.domains.per_project = 2).await.unwrap();
    platform.project("shop").await;
    for name in ["a.acme.localhost", "b.acme.localhost"] {
        assert_eq!(attach(&platform, json!({ "name": name })).await.status, StatusCode::CREATED);
    }
    let refused = attach(&platform, json!({ "name": "c.acme.localhost" })).await;
    assert_eq!(refused.problem(), "too_many_domains");
    assert!(refused.body["detail"].as_str().unwrap().contains("limits.domains_per_project"), "{}", refused.body);
}

#[tokio::test]
async fn names_below_localhost_are_active_at_once() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.deploy("shop").await;
    let attached = attach(&platform, json!({ "name": "acme.test.localhost", "pair": false })).await.body;
    let domain = &attached["items"][0];
    assert_eq!((state(domain).0, &domain["certificate"]["state"]), ("active", &json!("active")), "{domain}");
    assert!(hosts(&platform).await.contains(&"acme.test.localhost".to_owned()));
    let stopped = platform
        .call(Method::PUT, "/domains/acme.test.localhost/suspension", Some(json!({ "reason": "Phishing." })))
        .await
        .body;
    assert_eq!(stopped["hostname"]["cause"]["message"], "Phishing.");
    assert!(!hosts(&platform).await.contains(&"acme.test.localhost".to_owned()));
    let refused = platform.post("/domains/acme.test.localhost/check", json!({})).await;
    assert_eq!(refused.problem(), "not_in_this_state");
    platform.call(Method::DELETE, "/domains/acme.test.localhost/suspension", None).await;
    until(|| async { hosts(&platform).await.contains(&"acme.test.localhost".to_owned()).then_some(()) }).await;
}

#[tokio::test]
async fn a_transfer_reaches_the_edges_in_one_change() {
    let platform = Platform::start().await;
    platform.project("shop").await;
    platform.project("blog").await;
    platform.project("empty").await;
    let live = platform.deploy("shop").await;
    let next = platform.deploy("blog").await;
    attach(&platform, json!({ "name": "acme.test.localhost" })).await;
    attach(&platform, json!({ "name": "www.acme.test.localhost", "redirect": { "to": "acme.test.localhost" } })).await;
    let mut edge = platform.edge("edge").await;
    let snapshot = edge.apply().await;
    let of = |message: &Value, list: &str, host: &str| {
        let routes = message[list].as_array().unwrap();
        routes.iter().find(|route| route["host"] == host).map(|route| route["deployment"].clone())
    };
    assert_eq!(of(&snapshot, "routes", "acme.test.localhost"), Some(json!(live.id)));
    let moved = |to: &str| platform.post("/domains/acme.test.localhost/transfer", json!({ "project": to }));
    assert_eq!(moved("empty").await.problem(), "nothing_live");
    assert_eq!(
        platform.post("/domains/www.acme.test.localhost/transfer", json!({ "project": "blog" })).await.problem(),
        "redirect_in_use"
    );
    let (answer, delta) = tokio::join!(moved("blog"), edge.apply());
    assert_eq!(answer.body["items"].as_array().unwrap().len(), 2, "{}", answer.body);
    for host in ["acme.test.localhost", "www.acme.test.localhost"] {
        assert_eq!(of(&delta, "upsert", host), Some(json!(next.id)), "{delta}");
    }
    assert_eq!(delta["version"], snapshot["version"].as_u64().unwrap() + 1);
    let names = platform.get("/projects/blog/domains").await.body;
    assert_eq!(names["items"].as_array().unwrap().len(), 2);
}
