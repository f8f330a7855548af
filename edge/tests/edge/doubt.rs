//! Requests that two servers in a row may read differently.

use crate::apps::App;
use crate::testkit::{World, file, soon};

/// A second request, which an app must never be asked when it hides behind a first one.
const HIDDEN: &str = "GET /head?hidden HTTP/1.1\r\nHost: app.localhost\r\n\r\n";

#[tokio::test]
async fn a_request_whose_end_is_in_doubt_is_refused_and_its_connection_closed() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ncontent-length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: 5\nX: y\r\n",
        "X: y\r\n continued\r\n",
    ] {
        let request = format!("POST /upload HTTP/1.1\r\nHost: app.localhost\r\n{fields}\r\n0\r\n\r\n{HIDDEN}");
        let answer = soon(world.raw(&request)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{fields}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{fields}: {answer}");
        assert!(answer.contains("\r\nServer: AstroCloud\r\n"), "{fields}: {answer}");
    }
    let lines = format!("GET /head HTTP/1.1\nHost: app.localhost\n\n{HIDDEN}");
    assert!(soon(world.raw(&lines)).await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn a_target_that_is_no_address_is_refused() {
    let world = World::start().await;
    let app = App::start("app").await;
    world.app("app", &[app.addr]).await;
    world.site("blog", vec![file("/index.html", "home")], false).await;
    let ask = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}.localhost\r\nConnection: close\r\n\r\n");
        world.raw(&request).await
    };
    for host in ["app", "blog"] {
        for target in ["index.html", "@evil.example/", "?x", "*", "mailto:a", " /"] {
            let answer = soon(ask(target, host)).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        }
    }
    for target in ["/head?q", "http://app.localhost/head?q"] {
        let answer = soon(ask(target, "app")).await;
        assert!(answer.contains("GET /head?q\n"), "{target}: {answer}");
    }
    let all = "OPTIONS * HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n";
    assert!(soon(world.raw(all)).await.starts_with("HTTP/1.1 200 "));
}
