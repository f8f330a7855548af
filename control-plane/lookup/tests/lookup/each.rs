//! Each server by itself.

use lookup::{Existence, Listed, RecordType, ServerFault};
use peers::Reply;

use crate::world::{data, head, lookup, name, world};

#[tokio::test]
async fn each_server_is_shown_with_its_own_answer_or_its_fault() {
    let mut at = Vec::new();
    let mut world = world(|net| {
        at = (0..5).map(|_| net.address()).collect();
        format!(
            "shop IN NS a.shop\nshop IN NS b.shop\nshop IN NS refuses.shop\nshop IN NS silent.shop\nshop IN NS none.shop\n\
             a.shop IN A {}\nb.shop IN A {}\nrefuses.shop IN A {}\nsilent.shop IN A {}\n",
            at[0], at[1], at[2], at[3]
        )
    })
    .await;
    let zone = |www: &str| {
        format!(
            "{}@ IN NS b\n@ IN NS refuses\n@ IN NS hidden\na IN A {}\nb IN A {}\nrefuses IN A {}\nhidden IN A {}\n\
             www IN A {www}\n",
            head("a"),
            at[0],
            at[1],
            at[2],
            at[4]
        )
    };
    world.net.nsd(at[0], &[("shop.example.", &zone("192.0.2.1"))]).await.unwrap();
    world.net.nsd(at[1], &[("shop.example.", &zone("192.0.2.2"))]).await.unwrap();
    world.net.nsd(at[2], &[("other.example.", &head("ns.nic.example."))]).await.unwrap();
    world.net.loose(at[3], |_, _| Reply::Silence).await.unwrap();
    world.net.nsd(at[4], &[("shop.example.", &zone("192.0.2.1"))]).await.unwrap();

    let each = lookup(&world).ask_each(&name("www.shop.example."), RecordType::A).await.unwrap();
    let of = |label: &str| {
        let asked = name(&format!("{label}.shop.example."));
        let (server, answer) = each.iter().find(|(server, _)| server.name == asked).unwrap();
        (server.listed, answer.clone())
    };
    let (listed, answer) = of("a");
    assert_eq!((listed, data(&answer.unwrap().records)), (Listed::Both, vec!["192.0.2.1".to_owned()]));
    assert_eq!(data(&of("b").1.unwrap().records), ["192.0.2.2"]);
    assert!(matches!(of("refuses").1, Err(ServerFault::Code(_))));
    assert_eq!((of("silent").0, of("silent").1), (Listed::Parent, Err(ServerFault::Timeout)));
    assert_eq!(of("none").1, Err(ServerFault::NoAddress));
    assert_eq!(of("hidden").0, Listed::Zone);
    assert_eq!(each.len(), 6);

    let nothing = lookup(&world).ask_each(&name("no.shop.example."), RecordType::A).await.unwrap();
    let existence = nothing.iter().filter_map(|(_, answer)| answer.as_ref().ok()).map(|found| found.existence);
    assert!(existence.eq([Existence::NoName; 3]));
}

#[tokio::test]
async fn a_delegation_whose_servers_are_all_lame_is_still_shown_server_by_server() {
    let mut at = None;
    let mut world = world(|net| {
        at = Some(net.address());
        format!("shop IN NS ns.shop\nns.shop IN A {}\n", at.unwrap())
    })
    .await;
    world.net.nsd(at.unwrap(), &[("other.example.", &head("ns.nic.example."))]).await.unwrap();
    let asked = name("www.shop.example.");
    let each = lookup(&world).ask_each(&asked, RecordType::A).await.unwrap();
    assert_eq!(each.len(), 1);
    assert!(matches!(each[0].1, Err(ServerFault::Code(_))), "{each:?}");
    let error = lookup(&world).ask(&asked, RecordType::A).await.unwrap_err().to_string();
    assert!(error.contains("no name server of shop.example. answers: ns.shop.example."), "{error}");
}
