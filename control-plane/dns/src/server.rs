//! The sockets: datagrams on threads of their own, streams as tasks, each bounded.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ipnet::IpNet;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use crate::{
    answer::{Answers, Outcome},
    limit::{Limiter, Verdict},
    query::Query,
    reply, transfer,
};

/// Bytes of a datagram that is read at most; real queries stay below 512.
const QUERY_MAX: usize = 1232;
/// Bytes of a query over a stream at most; TSIG and cookies fit easily.
const STREAM_QUERY_MAX: usize = 4096;
/// Ports that are tried for a socket pair when the system chooses: few are taken for one of the two alone.
const BIND_TRIES: u32 = 16;
/// Streams at once; each costs a task and two buffers, about 10 KiB.
const STREAMS_MAX: usize = 1024;
/// A stream without a query ends after this; RFC 7766 6.2.3 asks for seconds, not minutes.
const IDLE: Duration = Duration::from_secs(10);
/// An answer must be taken within this, or the stream ends.
const WRITE: Duration = Duration::from_secs(10);
/// Queries of one stream at most, so that none lives for ever.
const STREAM_QUERIES_MAX: usize = 10_000;
/// How often the threads look whether they shall end.
const STOP_CHECK: Duration = Duration::from_millis(200);
/// Threads for datagrams at most: beyond that one socket's queue is the limit.
const THREADS_MAX: usize = 8;

/// How a server serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, over UDP and TCP. One address for each network interface, so that answers leave from the
    /// address that was asked.
    pub listen: Vec<SocketAddr>,
    /// Datagrams a second that each network (/24, /56) is answered; 0 means any number.
    pub rate: u32,
    /// Datagrams at once for each network.
    pub burst: u32,
    /// Who may transfer zones, beside those who sign with a key of [`Answers`].
    pub transfer: Vec<IpNet>,
}

/// An address that cannot be had.
#[derive(Debug, Error)]
#[error("{address} can't be listened on: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    stopping: watch::Sender<bool>,
    streams: Arc<Semaphore>,
    tasks: Vec<JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

