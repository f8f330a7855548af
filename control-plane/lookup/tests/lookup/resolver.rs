//! What a resolver remembers.

use std::time::Duration;

use lookup::{Existence, RData, Record, RecordType, ServerFault};
use peers::Reply;

use crate::world::{a, data, lookup, name, world};

#[tokio::test]
async fn a_resolvers_memory_is_shown_with_the_time_that_is_left() {
    let mut world = world(|_| String::new()).await;
    let (resolver, refuses) = (world.net.address(), world.net.address());
    let remembers = |query: &hickory_proto::op::Message, _: bool| {
        assert!(query.recursion_desired, "a resolver is asked to ask others");
        let mut message = query.clone().into_response();
        message.edns = None;
        let target = RData::CNAME(hickory_proto::rr::rdata::CNAME(name("old.example.")));
        message.add_answer(Record::from_rdata(name("www.shop.example."), 40, target));
        message.add_answer(a("old.example.", "192.0.2.9"));
        Reply::from(message)
    };
    world.net.loose(resolver, remembers).await.unwrap();
    world.net.nsd(refuses, &[("other.example.", &crate::world::head("ns.nic.example."))]).await.unwrap();
    let at = |address| world.net.socket(address).to_string().parse().unwrap();
    let asked = name("WWW.shop.example.");
    let answer = lookup(&world).ask_resolver(at(resolver), &asked, RecordType::A).await.unwrap();
    assert_eq!((answer.cnames, data(&answer.records)), (vec![name("old.example.")], vec!["192.0.2.9".to_owned()]));
    assert_eq!((answer.existence, answer.left), (Existence::Name, Duration::from_secs(40)));
    let refused = lookup(&world).ask_resolver(at(refuses), &asked, RecordType::A).await;
    assert!(matches!(refused, Err(ServerFault::Code(_))), "{refused:?}");
}
