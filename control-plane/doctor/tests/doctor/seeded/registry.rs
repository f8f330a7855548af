//! Domains that their registry keeps out of the DNS. The answers have the form of RFC 9083 5.3's example.

use doctor::Code;

use crate::ward::{Plan, Ward, codes, zone};

const HELD: &str = include_str!("rdap/held.json");
const REDEMPTION: &str = include_str!("rdap/redemption.json");
const BARE: &str = include_str!("rdap/bare.json");

#[tokio::test]
async fn a_domain_out_of_the_dns_is_told_with_what_its_registry_says() {
    let mut plan = Plan::new();
    let nobody = plan.net.address();
    let lines = plan.delegate(&["apps"], plan.good)
        + "parked IN NS ns1.pendingrenewaldeletion.com.reg\nparked2 IN NS ns1.suspended-domain.com.reg\n"
        + &format!("*.com.reg IN A {nobody}\n");
    let mut world = plan.world(&lines).await;
    let parked = zone(nobody, "@ IN A 203.0.113.9\n");
    let zones = ["parked.example.", "parked2.example."].map(|origin| (origin, parked.as_str()));
    world.net.nsd(nobody, &zones).await.unwrap();
    let mut ward = Ward::open(plan, world, &[]).await;
    ward.registry(|domain| match domain {
        "held.example" => Some(HELD),
        "redemption.example" | "parked.example" => Some(REDEMPTION),
        "bare.example" => Some(BARE),
        _ => None,
    })
    .await;
    for (host, code) in [
        ("www.held.example", Code::RegistrarHold),
        ("www.redemption.example", Code::RegistrationExpired),
        ("www.bare.example", Code::NotDelegated),
        ("www.free.example", Code::NotRegistered),
        ("parked.example", Code::RegistrationExpired),
        ("parked2.example", Code::RegistrationExpired),
    ] {
        let report = ward.examine(host).await;
        assert_eq!(codes(&report), [code], "{host}: {report:#?}");
    }
    let held = ward.examine("www.held.example").await;
    assert!(held.findings[0].fix.contains("Example Registrar"), "{}", held.findings[0].fix);
    ward.settings.rdap = "http://127.0.0.1:1/".to_owned();
    let unsure = ward.examine("www.held.example").await;
    assert_eq!(codes(&unsure), [Code::NotRegistered]);
    assert!(unsure.findings[0].seen.contains("could not be asked"), "{}", unsure.findings[0].seen);
}
