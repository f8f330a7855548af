//! Servers that lie, mislead or lead in circles.

use lookup::{LookupError, Name, RData, Record, RecordType, ServerFault};
use peers::answer;

use crate::world::{a, data, head, lookup, name, world};

fn soa(zone: &str) -> Record {
    let soa = hickory_proto::rr::rdata::SOA::new(name(zone), name(zone), 1, 3600, 600, 1_209_600, 60);
    Record::from_rdata(name(zone), 60, RData::SOA(soa))
}

#[tokio::test]
async fn addresses_inside_the_operators_networks_are_not_asked_unless_they_are_named() {
    let world = world(|_| "shop IN NS ns.shop\nns.shop IN A 127.0.0.1\n".to_owned()).await;
    let error = lookup(&world).ask(&name("www.shop.example."), RecordType::A).await.unwrap_err();
    let LookupError::Unanswered { faults, .. } = &error else { panic!("{error}") };
    assert_eq!(faults[0].1, ServerFault::Inner);
}

#[tokio::test]
async fn a_server_that_mangles_letters_is_asked_over_a_stream() {
    let mut at = None;
    let mut world = world(|net| {
        at = Some(net.address());
        format!("shop IN NS ns.shop\nns.shop IN A {}\n", at.unwrap())
    })
    .await;
    let records = [soa("shop.example."), a("www.shop.example.", "192.0.2.5")];
    let mangled = move |query: &hickory_proto::op::Message, tcp: bool| {
        let mut query = query.clone();
        if !tcp {
            query.queries[0].name = Name::from_ascii("wWw.ShOp.eXaMpLe.").unwrap();
        }
        answer(&query, &records)
    };
    world.net.loose(at.unwrap(), mangled).await.unwrap();
    let found = lookup(&world).ask(&name("www.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(data(&found.records), ["192.0.2.5"]);
}

#[tokio::test]
async fn an_answer_to_another_question_is_not_believed() {
    let mut at = None;
    let mut world = world(|net| {
        at = Some(net.address());
        format!("shop IN NS ns.shop\nns.shop IN A {}\n", at.unwrap())
    })
    .await;
    let records = [soa("shop.example."), a("other.shop.example.", "192.0.2.5")];
    let other = move |query: &hickory_proto::op::Message, _: bool| {
        let mut query = query.clone();
        query.queries[0].name = name("other.shop.example.");
        answer(&query, &records)
    };
    world.net.loose(at.unwrap(), other).await.unwrap();
    let error = lookup(&world).ask(&name("www.shop.example."), RecordType::A).await.unwrap_err();
    assert!(matches!(error, LookupError::Unanswered { .. }), "{error}");
}

#[tokio::test]
async fn addresses_that_a_server_gives_for_names_that_are_not_its_own_are_not_believed() {
    let mut at = Vec::new();
    let mut world = world(|net| {
        at = (0..4).map(|_| net.address()).collect();
        format!("bad IN NS ns.bad\nns.bad IN A {}\ngood IN NS ns.good\nns.good IN A {}\n", at[0], at[1])
    })
    .await;
    // `bad.example.` delegates a zone to a server of `good.example.`, and says a wrong address for it.
    let (evil, right) = (at[2], at[3]);
    let poison = move |query: &hickory_proto::op::Message, _: bool| {
        let mut message = query.clone().into_response();
        message.edns = None;
        let host = name("host.good.example.");
        let ns = RData::NS(hickory_proto::rr::rdata::NS(host));
        message.add_authority(Record::from_rdata(name("sub.bad.example."), 300, ns));
        message.add_additional(a("host.good.example.", &evil.to_string()));
        message.into()
    };
    world.net.loose(at[0], poison).await.unwrap();
    let good = format!("{}ns IN A {}\nhost IN A {right}\n", head("ns"), at[1]);
    world.net.nsd(at[1], &[("good.example.", &good)]).await.unwrap();
    for (address, answer) in [(evil, "192.0.2.66"), (right, "192.0.2.1")] {
        let zone = format!("{}www IN A {answer}\n", head("host.good.example."));
        world.net.nsd(address, &[("sub.bad.example.", &zone)]).await.unwrap();
    }
    let found = lookup(&world).ask(&name("www.sub.bad.example."), RecordType::A).await.unwrap();
    assert_eq!(data(&found.records), ["192.0.2.1"]);
}

#[tokio::test]
async fn name_servers_that_depend_on_one_another_end_in_a_fault() {
    let world = world(|_| "one IN NS ns.two\ntwo IN NS ns.one\n".to_owned()).await;
    let error = lookup(&world).ask(&name("www.one.example."), RecordType::A).await.unwrap_err();
    let LookupError::Unanswered { zone, faults } = &error else { panic!("{error}") };
    assert_eq!((zone, &faults[0].1), (&name("one.example."), &ServerFault::NoAddress));
}

#[tokio::test]
async fn a_server_that_is_no_longer_in_charge_is_passed_over() {
    let mut at = Vec::new();
    let mut world = world(|net| {
        at = vec![net.address(), net.address()];
        format!("shop IN NS a.shop\nshop IN NS b.shop\na.shop IN A {}\nb.shop IN A {}\n", at[0], at[1])
    })
    .await;
    let not_in_charge = |query: &hickory_proto::op::Message, _: bool| {
        let mut message = query.clone().into_response();
        message.edns = None;
        message.add_answer(a("www.shop.example.", "192.0.2.66"));
        message.into()
    };
    world.net.loose(at[0], not_in_charge).await.unwrap();
    let zone = format!("{}@ IN NS b\na IN A {}\nb IN A {}\nwww IN A 192.0.2.1\n", head("a"), at[0], at[1]);
    world.net.nsd(at[1], &[("shop.example.", &zone)]).await.unwrap();
    let lookup = lookup(&world);
    let found = lookup.ask(&name("www.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(data(&found.records), ["192.0.2.1"]);
    let each = lookup.ask_each(&name("www.shop.example."), RecordType::A).await.unwrap();
    assert_eq!(each[0].1, Err(ServerFault::NotAuthoritative));
}
