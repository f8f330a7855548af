//! Looks at instances from time to time, so that one that is gone is left out before a visitor meets it.
//!
//! One task looks at one address, for as long as a route has it.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use common::policy::AppProtocol;
use http::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::instance::Instance;

/// Looks that fail in a row until an instance is left out: one may be chance.
const DOWN_AFTER: u32 = 3;
/// Looks that succeed in a row until it is asked again.
const UP_AFTER: u32 = 2;
/// Longest time for one look. Whoever takes longer is no help to visitors.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// Shortest time between two looks: more would be load, not care.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);
/// The part of the interval by which it varies, so that looks at many instances do not come at once.
const JITTER: f64 = 0.2;
/// Bytes of an answer that are read to find its status.
const STATUS_LINE: usize = 12;
/// How the looks name themselves.
const AGENT: &str = "AstroCloud-Health";

/// How instances are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    host: String,
    path: String,
    interval: Duration,
    protocol: AppProtocol,
}

impl Check {
    /// Asks for a path of a host, which must answer with a status from 200 to 399, every `interval`, but not more
    /// often than twice a second.
    #[must_use]
    pub fn new(host: &str, path: &str, interval: Duration, protocol: AppProtocol) -> Self {
        let (host, path) = (host.to_owned(), path.to_owned());
        Self { host, path, interval: interval.max(SHORTEST_INTERVAL), protocol }
    }
}

/// Why a look failed.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error("no answer: {0}")]
    Io(#[from] io::Error),
    #[error("no answer: {0}")]
    Http2(#[from] h2::Error),
    #[error("no answer in time")]
    Slow,
    #[error("the path of the health check can't be asked for")]
    Path,
    #[error("what came is no HTTP")]
    NoHttp,
    #[error("status {0}")]
    Status(u16),
}

/// Lets a task look at an instance, unless one does.
pub(crate) fn start(instance: &Arc<Instance>, room: &Arc<Semaphore>) {
    if !instance.is_probed.swap(true, Ordering::AcqRel) {
        tokio::spawn(run(Arc::downgrade(instance), Arc::clone(room)));
    }
}

async fn run(watched: Weak<Instance>, room: Arc<Semaphore>) {
    let (mut well, mut unwell) = (0, 0);
    while let Some((instance, check)) = in_use(&watched) {
        let looked = {
            // The semaphore is never closed.
            let _place = room.acquire().await;
            timeout(LONGEST_LOOK, look(&instance, &check)).await.unwrap_or(Err(Unwell::Slow))
        };
        match looked {
            Ok(()) => (well, unwell) = (well + 1, 0),
            Err(_) => (well, unwell) = (0, unwell + 1),
        }
        let was_down = instance.is_down.load(Ordering::Relaxed);
        if let Err(reason) = looked
            && unwell >= DOWN_AFTER
            && !was_down
        {
            tracing::warn!(address = %instance.address, %reason, "an instance of an app fails its health check");
            instance.is_down.store(true, Ordering::Relaxed);
        } else if well >= UP_AFTER && was_down {
            tracing::info!(address = %instance.address, "an instance of an app passes its health check again");
            instance.is_down.store(false, Ordering::Relaxed);
        }
        drop(instance);
        tokio::time::sleep(check.interval.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))).await;
    }
}

/// The instance and how it is looked at; `None`, and all traces gone, when it is not to be looked at any more.
fn in_use(watched: &Weak<Instance>) -> Option<(Arc<Instance>, Arc<Check>)> {
    let instance = watched.upgrade()?;
    // The fleet has it, and this function; a set would be a third.
    let is_used = Arc::strong_count(&instance) > 2;
    match instance.check() {
        Some(check) if is_used => Some((instance, check)),
        _ => {
            instance.is_down.store(false, Ordering::Relaxed);
            instance.is_probed.store(false, Ordering::Release);
            None
        }
    }
}

