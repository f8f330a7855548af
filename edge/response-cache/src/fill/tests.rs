#![allow(clippy::unwrap_used)]
use super::*;
use crate::fetched::Unanswered;
use std::task::Poll;

fn fill(budget: u64) -> Arc<Fill> {
    let place = Arc::new(Place { key: "d http://a/".into(), project: "p".into() });
    Arc::new(Fill::new(place, HeaderMap::new(), None, Arc::default(), budget))
}

fn streaming() -> Settled {
    let streaming = Streaming { status: StatusCode::OK, headers: HeaderMap::new(), kept: None };
    Settled::Streaming(Arc::new(streaming))
}

async fn all(mut reader: Reader) -> Result<Vec<u8>, FetchError> {
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await? {
        read.extend_from_slice(&piece);
    }
    Ok(read)
}

#[tokio::test]
async fn all_who_join_read_the_whole_answer() {
    let fill = fill(u64::MAX);
    let early = tokio::spawn(all(fill.join().unwrap()));
    for piece in ["a", "b", "c"] {
        assert!(fill.push(Bytes::from(piece)).await.is_ok());
    }
    let late = tokio::spawn(all(fill.join().unwrap()));
    assert!(fill.push(Bytes::from("d")).await.is_ok());
    assert_eq!(fill.pieces().unwrap().concat(), b"abcd");
    fill.end(Ok(()));
    assert_eq!(early.await.unwrap().unwrap(), b"abcd");
    assert_eq!(late.await.unwrap().unwrap(), b"abcd");
    assert_eq!(fill.held_by_all.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_kept_waits_for_its_slowest_reader() {
    let fill = fill(u64::MAX);
    let mut reader = fill.join().unwrap();
    fill.settle(streaming());
    assert!(fill.join().is_none(), "nobody joins an answer that is not kept");
    assert!(fill.push(Bytes::from(vec![0; WINDOW])).await.is_ok());
    let mut push = Box::pin(fill.push(Bytes::from_static(b"x")));
    assert!(matches!(futures::poll!(&mut push), Poll::Pending));
    assert_eq!(reader.next().await.unwrap().unwrap().len(), WINDOW);
    assert!(push.await.is_ok());
    drop(reader);
    assert!(fill.push(Bytes::from_static(b"y")).await.is_err(), "nobody is left who reads");
}

#[tokio::test]
async fn an_answer_that_turns_out_too_large_still_reaches_its_readers() {
    for (budget, size) in [(u64::MAX, MAX_KEPT + 1), (1000, 1001)] {
        let fill = fill(budget);
        let reader = tokio::spawn(all(fill.join().unwrap()));
        let body: Vec<u8> = (0..size).map(|i| i as u8).collect();
        for piece in body.chunks(64 << 10) {
            assert!(fill.push(Bytes::copy_from_slice(piece)).await.is_ok());
        }
        assert!(fill.pieces().is_none());
        fill.end(Ok(()));
        assert_eq!(reader.await.unwrap().unwrap(), body);
        assert_eq!(fill.held_by_all.load(Ordering::Relaxed), 0);
    }
}

#[tokio::test]
async fn readers_are_told_when_the_app_breaks_off() {
    let fill = fill(u64::MAX);
    let reader = tokio::spawn(all(fill.join().unwrap()));
    assert!(fill.push(Bytes::from_static(b"a")).await.is_ok());
    fill.end(Err(FetchError::new(Unanswered::Broken, &"gone")));
    assert_eq!(reader.await.unwrap().unwrap_err().kind, Unanswered::Broken);
    assert!(matches!(fill.wait().await, Settled::Failed(_)));
}
