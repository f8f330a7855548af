//! One answer of the app serves all who ask for it at the same moment.

use futures::future::join_all;
use http::Method;
use response_cache::{Forward, Outcome, Unanswered};

use crate::testkit::{Got, World, reply};

const MANY: usize = 50;

/// Many visitors at once, after whose first the app waits.
async fn many(world: &World) -> Vec<tokio::task::JoinHandle<Got>> {
    let ask = || {
        let world = world.clone();
        tokio::spawn(async move { world.get(&[]).await })
    };
    let visitors: Vec<_> = (0..MANY).map(|_| ask()).collect();
    world.reached(1).await;
    world.settle().await;
    visitors
}

#[tokio::test]
async fn the_app_is_asked_once_for_many() {
    let world = World::new();
    let mut answer = reply("max-age=60", "a").gated();
    answer.body = vec!["a", "b", "c"];
    world.replies([answer]);
    let visitors = many(&world).await;
    world.gate.add_permits(4);
    let answers: Vec<Got> = join_all(visitors).await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|answer| answer.text == "abc" && answer.whole));
    let collapsed = answers.iter().filter(|answer| answer.cache().ends_with("; collapsed"));
    assert_eq!(collapsed.count(), MANY - 1);
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn an_answer_streams_to_all_before_it_is_whole() {
    let world = World::new();
    let mut answer = reply("max-age=60", "a").gated();
    answer.body = vec!["a", "b"];
    world.replies([answer]);
    world.gate.add_permits(2);
    let Outcome::Answer(mut first) = world.ask(Method::GET, "/", &[]).await.unwrap() else { panic!("no answer") };
    assert_eq!(first.body.next().await.unwrap().unwrap(), "a");
    let Outcome::Answer(mut second) = world.ask(Method::GET, "/", &[]).await.unwrap() else { panic!("no answer") };
    assert_eq!(second.body.next().await.unwrap().unwrap(), "a");
    // The first visitor leaves; the answer comes to its end nevertheless.
    drop(first);
    world.gate.add_permits(1);
    assert_eq!(second.body.next().await.unwrap().unwrap(), "b");
    assert!(second.body.next().await.unwrap().is_none());
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=60");
}

#[tokio::test]
async fn an_answer_comes_in_though_nobody_waits_for_it_any_more() {
    let world = World::new();
    world.replies([reply("max-age=60", "one").gated()]);
    let visitor = tokio::spawn({
        let world = world.clone();
        async move { world.get(&[]).await }
    });
    world.reached(1).await;
    visitor.abort();
    world.gate.add_permits(2);
    world.settle().await;
    assert_eq!(world.get(&[]).await.cache(), "hit; ttl=60");
}

#[tokio::test]
async fn those_who_waited_for_what_is_not_kept_ask_side_by_side() {
    let world = World::new();
    world.replies([reply("no-store", "mine").gated()]);
    let ask = || {
        let world = world.clone();
        tokio::spawn(async move { world.ask(Method::GET, "/", &[]).await.unwrap() })
    };
    let first = ask();
    world.reached(1).await;
    let others: Vec<_> = (0..MANY).map(|_| ask()).collect();
    world.settle().await;
    world.gate.add_permits(2);
    assert!(matches!(first.await.unwrap(), Outcome::Answer(_)));
    for other in others {
        assert!(matches!(other.await.unwrap(), Outcome::Pass(Forward::UriMiss)));
    }
    // For a while nobody waits at that address any more, and the app answers them directly.
    assert!(matches!(world.ask(Method::GET, "/", &[]).await.unwrap(), Outcome::Pass(_)));
    world.pass(11);
    world.replies([reply("max-age=60", "everybody's")]);
    assert_eq!(world.get_text().await, "everybody's");
}

#[tokio::test]
async fn many_validations_are_one() {
    let world = World::new();
    let not_modified = reply("max-age=60", "").status(304).gated();
    world.replies([reply("max-age=10", "one").with("etag", "\"1\""), not_modified]);
    world.get(&[]).await;
    world.pass(10);
    let visitors: Vec<_> = (0..MANY)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.get_text().await })
        })
        .collect();
    world.reached(2).await;
    world.settle().await;
    world.gate.add_permits(1);
    for visitor in visitors {
        assert_eq!(visitor.await.unwrap(), "one");
    }
    assert_eq!(world.requests(), 2);
}

#[tokio::test]
async fn all_who_wait_are_told_when_the_app_does_not_answer() {
    let world = World::new();
    world.replies([reply("", "").status(0).gated()]);
    let visitors: Vec<_> = (0..MANY)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move { world.ask(Method::GET, "/", &[]).await.unwrap_err().kind })
        })
        .collect();
    world.reached(1).await;
    world.settle().await;
    world.gate.add_permits(1);
    for visitor in visitors {
        assert_eq!(visitor.await.unwrap(), Unanswered::Broken);
    }
    assert_eq!(world.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_the_answer_of_another() {
    let world = World::new();
    world.replies([reply("max-age=60", "late").gated()]);
    let leader = tokio::spawn({
        let world = world.clone();
        async move { world.get_text().await }
    });
    world.reached(1).await;
    // Time passes by itself, because nothing else can happen.
    assert!(matches!(world.ask(Method::GET, "/", &[]).await.unwrap(), Outcome::Pass(Forward::UriMiss)));
    world.gate.add_permits(2);
    assert_eq!(leader.await.unwrap(), "late");
}

#[tokio::test]
async fn those_with_other_fields_get_their_own_answers() {
    let world = World::new();
    let of = |text| reply("max-age=60", text).with("vary", "x-tongue").gated();
    world.replies([of("bonjour"), of("hallo")]);
    let ask = |tongue: &'static str| {
        let world = world.clone();
        tokio::spawn(async move { world.get(&[("x-tongue", tongue)]).await.text })
    };
    let french = ask("fr");
    world.reached(1).await;
    let germans: Vec<_> = (0..MANY).map(|_| ask("de")).collect();
    world.settle().await;
    world.gate.add_permits(2);
    assert_eq!(french.await.unwrap(), "bonjour");
    world.reached(2).await;
    world.settle().await;
    world.gate.add_permits(2);
    for german in germans {
        assert_eq!(german.await.unwrap(), "hallo");
    }
    assert_eq!(world.requests(), 2);
}
