//! Several instances of an app: which one is asked, and what a visitor sees when one fails, which is nothing where
//! it can be helped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apps::App;
use crate::testkit::{Line, Script, Served, World, noise, soon};

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An app that answers with its name.
async fn good(name: &'static str) -> Served {
    Script::start().await.serve(move |_, _| Some(answer(name)))
}

/// An app that reads each request and breaks off.
async fn broken() -> Served {
    Script::start().await.serve(|_, _| None)
}

/// Status and body of the answer to a request.
async fn ask(world: &World, method: &str, body: &[u8]) -> (u16, String) {
    let answer = world.request(method, "app", "/").body(body.to_vec()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn of_two_instances_the_less_busy_one_is_asked() {
    let world = World::start().await;
    let apps = [App::start("one").await, App::start("two").await];
    world.app("app", &[apps[0].addr, apps[1].addr]).await;
    let slow = tokio::spawn(world.get("app", "/slow").send());
    let busy = tokio::select! {
        () = apps[0].arrived() => 0,
        () = apps[1].arrived() => 1,
    };
    let free = ["two", "one"][busy];
    for _ in 0..20 {
        assert_eq!(ask(&world, "GET", b"").await, (200, free.to_owned()));
    }
    apps[busy].go_on();
    assert_eq!(soon(slow).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn all_instances_get_their_share() {
    let world = World::start().await;
    let apps = [good("a").await, good("b").await, good("c").await];
    world.app("app", &apps.each_ref().map(|app| app.addr)).await;
    for _ in 0..120 {
        assert_eq!(ask(&world, "GET", b"").await.0, 200);
    }
    // Each has the same chance; that one gets fewer than ten of 120 happens once in billions of times.
    for app in apps {
        assert!(app.asked() >= 10, "{}", app.asked());
    }
}

#[tokio::test]
async fn an_instance_that_breaks_off_is_seen_by_no_visitor_who_only_reads_and_left_out_soon() {
    let world = World::start().await;
    let (bad, good) = (broken().await, good("good").await);
    world.app("app", &[bad.addr, good.addr]).await;
    soon(async {
        while bad.asked() < 3 {
            assert_eq!(ask(&world, "GET", b"").await, (200, "good".to_owned()));
        }
    })
    .await;
    // It is tried again every two seconds at most, with one request.
    let (before, begun) = (bad.asked(), std::time::Instant::now());
    for _ in 0..20 {
        assert_eq!(ask(&world, "GET", b"").await.0, 200);
    }
    let tries = usize::try_from(begun.elapsed().as_secs() / 2).unwrap() + 1;
    assert!(bad.asked() <= before + tries, "{} after {before}", bad.asked());
}

#[tokio::test]
async fn an_instance_that_is_back_is_asked_again() {
    let world = World::start().await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let patient = Script::start().await.serve(move |_, _| well.load(Ordering::SeqCst).then(|| answer("patient")));
    let other = good("other").await;
    world.app("app", &[patient.addr, other.addr]).await;
    soon(async {
        while patient.asked() < 3 {
            ask(&world, "GET", b"").await;
        }
    })
    .await;
    is_well.store(true, Ordering::SeqCst);
    soon(async {
        while ask(&world, "GET", b"").await != (200, "patient".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_an_app_may_have_acted_on_is_never_sent_twice() {
    let world = World::start().await;
    let (one, two) = (broken().await, broken().await);
    world.app("app", &[one.addr, two.addr]).await;
    for (count, method) in ["POST", "PATCH"].into_iter().enumerate() {
        let (status, page) = ask(&world, method, b"pay").await;
        assert_eq!(status, 502, "{page}");
        assert_eq!(one.asked() + two.asked(), count + 1, "{method}");
    }
}

#[tokio::test]
async fn what_may_be_repeated_is_repeated_with_its_whole_body() {
    let world = World::start().await;
    let bad = broken().await;
    let good = Script::start().await.serve(|_, body| Some(answer(std::str::from_utf8(body).unwrap())));
    world.app("app", &[bad.addr, good.addr]).await;
    soon(async {
        while bad.asked() < 2 {
            assert_eq!(ask(&world, "PUT", b"state").await, (200, "state".to_owned()));
        }
    })
    .await;
    for method in ["DELETE", "OPTIONS"] {
        assert_eq!(ask(&world, method, b"").await.0, 200);
    }
}

#[tokio::test]
async fn a_body_that_is_no_longer_at_hand_is_not_repeated_by_half() {
    let world = World::start().await;
    let (one, two) = (broken().await, broken().await);
    world.app("app", &[one.addr, two.addr]).await;
    let (status, _) = ask(&world, "PUT", &noise(1_000_000)).await;
    assert_eq!((status, one.asked() + two.asked()), (502, 1));
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_begun_anew() {
    let world = World::start().await;
    let half = || async {
        Script::start().await.serve(|_, _| Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()))
    };
    let (one, two) = (half().await, half().await);
    world.app_with(&[one.addr, two.addr], r#"{"app": {"timeouts": {"between_bytes_ms": 100}}}"#).await;
    let mut visitor = Line::ask(&world, "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n").await;
    assert_eq!(visitor.head().await.status(), 200);
    assert_eq!(visitor.rest().await, "half");
    assert_eq!(one.asked() + two.asked(), 1);
}

#[tokio::test]
async fn an_app_in_trouble_is_not_given_twice_its_load() {
    let world = Arc::new(World::start().await);
    let (one, two) = (broken().await, broken().await);
    world.app("app", &[one.addr, two.addr]).await;
    const REQUESTS: usize = 400;
    let visits: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { ask(&world, "GET", b"").await.0 })
        })
        .collect();
    for visit in visits {
        assert_eq!(soon(visit).await.unwrap(), 502);
    }
    // Ten, a fifth of the requests, and ten for each second that this takes, which are fewer than twenty.
    let repeated = one.asked() + two.asked() - REQUESTS;
    assert!((1..REQUESTS - 100).contains(&repeated), "{repeated}");
}

#[tokio::test]
async fn a_kept_connection_that_the_app_closes_at_the_moment_of_its_use_is_no_error() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let ask = "GET / HTTP/1.1\r\nHost: app.localhost\r\n\r\n";
    let mut visitor = Line::ask(&world, ask).await;
    let (mut kept, _) = app.asked().await;
    for _ in 0..5 {
        kept.say(&answer("ok")).await;
        assert_eq!(visitor.head().await.status(), 200);
        assert_eq!(visitor.exactly(2).await, b"ok");
        visitor.say(ask).await;
        // The request has been sent when the connection ends.
        kept.head().await;
        drop(kept);
        (kept, _) = app.asked().await;
    }
    kept.say(&answer("ok")).await;
    assert_eq!(visitor.head().await.status(), 200, "and it is held against the only instance not once");
}

#[tokio::test]
async fn a_kept_connection_that_the_app_has_closed_is_not_used() {
    let world = World::start().await;
    let app = Script::start().await;
    world.app("app", &[app.addr]).await;
    let ask = "POST / HTTP/1.1\r\nHost: app.localhost\r\nContent-Length: 3\r\n\r\npay";
    let mut visitor = Line::ask(&world, ask).await;
    let (mut line, _) = app.asked().await;
    for _ in 0..5 {
        line.exactly(3).await;
        line.say(&answer("ok")).await;
        assert_eq!(visitor.head().await.status(), 200);
        assert_eq!(visitor.exactly(2).await, b"ok");
        drop(line);
        visitor.say(ask).await;
        (line, _) = app.asked().await;
    }
}

#[tokio::test]
async fn an_instance_that_fails_its_health_check_gets_no_visitors_until_it_passes() {
    let world = World::start().await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let checked = move |name: &'static str, well: Arc<AtomicBool>| {
        move |head: &crate::testkit::Head, _: &[u8]| {
            let is_check = head.line().starts_with("GET /health ");
            let is_sick = is_check && !well.load(Ordering::SeqCst);
            assert!(!is_check || head.field("host") == "app.localhost", "{}", head.text());
            Some(if is_sick { "HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n".to_owned() } else { answer(name) })
        }
    };
    let sick = Script::start().await.serve(checked("sick", well));
    let fine = Script::start().await.serve(checked("fine", Arc::new(AtomicBool::new(true))));
    let policy = r#"{"app": {"health": {"path": "/health", "interval_ms": 500}}}"#;
    world.app_with(&[sick.addr, fine.addr], policy).await;
    // The first request begins the checks.
    assert_eq!(ask(&world, "GET", b"").await.0, 200);
    soon(async {
        // Once it is left out, nobody is led to it any more.
        let mut in_a_row = 0;
        while in_a_row < 40 {
            let (status, name) = ask(&world, "GET", b"").await;
            assert_eq!(status, 200);
            in_a_row = if name == "fine" { in_a_row + 1 } else { 0 };
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    is_well.store(true, Ordering::SeqCst);
    soon(async {
        while ask(&world, "GET", b"").await != (200, "sick".to_owned()) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_clear_answer_is_told_as_such_and_reveals_nothing() {
    let world = World::start().await;
    for said in [
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: unasked\r\nConnection: Upgrade\r\n\r\n",
        "\0\0\0\0",
    ] {
        let app = Script::start().await;
        world.app("app", &[app.addr]).await;
        let visit = tokio::spawn(world.get("app", "/?secret").header("accept", "text/html").send());
        let (mut line, _) = app.asked().await;
        line.say(said).await;
        line.end().await;
        let answer = soon(visit).await.unwrap().unwrap();
        assert_eq!(answer.status(), 502, "{said:?}");
        assert_eq!(answer.headers()["retry-after"], "2");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let page = answer.text().await.unwrap();
        for inside in ["127.0.0.1", &app.addr.port().to_string(), "secret", "pingora", "Pingora"] {
            assert!(!page.contains(inside), "{said:?}: {page}");
        }
    }
}
