//! Signatures from the root down: zones signed by BIND's tools and served by NSD, and by the platform's own server.

use std::sync::Arc;

use dns::key::ZoneKey;
use lookup::{Lookup, RecordType, Settings, Trust, dnssec::Cause};
use peers::{Keys, Lifetime, Net, World};

use crate::world::{head, name, settings};

#[tokio::test]
async fn signed_zones_are_trusted_and_unsigned_ones_are_known_to_be_so() {
    let own = Arc::new(ZoneKey::open(&ZoneKey::generate().unwrap()).unwrap());
    let mut net = Net::new().unwrap();
    let at = [net.address(), net.address()];
    let lines = format!(
        "www IN A 192.0.2.1\nown IN NS ns.own\nns.own IN A {}\nown IN DS {}\nplain IN NS ns.plain\nns.plain IN A {}\n",
        at[0],
        own.ds(b"\x03own\x07example\0"),
        at[1]
    );
    let mut world = World::signed(net, &lines).await.unwrap();
    let zone = format!("{}ns IN A {}\nwww IN A 192.0.2.2\naway IN CNAME www.plain.example.\n", head("ns"), at[0]);
    world.net.own(at[0], "own.example.", &zone, Some(own)).await.unwrap();
    let plain = format!("{}ns IN A {}\nwww IN A 192.0.2.3\n", head("ns"), at[1]);
    world.net.nsd(at[1], &[("plain.example.", &plain)]).await.unwrap();
    let lookup = Lookup::new(settings(&world));
    for (asked, kind, trust) in [
        ("www.example.", RecordType::A, Trust::Secure),
        ("no.example.", RecordType::A, Trust::Secure),
        ("www.example.", RecordType::AAAA, Trust::Secure),
        ("www.own.example.", RecordType::A, Trust::Secure),
        ("no.own.example.", RecordType::A, Trust::Secure),
        ("www.own.example.", RecordType::CAA, Trust::Secure),
        ("www.plain.example.", RecordType::A, Trust::Insecure),
        ("no.plain.example.", RecordType::A, Trust::Insecure),
        ("away.own.example.", RecordType::A, Trust::Insecure),
    ] {
        assert_eq!(lookup.validate(&name(asked), kind).await.unwrap(), trust, "{asked} {kind}");
    }
    let nobody = Lookup::new(Settings { trust_anchors: Vec::new().try_into().unwrap(), ..settings(&world) });
    assert_eq!(nobody.validate(&name("www.example."), RecordType::A).await.unwrap(), Trust::Insecure);
}

#[tokio::test]
async fn what_is_bogus_is_told_with_the_zone_and_the_cause() {
    let origins = ["expired", "future", "unsigned", "otherkeys", "nokeys", "forged"];
    let keys: Vec<Keys> = origins.iter().map(|origin| Keys::generate(&format!("{origin}.example.")).unwrap()).collect();
    let mut net = Net::new().unwrap();
    let (mut at, mut lines) = (Vec::new(), String::new());
    for (origin, keys) in origins.iter().zip(&keys) {
        let address = net.address();
        lines.push_str(&format!("{origin} IN NS ns.{origin}\nns.{origin} IN A {address}\n{}\n", keys.ds().unwrap()));
        at.push(address);
    }
    let mut world = World::signed(net, &lines).await.unwrap();
    let mut zones = Vec::new();
    for ((origin, keys), address) in origins.iter().zip(&keys).zip(&at) {
        let plain = format!("{}ns IN A {address}\nwww IN A 192.0.2.2\n", head("ns"));
        let full = format!("{origin}.example.");
        let text = match *origin {
            "expired" => keys.sign(&plain, Lifetime::Past).unwrap(),
            "future" => keys.sign(&plain, Lifetime::Future).unwrap(),
            "otherkeys" => Keys::generate(&full).unwrap().sign(&plain, Lifetime::Now).unwrap(),
            "nokeys" => plain,
            "unsigned" => format!("{plain}{}\n", keys.dnskey().unwrap()),
            _ => keys.sign(&plain, Lifetime::Now).unwrap().replace("192.0.2.2", "192.0.2.66"),
        };
        zones.push((full, text, *address));
    }
    for (origin, text, address) in &zones {
        world.net.nsd(*address, &[(origin, text)]).await.unwrap();
    }
    let lookup = Lookup::new(settings(&world));
    for origin in origins {
        let trust = lookup.validate(&name(&format!("www.{origin}.example.")), RecordType::A).await.unwrap();
        let Trust::Bogus(bogus) = trust else { panic!("{origin}: {trust:?}") };
        assert_eq!((bogus.zone, bogus.ds.len()), (name(&format!("{origin}.example.")), 1));
        match (origin, bogus.cause) {
            ("expired", Cause::Expired(end)) => assert_eq!(end.to_string(), "2020-01-02T00:00:00Z"),
            ("future", Cause::NotYet(begin)) => assert_eq!(begin.to_string(), "2080-01-01T00:00:00Z"),
            ("unsigned", Cause::Unsigned)
            | ("otherkeys", Cause::OtherKeys)
            | ("nokeys", Cause::NoKeys)
            | ("forged", Cause::Wrong) => {}
            (_, other) => panic!("{origin}: {other:?}"),
        }
    }
}
