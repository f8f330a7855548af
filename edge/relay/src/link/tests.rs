#![allow(clippy::unwrap_used, clippy::panic)]
use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// A link, and the app's end of it.
async fn pair() -> (Link, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    (Link::new(stream, address), listener.accept().await.unwrap().0)
}

async fn head(link: &mut Link) -> Result<Response, Failure> {
    poll_fn(|cx| link.poll_head(cx, &Limits::default(), false, Some(LIMIT))).await.map(|(response, _)| response)
}

async fn body(link: &mut Link) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(piece) = poll_fn(|cx| link.poll_piece(cx, Some(LIMIT))).await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

/// What an app's bytes, in two pieces cut anywhere, are read as.
async fn read(bytes: &[u8], at: usize, closes: bool) -> Result<(u16, Vec<u8>, bool), Failure> {
    let (mut link, mut app) = pair().await;
    app.write_all(&bytes[..at]).await.unwrap();
    let reading = async {
        let response = head(&mut link).await?;
        let body = body(&mut link).await?;
        Ok((response.status, body, link.is_reusable()))
    };
    let writing = async {
        tokio::task::yield_now().await;
        app.write_all(&bytes[at..]).await.unwrap();
        if closes {
            app.shutdown().await.unwrap();
        }
        app
    };
    tokio::join!(reading, writing).0
}

#[tokio::test]
async fn an_answer_is_the_same_however_it_is_cut() {
    let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n";
    for at in 0..length.len() {
        assert_eq!(read(length, at, false).await.unwrap(), (200, b"hello".to_vec(), true), "{at}");
    }
    for at in 0..chunks.len() {
        let (status, body, reusable) = read(chunks, at, false).await.unwrap();
        assert_eq!((status, reusable), (200, true), "{at}");
        assert_eq!(body, b"hello", "{at}");
    }
    let to_close = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(read(to_close, 3, true).await.unwrap(), (200, b"hello".to_vec(), false));
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_malformed_is_never_taken_for_whole() {
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    assert!(matches!(read(short, 4, true).await, Err(Failure::Short)));
    let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell";
    assert!(matches!(read(chunk, 4, true).await, Err(Failure::Short)));
    let odd = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n";
    assert!(matches!(read(odd, 4, false).await, Err(Failure::Malformed(_))));
}

#[tokio::test]
async fn a_connection_with_more_than_the_answer_is_not_used_again() {
    let more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(read(more, 50, false).await.unwrap(), (200, b"hello".to_vec(), false));
}

#[tokio::test]
async fn interim_answers_come_one_by_one() {
    let (mut link, mut app) = pair().await;
    app.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let limits = Limits::default();
    let (hints, bytes) = poll_fn(|cx| link.poll_head(cx, &limits, false, Some(LIMIT))).await.unwrap();
    assert_eq!((hints.status, hints.fields(&bytes).count()), (103, 1));
    assert_eq!(head(&mut link).await.unwrap().status, 204);
    assert_eq!(poll_fn(|cx| link.poll_piece(cx, Some(LIMIT))).await.unwrap(), None);
    assert!(link.is_reusable());
}

#[tokio::test]
async fn only_a_kept_connection_that_said_nothing_is_stale() {
    let (mut link, app) = pair().await;
    drop(app);
    assert!(matches!(head(&mut link).await, Err(Failure::Short)));
    let (mut link, mut app) = pair().await;
    link.rest();
    link.push(b"GET / HTTP/1.1\r\n\r\n");
    poll_fn(|cx| link.poll_flush(cx, LIMIT)).await.unwrap();
    app.read_exact(&mut [0; 18]).await.unwrap();
    drop(app);
    assert!(head(&mut link).await.unwrap_err().is_stale());
    let (mut link, mut app) = pair().await;
    link.rest();
    app.write_all(b"HTTP/1.1 200").await.unwrap();
    drop(app);
    assert!(matches!(head(&mut link).await, Err(Failure::Short)));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_is_silent_is_given_up_and_one_that_drips_is_not() {
    let (mut link, mut app) = pair().await;
    let dripping = tokio::spawn(async move {
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.unwrap();
        for _ in 0..9 {
            tokio::time::sleep(LIMIT - Duration::from_millis(1)).await;
            app.write_all(b"x").await.unwrap();
        }
        app
    });
    head(&mut link).await.unwrap();
    let failure = body(&mut link).await.unwrap_err();
    assert!(failure.is_timeout(), "{failure}");
    assert!(dripping.await.is_ok());
}
