//! Faults of name servers, of signatures and of what resolvers remember.

use doctor::{Code, Severity};
use lookup::{RData, Record};
use peers::{Keys, Lifetime, Reply};

use crate::ward::{Plan, Ward, codes, name, zone};

#[tokio::test]
async fn name_servers_that_disagree_are_shown_with_what_each_says() {
    let mut plan = Plan::new();
    let second = plan.net.address();
    let lines = plan.delegate(&["apps", "shop"], plan.good) + &format!("shop IN NS ns2.shop\nns2.shop IN A {second}\n");
    let mut world = plan.world(&lines).await;
    let text = |www: &str, serial: &str| {
        zone(plan.good, &format!("@ IN NS ns2\nns2 IN A {second}\nwww IN A {www}")).replace("hostmaster 1", serial)
    };
    let (new, old) = (text(&plan.edge.to_string(), "hostmaster 9"), text("203.0.113.9", "hostmaster 8"));
    world.net.nsd(second, &[("shop.example.", &old)]).await.unwrap();
    let ward = Ward::open(plan, world, &[("shop.example.", new)]).await;
    let report = ward.examine("www.shop.example").await;
    let finding = report.findings.iter().find(|finding| finding.code == Code::NameServersDisagree).unwrap();
    assert!(finding.seen.contains("203.0.113.9 from ns2.shop.example (serial 8)"), "{}", finding.seen);
    assert!(finding.seen.contains("ns.shop.example (serial 9)"), "{}", finding.seen);
    assert_eq!(report.findings[0].code, Code::NameServersDisagree, "the cause comes first");
}

#[tokio::test]
async fn lame_and_silent_servers_are_named_one_by_one() {
    let mut plan = Plan::new();
    let (lame, silent) = (plan.net.address(), plan.net.address());
    let lines = plan.delegate(&["apps", "shop"], plan.good)
        + &plan.delegate(&["lost"], lame)
        + &format!("shop IN NS lame.shop\nshop IN NS silent.shop\nlame.shop IN A {lame}\nsilent.shop IN A {silent}\n");
    let mut world = plan.world(&lines).await;
    world.net.nsd(lame, &[("elsewhere.example.", &zone(lame, ""))]).await.unwrap();
    world.net.loose(silent, |_, _| Reply::Silence).await.unwrap();
    let shop = zone(
        plan.good,
        &format!("@ IN NS lame\n@ IN NS silent\nlame IN A {lame}\nsilent IN A {silent}\nwww IN A {}", plan.edge),
    );
    let ward = Ward::open(plan, world, &[("shop.example.", shop)]).await;
    let report = ward.examine("www.shop.example").await;
    assert_eq!(codes(&report), [Code::LameDelegation, Code::NameServerUnreachable]);
    assert!(report.findings[0].seen.contains("lame.shop.example"), "{}", report.findings[0].seen);
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Warning));
    let lost = ward.examine("www.lost.example").await;
    assert_eq!((codes(&lost), lost.findings[0].severity), (vec![Code::LameDelegation], Severity::Error));
}

#[tokio::test]
async fn signatures_that_do_not_hold_are_named_with_the_cause() {
    let mut plan = Plan::new();
    let (old, moved) = (Keys::generate("old.example.").unwrap(), Keys::generate("moved.example.").unwrap());
    let lines = format!(
        "{}{}\n{}\n",
        plan.delegate(&["apps", "old", "moved"], plan.good),
        old.ds().unwrap(),
        moved.ds().unwrap()
    );
    let world = plan.signed_world(&lines).await;
    let plain = zone(plan.good, &format!("www IN A {}", plan.edge));
    let zones = [("old.example.", old.sign(&plain, Lifetime::Past).unwrap()), ("moved.example.", plain)];
    let mut ward = Ward::open(plan, world, &zones).await;
    ward.expected.certificates = None;
    let expired = ward.examine("www.old.example").await;
    assert_eq!(codes(&expired), [Code::DnssecBogus]);
    assert!(expired.findings[0].seen.contains("ran out on 2020-01-02"), "{}", expired.findings[0].seen);
    let moved = ward.examine("www.moved.example").await;
    assert_eq!(codes(&moved), [Code::DnssecBogus]);
    assert!(moved.findings[0].fix.contains("remove the DS record"), "{}", moved.findings[0].fix);
    let well = ward.examine("shop.apps.example").await;
    assert_eq!(codes(&well), []);
}

#[tokio::test]
async fn a_resolver_that_remembers_is_named_with_the_time_that_is_left() {
    let mut plan = Plan::new();
    let resolver = plan.net.address();
    let lines = plan.delegate(&["apps", "shop"], plan.good);
    let mut world = plan.world(&lines).await;
    let remembers = |query: &hickory_proto::op::Message, _: bool| {
        let mut message = query.clone().into_response();
        message.edns = None;
        message.metadata.recursion_available = true;
        let old = RData::A("203.0.113.9".parse().unwrap());
        message.add_answer(Record::from_rdata(name("www.shop.example."), 1234, old));
        message.into()
    };
    world.net.loose(resolver, remembers).await.unwrap();
    let shop = zone(plan.good, "www IN CNAME shop.apps.example.");
    let mut ward = Ward::open(plan, world, &[("shop.example.", shop)]).await;
    ward.settings.resolvers = vec![ward.world.net.socket(resolver).to_string().parse().unwrap()];
    let report = ward.examine("www.shop.example").await;
    assert_eq!(codes(&report), [Code::TtlRunning]);
    assert_eq!((report.findings[0].severity, report.findings[0].wait), (Severity::Notice, Some(1234)));
}
