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
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
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
    /// Who may transfer zones.
    pub transfer: Vec<IpNet>,
}

/// A running server. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

struct Shared {
    answers: Arc<Answers>,
    limiter: Limiter,
    transfer: Vec<IpNet>,
    streams: Arc<Semaphore>,
}

impl Server {
    /// Listens and answers from now on. Port 0 takes one that is free for both UDP and TCP.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn start(settings: &Settings, answers: Arc<Answers>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            answers,
            limiter: Limiter::new(settings.rate, settings.burst),
            transfer: settings.transfer.clone(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        });
        let mut server = Self { addresses: Vec::new(), stop: Arc::new(AtomicBool::new(false)), tasks: Vec::new() };
        let threads = std::thread::available_parallelism()?.get().min(THREADS_MAX);
        for address in &settings.listen {
            let (listener, socket) = bind(*address).await?;
            let address = listener.local_addr()?;
            socket.set_read_timeout(Some(STOP_CHECK))?;
            for _ in 0..threads {
                let (socket, shared, stop) = (socket.try_clone()?, Arc::clone(&shared), Arc::clone(&server.stop));
                std::thread::Builder::new().name("dns".to_owned()).spawn(move || datagrams(&socket, &shared, &stop))?;
            }
            server.tasks.push(tokio::spawn(accept(listener, Arc::clone(&shared))));
            server.addresses.push(address);
        }
        Ok(server)
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

fn now() -> u64 {
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
    for _ in 0..STREAM_QUERIES_MAX {
        // The whole query within the time, or a sender of single bytes would hold the stream.
        let read = timeout(IDLE, async {
            let length = usize::from(stream.read_u16().await?);
            let Some(message) = message.get_mut(..length) else { return Err(io::ErrorKind::InvalidData.into()) };
            stream.read_exact(message).await.map(|_| length)
        });
        let length = match read.await {
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
                let allowed = shared.transfer.iter().any(|network| network.contains(&from.to_canonical()));
                let Ok(query) = Query::read(message) else { return Ok(()) };
                match transfer::begin(&shared.answers, &query, allowed) {
                    Ok(zone) => {
                        for mut part in transfer::messages(&zone, &query) {
                            send(&mut stream, &mut part).await?;
                        }
                    }
                    Err(code) => {
                        out.truncate(2);
                        reply::refusal(&mut out, &query, code);
                        send(&mut stream, &mut out).await?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Sends a message whose first two bytes are kept for its length.
async fn send(stream: &mut TcpStream, message: &mut [u8]) -> io::Result<()> {
    let length = u16::try_from(message.len().saturating_sub(2)).map_err(|_| io::ErrorKind::InvalidData)?;
    if let Some(head) = message.first_chunk_mut::<2>() {
        *head = length.to_be_bytes();
    }
    timeout(WRITE, stream.write_all(message)).await?
}