async fn look(instance: &Instance, check: &Check) -> Result<(), Unwell> {
    let mut socket = TcpStream::connect(instance.address).await?;
    let status = match check.protocol {
        AppProtocol::Http1 => {
            let (path, host) = (&check.path, &check.host);
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            );
            socket.write_all(head.as_bytes()).await?;
            let mut line = [0; STATUS_LINE];
            socket.read_exact(&mut line).await?;
            let digits = line.strip_prefix(b"HTTP/1.").ok_or(Unwell::NoHttp)?.get(2..).ok_or(Unwell::NoHttp)?;
            StatusCode::from_bytes(digits).map_err(|_| Unwell::NoHttp)?
        }
        AppProtocol::H2c => {
            let (requests, connection) = h2::client::handshake(socket).await?;
            let url = format!("http://{}{}", check.host, check.path);
            let request = Request::get(url).header("user-agent", AGENT).body(()).map_err(|_| Unwell::Path)?;
            let asked = async {
                let (answer, _) = requests.ready().await?.send_request(request, true)?;
                Ok::<_, h2::Error>(answer.await?.status())
            };
            tokio::select! {
                status = asked => status?,
                ended = connection => return Err(ended.err().map_or(Unwell::NoHttp, Unwell::Http2)),
            }
        }
    };
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(Unwell::Status(status.as_u16())) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicU16, AtomicUsize};

    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::{Fleet, Upstreams};

    /// An app whose health is what the test says.
    struct App {
        address: SocketAddr,
        status: Arc<AtomicU16>,
        looks: Arc<AtomicUsize>,
    }

    impl App {
        async fn start(protocol: AppProtocol) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let app = Self {
                address: listener.local_addr().unwrap(),
                status: Arc::new(AtomicU16::new(200)),
                looks: Arc::default(),
            };
            let (status, looks) = (Arc::clone(&app.status), Arc::clone(&app.looks));
            let answer = move || {
                looks.fetch_add(1, Ordering::SeqCst);
                StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
            };
            match protocol {
                AppProtocol::Http1 => {
                    let router = axum::Router::new().route("/health", axum::routing::get(async move || answer()));
                    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
                }
                AppProtocol::H2c => {
                    tokio::spawn(async move {
                        while let Ok((socket, _)) = listener.accept().await {
                            tokio::spawn(http2(socket, answer.clone()));
                        }
                    });
                }
            }
            app
        }

        fn say(&self, status: u16) {
            self.status.store(status, Ordering::SeqCst);
        }

        /// Waits for so many more looks.
        async fn looked_at(&self, times: usize) {
            let wanted = self.looks.load(Ordering::SeqCst) + times;
            while self.looks.load(Ordering::SeqCst) < wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    async fn http2(socket: TcpStream, answer: impl Fn() -> StatusCode) {
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut reply))) = connection.accept().await {
            let head = http::Response::builder().status(answer()).body(()).unwrap();
            reply.send_response(head, true).unwrap();
        }
    }

    fn check(protocol: AppProtocol) -> Check {
        Check { host: "app.example".into(), path: "/health".into(), interval: Duration::from_millis(5), protocol }
    }

    async fn left_out(set: &Upstreams, count: usize) {
        while set.left_out(Instant::now()) != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn an_instance_that_is_unwell_is_left_out_until_it_is_well() {
        for protocol in [AppProtocol::Http1, AppProtocol::H2c] {
            let (one, other) = (App::start(protocol).await, App::start(protocol).await);
            let fleet = Fleet::default();
            let set = fleet.upstreams("p", &[one.address, other.address], Some(check(protocol)));
            one.looked_at(3).await;
            assert_eq!(set.left_out(Instant::now()), 0);
            one.say(500);
            left_out(&set, 1).await;
            for random in 0..20_u64 {
                let picked = set.pick(Instant::now(), &[], random.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unwrap();
                assert_eq!(picked.address(), other.address);
            }
            one.say(302);
            left_out(&set, 0).await;
        }
    }

    #[tokio::test]
    async fn nobody_looks_at_an_instance_that_no_route_has() {
        let app = App::start(AppProtocol::Http1).await;
        let fleet = Fleet::default();
        let set = fleet.upstreams("p", &[app.address], Some(check(AppProtocol::Http1)));
        app.looked_at(2).await;
        let instance = fleet.upstreams("p", &[app.address], Some(check(AppProtocol::Http1))).only();
        assert!(instance.is_probed.load(Ordering::SeqCst), "the same task goes on for the next version");
        drop(set);
        let watched = Arc::downgrade(&instance);
        drop(instance);
        while watched.upgrade().is_some_and(|i| i.is_probed.load(Ordering::SeqCst)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(watched.upgrade().is_none_or(|i| !i.is_probed.load(Ordering::SeqCst)), "its task has ended");
    }

    #[tokio::test]
    async fn an_address_that_nobody_listens_on_is_left_out() {
        let app = App::start(AppProtocol::Http1).await;
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let fleet = Fleet::default();
        let set = fleet.upstreams("p", &[app.address, gone], Some(check(AppProtocol::Http1)));
        left_out(&set, 1).await;
        assert_eq!(set.pick(Instant::now(), &[], 3).unwrap().address(), app.address);
    }
}
