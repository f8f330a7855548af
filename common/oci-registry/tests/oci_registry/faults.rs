//! A registry that breaks, stops, restarts and is slow in the middle of a push.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::registry::ImageRegistry as _;
use oci_registry::Login;
use testkit::registry::Registry;

use crate::kit::{App, push_small_base, registry};
use crate::proxy::{Fault, Proxy, Seen};

/// Bytes of the dependency: three chunks.
const BYTES: usize = 9 << 20;
/// Pause between two looks at what the wire has seen.
const LOOK: Duration = Duration::from_millis(10);

/// A push of a large layer over a wire with faults; returns what was seen on the wire, and the size of both layers.
async fn pushed(
    server: &Arc<Registry>,
    plan: impl FnMut(usize, &Arc<Mutex<Seen>>) -> Option<Fault> + Send + 'static,
) -> (Proxy, usize) {
    push_small_base(&server.host(), None);
    let proxy = Proxy::start(&server.host(), plan);
    let adapter = registry(&proxy.host, &server.host(), Login::Anonymous);
    let app = App::new("listen()", BYTES);
    let pushed = app.push(&adapter).await.unwrap();
    let into = tempfile::tempdir().unwrap();
    adapter.pull(&pushed.reference, into.path()).await.unwrap();
    let file = |root: &std::path::Path| std::fs::read(root.join("node_modules/left/data.bin")).unwrap();
    assert!(file(&into.path().join("app")) == file(&app.path()), "the bytes arrived as they are");
    (proxy, usize::try_from(pushed.size).unwrap())
}

#[tokio::test]
async fn a_broken_chunk_is_sent_again_and_nothing_before_it() {
    let server = Arc::new(Registry::start());
    let (proxy, size) = pushed(&server, |chunk, _| (chunk == 2).then_some(Fault::Break)).await;
    proxy.seen(|seen| {
        // Both layers once, and the few documents.
        assert!(seen.taken < size + 20_000, "{} of {size}", seen.taken);
        assert!(seen.asked >= 1, "{:?}", seen.lines);
    });
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again() {
    let server = Arc::new(Registry::start());
    let (proxy, size) = pushed(&server, |chunk, _| (chunk == 2 || chunk == 3).then_some(Fault::Busy)).await;
    proxy.seen(|seen| assert!(seen.taken < size + 20_000, "{} of {size}", seen.taken));
}

#[tokio::test]
async fn a_push_goes_on_when_the_registry_was_killed_and_is_back() {
    let server = Arc::new(Registry::start());
    let killed = server.clone();
    let (proxy, size) = pushed(&server, move |chunk, _| {
        let killed = killed.clone();
        (chunk == 2).then(|| {
            Fault::Instead(Box::new(move || {
                killed.kill();
                killed.begin();
            }))
        })
    })
    .await;
    proxy.seen(|seen| assert!(seen.taken < size + 20_000, "{} of {size}", seen.taken));
}

#[tokio::test]
async fn a_push_waits_for_a_registry_that_is_away() {
    let server = Arc::new(Registry::start());
    let away = server.clone();
    let (proxy, size) = pushed(&server, move |chunk, seen| {
        let (away, seen) = (away.clone(), seen.clone());
        (chunk == 2).then(|| {
            Fault::Instead(Box::new(move || {
                away.kill();
                let (away, seen) = (away.clone(), seen.clone());
                std::thread::spawn(move || {
                    // It was asked for in vain twice.
                    while seen.lock().unwrap().asked < 2 {
                        std::thread::sleep(LOOK);
                    }
                    away.begin();
                });
            }))
        })
    })
    .await;
    proxy.seen(|seen| assert!(seen.taken < size + 20_000, "{} of {size}", seen.taken));
}

#[tokio::test]
async fn a_slow_registry_gets_every_byte_once() {
    let server = Arc::new(Registry::start());
    let paused = server.clone();
    let (proxy, size) = pushed(&server, move |chunk, _| {
        let paused = paused.clone();
        (chunk == 2).then(|| {
            Fault::First(Box::new(move || {
                paused.pause();
                let resumed = paused.clone();
                // The chunk is on its way by then, or is not: both must do.
                std::thread::spawn(move || resumed.resume());
            }))
        })
    })
    .await;
    proxy.seen(|seen| {
        assert!(seen.taken < size + 20_000, "{} of {size}", seen.taken);
        assert_eq!(seen.asked, 0);
    });
}

/// Distribution 2.8 gives an upload up whose connection broke within a chunk, because it can't say any more how far it
/// got; then the one layer is sent anew.
#[tokio::test]
async fn an_upload_that_the_registry_has_given_up_begins_anew() {
    let server = Arc::new(Registry::start());
    let data = server.data();
    let (proxy, _) = pushed(&server, move |chunk, _| {
        let data = data.clone();
        (chunk == 2).then(|| {
            Fault::Instead(Box::new(move || {
                let uploads = data.join("docker/registry/v2/repositories/apps/shop/_uploads");
                std::fs::remove_dir_all(uploads).unwrap();
            }))
        })
    })
    .await;
    assert!(proxy.seen(|seen| seen.begun) >= 2);
}
