//! WebSocket messages. Of the ready generators none sends messages over many connections for a given time and is
//! packaged for Debian or PyPI, so this one is our own: each connection sends a message, waits for it to come
//! back, and sends the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{CONNECTIONS, Counted, Target};
use crate::fixture::HOST;
use crate::stats::percentile;

/// Bytes of a message: those of a chat's or a game's.
const MESSAGE_BYTES: usize = 128;
/// Longest wait for a connection to end after the run.
const END: Duration = Duration::from_secs(5);
/// Every so many messages one is timed, so that timing costs nothing.
const TIMED: u64 = 16;

/// The server behind proxies.
#[derive(clap::Args)]
pub struct EchoArgs {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
}

/// Sends back what it gets, until it is killed.
pub async fn echo(args: EchoArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // A port that is only looked at says nothing.
            let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close()
                    || ((message.is_text() || message.is_binary()) && socket.send(message).await.is_err())
                {
                    return;
                }
            }
        });
    }
}

/// Sends messages through a server for some seconds. Counted are messages in both directions.
pub async fn run(target: &Target, seconds: u64) -> anyhow::Result<Counted> {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(target.http).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{HOST}/");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.context("no upgrade")?;
        sockets.push(socket);
    }
    let (done, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let talks: Vec<_> = sockets.into_iter().map(|s| tokio::spawn(talk(s, done.clone(), failed.clone()))).collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    done.store(true, Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64();
    let (mut there_and_back, mut times) = (0, Vec::new());
    for talk in talks {
        let (count, timed) = tokio::time::timeout(END, talk).await.context("a message does not come back")??;
        there_and_back += count;
        times.extend(timed);
    }
    let mut latency = || {
        let mut of = |share| percentile(&mut times, share);
        Some(super::Latency { p50_us: of(0.5)?, p99_us: of(0.99)?, p999_us: of(0.999)? })
    };
    Ok(Counted {
        good: there_and_back * 2,
        failed: failed.load(Ordering::Relaxed),
        failures: "connections that broke".into(),
        bytes: there_and_back * MESSAGE_BYTES as u64,
        seconds,
        latency: latency(),
    })
}

async fn talk(
    mut socket: WebSocketStream<TcpStream>,
    done: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
) -> (u64, Vec<f64>) {
    let message = Message::binary(vec![b'x'; MESSAGE_BYTES]);
    let (mut count, mut times) = (0, Vec::new());
    while !done.load(Ordering::Relaxed) {
        let begun = (count % TIMED == 0).then(Instant::now);
        let sent = socket.send(message.clone()).await;
        match (sent, socket.next().await) {
            (Ok(()), Some(Ok(back))) if back == message => count += 1,
            _ => {
                failed.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        times.extend(begun.map(|begun| begun.elapsed().as_secs_f64() * 1e6));
    }
    // The count is complete; how the end is answered does not matter.
    let _ = socket.close(None).await;
    (count, times)
}
