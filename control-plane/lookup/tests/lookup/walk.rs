//! The way from the root to an answer.

use std::time::Duration;

use lookup::{Existence, LookupError, RecordType};

use crate::world::{data, head, lookup, name, world};

#[tokio::test]
async fn a_name_is_found_from_the_root_with_its_zone_and_time_to_live() {
    let mut shop = None;
    let mut world = world(|net| {
        let address = net.address();
        shop = Some(address);
        format!("shop IN NS ns.shop\nns.shop IN A {address}\n")
    })
    .await;
    let zone = format!(
        "{}ns IN A {}\nwww 120 IN A 192.0.2.1\nwww 120 IN A 192.0.2.2\nbig IN TXT \"{}\" \"{}\" \"{}\" \"{}\" \"{}\" \"{}\"\n*.wild IN A 192.0.2.9\n",
        head("ns"),
        shop.unwrap(),
        "a".repeat(250),
        "b".repeat(250),
        "c".repeat(250),
        "d".repeat(250),
        "e".repeat(250),
        "f".repeat(250)
    );
    world.net.nsd(shop.unwrap(), &[("shop.example.", &zone)]).await.unwrap();
    let lookup = lookup(&world);

    let found = lookup.ask(&name("WWW.shop.example"), RecordType::A).await.unwrap();
    let mut addresses = data(&found.records);
    addresses.sort();
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        (found.zone, found.ttl, found.existence),
        (name("shop.example."), Duration::from_secs(120), Existence::Name)
    );
    assert_eq!(found.records[0].name.to_string(), "www.shop.example.");

    let nothing = lookup.ask(&name("www.shop.example."), RecordType::AAAA).await.unwrap();
    assert_eq!((nothing.existence, nothing.ttl), (Existence::NoData, Duration::from_secs(60)));
    let no_name = lookup.ask(&name("no.shop.example."), RecordType::A).await.unwrap();
    assert_eq!((no_name.existence, no_name.zone), (Existence::NoName, name("shop.example.")));
    let unregistered = lookup.ask(&name("www.free.example."), RecordType::A).await.unwrap();
    assert_eq!((unregistered.existence, unregistered.zone), (Existence::NoName, name("example.")));

    let big = lookup.ask(&name("big.shop.example."), RecordType::TXT).await.unwrap();
    assert_eq!(data(&big.records)[0].len(), 1500, "an answer that no datagram holds comes over TCP");
    let wild = lookup.ask(&name("any.wild.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(data(&wild.records), ["192.0.2.9"]);
    let apex = lookup.ask(&name("shop.example."), RecordType::NS).await.unwrap();
    assert_eq!(data(&apex.records), ["ns.shop.example."]);
}

#[tokio::test]
async fn cname_records_are_followed_across_zones_and_circles_are_named() {
    let mut addresses = Vec::new();
    let mut world = world(|net| {
        addresses = vec![net.address(), net.address()];
        format!(
            "shop IN NS ns.shop\nns.shop IN A {}\nhost IN NS ns.host\nns.host IN A {}\n",
            addresses[0], addresses[1]
        )
    })
    .await;
    let long: String = (0..20).map(|step| format!("c{step} IN CNAME c{}\n", step + 1)).collect();
    let shop = format!(
        "{}ns IN A {}\nwww 90 IN CNAME site.host.example.\ngone IN CNAME no.host.example.\none IN CNAME two\ntwo IN CNAME one\n{long}",
        head("ns"),
        addresses[0]
    );
    world.net.nsd(addresses[0], &[("shop.example.", &shop)]).await.unwrap();
    let host = format!("{}ns IN A {}\nsite IN A 192.0.2.7\n", head("ns"), addresses[1]);
    world.net.nsd(addresses[1], &[("host.example.", &host)]).await.unwrap();
    let lookup = lookup(&world);

    let found = lookup.ask(&name("www.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(found.cnames, [name("site.host.example.")]);
    assert_eq!(data(&found.records), ["192.0.2.7"]);
    assert_eq!((found.zone, found.ttl), (name("host.example."), Duration::from_secs(90)));
    let own = lookup.ask(&name("www.shop.example."), RecordType::CNAME).await.unwrap();
    assert_eq!((own.cnames.len(), data(&own.records)), (0, vec!["site.host.example.".to_owned()]));

    // An end that is known is not asked, nor what it leads to.
    for end in ["c2.shop.example.", "site.host.example."] {
        let from = if end.starts_with('c') { "c0.shop.example." } else { "www.shop.example." };
        let found = lookup.ask_until(&name(from), RecordType::A, |at| *at == name(end)).await.unwrap();
        assert_eq!((found.cnames.last(), found.records.len()), (Some(&name(end)), 0));
    }

    let gone = lookup.ask(&name("gone.shop.example."), RecordType::A).await.unwrap();
    assert_eq!((gone.existence, gone.cnames.len(), gone.ttl), (Existence::NoName, 1, Duration::from_secs(60)));
    let circle = lookup.ask(&name("one.shop.example."), RecordType::A).await.unwrap_err();
    assert_eq!(
        circle.to_string(),
        "the CNAME records lead in a circle: one.shop.example. → two.shop.example. → one.shop.example."
    );
    let long = lookup.ask(&name("c0.shop.example."), RecordType::A).await.unwrap_err();
    assert!(matches!(long, LookupError::TooLong { .. }), "{long}");
}

#[tokio::test]
async fn a_child_zone_on_its_parents_server_is_known_as_a_zone_of_its_own() {
    let mut shop = None;
    let mut world = world(|net| {
        shop = Some(net.address());
        format!("shop IN NS ns.shop\nns.shop IN A {}\n", shop.unwrap())
    })
    .await;
    let address = shop.unwrap();
    let parent = format!("{}ns IN A {address}\nsub IN NS ns\n", head("ns"));
    let child = format!("{}www IN A 192.0.2.1\nalias IN CNAME www\n", head("ns.shop.example."));
    world.net.nsd(address, &[("shop.example.", &parent), ("sub.shop.example.", &child)]).await.unwrap();
    let lookup = lookup(&world);
    for asked in ["www.sub.shop.example.", "alias.sub.shop.example.", "sub.shop.example.", "no.sub.shop.example."] {
        let found = lookup.ask(&name(asked), RecordType::A).await.unwrap();
        assert_eq!(found.zone, name("sub.shop.example."), "{asked}");
        let each = lookup.ask_each(&name(asked), RecordType::A).await.unwrap();
        assert_eq!(each[0].0.name, name("ns.shop.example."), "{asked}");
    }
    assert_eq!(lookup.ask(&name("shop.example."), RecordType::A).await.unwrap().zone, name("shop.example."));
}

#[tokio::test]
async fn name_servers_in_other_zones_are_looked_up_and_a_changed_delegation_is_seen_at_once() {
    let mut net = peers::Net::new().unwrap();
    let (tld, host, old, new) = (net.address(), net.address(), net.address(), net.address());
    // A registry below the top-level domain, whose zone can be changed.
    let lines = format!("reg IN NS ns.reg\nns.reg IN A {tld}\n");
    let mut world = peers::World::plain(net, &lines).await.unwrap();
    let tld_zone = |ns: &str| {
        format!("{}ns IN A {tld}\nhost IN NS ns.host\nns.host IN A {host}\nshop IN NS {ns}.host\n", head("ns"))
    };
    let registry = world.net.own(tld, "reg.example.", &tld_zone("old"), None).await.unwrap();
    let host_zone = format!("{}ns IN A {host}\nold IN A {old}\nnew IN A {new}\n", head("ns"));
    world.net.nsd(host, &[("host.reg.example.", &host_zone)]).await.unwrap();
    for (address, label, answer) in [(old, "old", "192.0.2.1"), (new, "new", "192.0.2.2")] {
        let zone = format!("{}www IN A {answer}\n", head(&format!("{label}.host.reg.example.")));
        world.net.nsd(address, &[("shop.reg.example.", &zone)]).await.unwrap();
    }
    let lookup = lookup(&world);
    let asked = name("www.shop.reg.example.");
    assert_eq!(data(&lookup.ask(&asked, RecordType::A).await.unwrap().records), ["192.0.2.1"]);
    registry.publish(std::sync::Arc::new(peers::zone("reg.example.", &tld_zone("new"), None).unwrap()));
    assert_eq!(data(&lookup.ask(&asked, RecordType::A).await.unwrap().records), ["192.0.2.2"]);
}

#[tokio::test]
async fn name_servers_whose_own_zone_has_its_servers_elsewhere_are_found() {
    let mut at = Vec::new();
    let mut world = world(|net| {
        at = vec![net.address(), net.address(), net.address()];
        format!("shop IN NS ns.two\ntwo IN NS ns.three\nthree IN NS ns.three\nns.three IN A {}\n", at[0])
    })
    .await;
    let three = format!("{}ns IN A {}\n", head("ns"), at[0]);
    let two = format!("{}ns IN A {}\n", head("ns.three.example."), at[1]);
    world.net.nsd(at[0], &[("three.example.", &three), ("two.example.", &two)]).await.unwrap();
    let shop = format!("{}www IN A 192.0.2.1\n", head("ns.two.example."));
    world.net.nsd(at[1], &[("shop.example.", &shop)]).await.unwrap();
    let found = lookup(&world).ask(&name("www.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(data(&found.records), ["192.0.2.1"]);
}
