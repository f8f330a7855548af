//! What is wrong with a domain, asked of a running control plane.

use peers::{Net, World, head};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::Platform;

/// The edges' address.
const EDGE: &str = "203.0.113.7";

#[tokio::test]
async fn a_check_names_each_fault_with_the_record_that_mends_it() {
    let mut net = Net::new().unwrap();
    let zone = net.address();
    let lines = format!("shop IN NS ns.shop\nns.shop IN A {zone}\n");
    let mut world = World::plain(net, &lines).await.unwrap();
    let text = format!(
        "{}ns IN A {zone}\nwww IN A 203.0.113.9\nok IN CNAME shop.apps.example.net.\nbücher IN A {EDGE}\n",
        head("ns")
    )
    .replace("bücher", "xn--bcher-kva");
    world.net.nsd(zone, &[("shop.example.", &text)]).await.unwrap();
    let lookup = lookup::Settings {
        roots: vec![world.root().parse().unwrap()],
        servers: world.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
        trust_anchors: Vec::new().try_into().unwrap(),
        ..lookup::Settings::default()
    };
    let platform = Platform::try_start(move |config| {
        config.base_domain = "apps.example.net".to_owned();
        config.domains.addresses = vec![EDGE.parse().unwrap()];
        config.lookup = lookup;
        config.doctor.resolvers = Vec::new();
        config.doctor.rdap = "http://127.0.0.1:1/".to_owned();
        config.doctor.visit_timeout = std::time::Duration::from_millis(300);
    })
    .await
    .unwrap();
    platform.project("shop").await;
    for name in ["www.shop.example", "no.shop.example", "bücher.shop.example", "acme.localhost"] {
        let answer = platform.post("/projects/shop/domains", json!({"name": name})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    }
    let check = async |name: &str| platform.get(&format!("/domains/{name}/check")).await;

    let wrong = check("www.shop.example").await.body;
    assert_eq!((&wrong["health"], &wrong["zone"]), (&json!("broken"), &json!("shop.example")), "{wrong}");
    assert_eq!(wrong["findings"][0]["code"], "wrong_a", "{wrong}");
    assert_eq!(
        wrong["findings"][0]["changes"],
        json!([
            {"action": "remove", "name": "www.shop.example", "type": "A", "value": "203.0.113.9"},
            {"action": "set", "name": "www.shop.example", "type": "CNAME", "value": "shop.apps.example.net"},
        ])
    );
    assert_eq!(check("no.shop.example").await.body["findings"][0]["code"], "no_such_name");
    let unicode = check("xn--bcher-kva.shop.example").await.body;
    assert_eq!(unicode["unicode"], "bücher.shop.example", "{unicode}");
    assert_eq!(check("acme.localhost").await.body["health"], "healthy");
    assert_eq!(check("else.shop.example").await.problem(), "not_found");
}