struct Shared {
    answers: Arc<Answers>,
    limiter: Limiter,
    transfer: Vec<IpNet>,
    streams: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Server {
    /// Listens and answers from now on. Port 0 takes one that is free for both UDP and TCP.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(settings: &Settings, answers: Arc<Answers>) -> Result<Self, BindError> {
        let (stopping, stopped) = watch::channel(false);
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        let shared = Arc::new(Shared {
            answers,
            limiter: Limiter::new(settings.rate, settings.burst),
            transfer: settings.transfer.clone(),
            streams: Arc::clone(&streams),
            stopping: stopped,
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut server =
            Self { addresses: Vec::new(), stop, stopping, streams, tasks: Vec::new(), threads: Vec::new() };
        for &address in &settings.listen {
            server.listen(address, &shared).await.map_err(|source| BindError { address, source })?;
        }
        Ok(server)
    }

    async fn listen(&mut self, address: SocketAddr, shared: &Arc<Shared>) -> io::Result<()> {
        let (listener, socket) = bind(address).await?;
        let address = listener.local_addr()?;
        socket.set_read_timeout(Some(STOP_CHECK))?;
        for _ in 0..std::thread::available_parallelism()?.get().min(THREADS_MAX) {
            let (socket, shared, stop) = (socket.try_clone()?, Arc::clone(shared), Arc::clone(&self.stop));
            let thread = std::thread::Builder::new().name("dns".to_owned());
            self.threads.push(thread.spawn(move || datagrams(&socket, &shared, &stop))?);
        }
        self.tasks.push(tokio::spawn(accept(listener, Arc::clone(shared))));
        self.addresses.push(address);
        Ok(())
    }

    /// Takes no more questions, and returns when those that were taken are answered and the addresses are free.
    pub async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.stopping.send_replace(true);
        for task in self.tasks.drain(..) {
            task.abort();
            // Its socket is closed when it has ended.
            let _ = task.await;
        }
        let threads = std::mem::take(&mut self.threads);
        let joined =
            spawn_blocking(move || threads.into_iter().map(std::thread::JoinHandle::join).all(|end| end.is_ok()));
        if !joined.await.unwrap_or(false) {
            tracing::error!("a thread of the DNS server had ended early");
        }
        // Every stream holds one.
        let _ = self.streams.acquire_many(STREAMS_MAX as u32).await;
    }

    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Both sockets of an address. The port that the system chose for one may be taken for the other: then another is
/// tried.
async fn bind(address: SocketAddr) -> io::Result<(TcpListener, std::net::UdpSocket)> {
    let mut tries = if address.port() == 0 { BIND_TRIES } else { 1 };
    loop {
        tries -= 1;
        let listener = TcpListener::bind(address).await?;
        match std::net::UdpSocket::bind(listener.local_addr()?) {
            Ok(socket) => return Ok((listener, socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

fn datagrams(socket: &std::net::UdpSocket, shared: &Shared, stop: &AtomicBool) {
    let begin = Instant::now();
    let mut message = [0; QUERY_MAX];
    let mut out = Vec::with_capacity(2 * QUERY_MAX);
    while !stop.load(Ordering::Relaxed) {
        let (length, from) = match socket.recv_from(&mut message) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => {
                // Such as an ICMP refusal of an earlier answer; the socket goes on.
                tracing::debug!(%error, "a datagram could not be read");
                continue;
            }
        };
        out.clear();
        let message = &message[..length];
        // Answers to port 0 cannot be sent; answers to our own kind of port would go in circles only if they were
        // queries, which the reader rules out.
        let outcome = match shared.limiter.judge(from.ip(), begin.elapsed().as_millis() as u32) {
            Verdict::Answer => shared.answers.answer(message, true, now(), &mut out),
            Verdict::Drop => Outcome::Silent,
            Verdict::Slip => slip(message, &mut out),
        };
        if outcome == Outcome::Reply
            && let Err(error) = socket.send_to(&out, from)
        {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }
}

fn slip(message: &[u8], out: &mut Vec<u8>) -> Outcome {
    let Ok(query) = Query::read(message) else { return Outcome::Silent };
    reply::truncated(out, &query);
    Outcome::Reply
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok(permit) = Arc::clone(&shared.streams).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, from.ip(), &shared).await {
                        tracing::debug!(%error, "a stream ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a stream could not be accepted");
                // Mostly a lack of file handles, which other streams give back soon.
                tokio::time::sleep(STOP_CHECK).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, from: IpAddr, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = vec![0; STREAM_QUERY_MAX];
    let mut out = Vec::new();
    let mut stopping = shared.stopping.clone();
    for _ in 0..STREAM_QUERIES_MAX {
        // The whole query within the time, or a sender of single bytes would hold the stream.
        let read = timeout(IDLE, async {
            let length = usize::from(stream.read_u16().await?);
            let Some(message) = message.get_mut(..length) else { return Err(io::ErrorKind::InvalidData.into()) };
            stream.read_exact(message).await.map(|_| length)
        });
        let read = tokio::select! {
            read = read => read,
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        };
        let length = match read {
            Ok(Ok(length)) => length,
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        let Some(message) = message.get(..length) else { return Ok(()) };
        out.clear();
        out.extend([0, 0]);
        match shared.answers.answer(message, false, now(), &mut out) {
            Outcome::Silent => return Ok(()),
            Outcome::Reply => send(&mut stream, &mut out).await?,
            Outcome::Transfer => {
                for mut part in transferred(shared, message, from).await {
                    send(&mut stream, &mut part).await?;
                }
            }
        }
    }
    Ok(())
}

/// The messages that answer a transfer, each behind two bytes for its length.
async fn transferred(shared: &Shared, message: &[u8], from: IpAddr) -> Vec<Vec<u8>> {
    let (answers, message) = (Arc::clone(&shared.answers), message.to_vec());
    let listed = shared.transfer.iter().any(|network| network.contains(&from.to_canonical()));
    // A large zone is signed for up to a second.
    let made = spawn_blocking(move || {
        let Ok(query) = Query::read(&message) else { return Vec::new() };
        let now = now();
        let Ok(exchange) = answers.exchange(&message, &query, now) else { return Vec::new() };
        let allowed = listed || exchange.is_some();
        let made = transfer::begin(&answers, &query, allowed)
            .and_then(|zone| transfer::messages(&answers, &zone, &query, exchange, now));
        made.unwrap_or_else(|code| {
            let mut out = vec![0, 0];
            reply::refusal(&mut out, &query, code);
            vec![out]
        })
    });
    made.await.unwrap_or_default()
}

/// Sends a message whose first two bytes are kept for its length.
async fn send(stream: &mut TcpStream, message: &mut [u8]) -> io::Result<()> {
    let length = u16::try_from(message.len().saturating_sub(2)).map_err(|_| io::ErrorKind::InvalidData)?;
    if let Some(head) = message.first_chunk_mut::<2>() {
        *head = length.to_be_bytes();
    }
    timeout(WRITE, stream.write_all(message)).await?
}
