//! Faults of what answers at the addresses.

use std::net::SocketAddr;

use doctor::{Code, Severity};

use crate::{
    sites::{Identity, http, https, raw},
    ward::{OURS, Plan, Ward, codes, zone},
};

/// Names whose addresses are filled in when the sites are known.
async fn ward() -> Ward {
    let mut plan = Plan::new();
    let lines = plan.delegate(&["apps", "shop"], plan.good);
    let world = plan.world(&lines).await;
    let shop = zone(plan.good, &format!("www IN A {}\n", plan.edge));
    Ward::open(plan, world, &[("shop.example.", shop)]).await
}

#[tokio::test]
async fn an_edge_that_serves_the_right_certificate_is_healthy_and_another_one_is_named() {
    let mut ward = ward().await;
    assert_eq!(codes(&ward.examine("www.shop.example").await), []);
    ward.expected.certificates = Some(vec!["00".repeat(32)]);
    let report = ward.examine("www.shop.example").await;
    assert_eq!(codes(&report), [Code::CertificateOther]);
    let seen = &report.findings[0].seen;
    assert!(seen.contains("www.shop.example") && seen.contains("Browsers refuse it"), "{seen}");
}

/// A ward whose `www.shop.example` leads to an address at which these things are done, named as the edge's own.
async fn at(site: impl AsyncFnOnce(&mut Ward, SocketAddr, SocketAddr)) -> Ward {
    let mut plan = Plan::new();
    let other = plan.net.address();
    let lines = plan.delegate(&["apps", "shop"], plan.good);
    let world = plan.world(&lines).await;
    let shop = zone(plan.good, &format!("www IN A {other}\n"));
    let mut ward = Ward::open(plan, world, &[("shop.example.", shop)]).await;
    let (plain, secure) = (SocketAddr::new(other, ward.http), SocketAddr::new(other, ward.https));
    site(&mut ward, plain, secure).await;
    ward.expected.addresses = vec![other];
    ward
}

#[tokio::test]
async fn a_closed_port_80_is_named() {
    let ward = at(async |ward: &mut Ward, _, secure| https(secure, &ward.identity, OURS.to_owned()).await).await;
    assert_eq!(codes(&ward.examine("www.shop.example").await), [Code::Port80Closed]);
}

#[tokio::test]
async fn a_closed_port_443_is_named() {
    let ward = at(async |_: &mut Ward, plain, _| http(plain, OURS).await).await;
    assert_eq!(codes(&ward.examine("www.shop.example").await), [Code::Port443Closed]);
}

#[tokio::test]
async fn something_else_at_port_443_is_named() {
    let ward = at(async |_: &mut Ward, plain, secure| {
        http(plain, OURS).await;
        raw(secure, |_| "SSH-2.0-OpenSSH_9.2\r\n".to_owned()).await;
    })
    .await;
    assert_eq!(codes(&ward.examine("www.shop.example").await), [Code::Port443Other]);
    let ward = at(async |_: &mut Ward, plain, secure| {
        http(plain, OURS).await;
        let lines = "200 OK\r\nserver: nginx".to_owned();
        https(secure, &Identity::new(&["router.local"]), lines).await;
    })
    .await;
    let report = ward.examine("www.shop.example").await;
    assert_eq!(codes(&report), [Code::Port443Other, Code::CertificateOther]);
    assert!(report.findings[0].seen.contains("nginx") && report.findings[1].seen.contains("router.local"));
}

#[tokio::test]
async fn a_cdn_in_front_is_named_and_the_circle_that_it_makes() {
    const CLOUDFLARE: &str = "server: cloudflare\r\ncf-ray: 8a-FRA";
    let cdn = async |tls: &str| {
        let tls = format!("{tls}\r\n{CLOUDFLARE}");
        let mut ward = at(async |_: &mut Ward, plain, secure| {
            http(plain, "200 OK\r\nserver: cloudflare").await;
            https(secure, &Identity::new(&["www.shop.example"]), tls).await;
        })
        .await;
        // The address is the CDN's, not ours.
        ward.expected.addresses = vec![ward.edge];
        ward.examine("www.shop.example").await
    };
    let refuses = cdn("522 Timed Out").await;
    assert_eq!((codes(&refuses), refuses.findings[0].severity), (vec![Code::Proxied], Severity::Error));
    let circle = cdn("301 Moved\r\nlocation: https://www.shop.example/").await;
    assert_eq!(codes(&circle), [Code::Proxied, Code::ProxyRedirectLoop]);
    let through = cdn("200 OK\r\nx-astrocloud-deployment: 1").await;
    assert_eq!((codes(&through), through.findings[0].severity), (vec![Code::Proxied], Severity::Warning));
}
