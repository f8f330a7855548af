//! A wire to a registry that counts what goes over it, and breaks where it is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to a request.
pub enum Fault {
    /// The connection breaks after half of the body; nothing reaches the registry.
    Break,
    /// The registry answers 503 and asks to wait for no time.
    Busy,
    /// Something is done first; the request then goes its way.
    First(Box<dyn Fn() + Send>),
    /// Something is done, and the connection breaks.
    Instead(Box<dyn Fn() + Send>),
}

/// Which faults come: by the number of the chunk, counted from 1.
type Plan = Box<dyn FnMut(usize, &Arc<Mutex<Seen>>) -> Option<Fault> + Send>;

/// What went over the wire.
#[derive(Default)]
pub struct Seen {
    /// Chunks that were begun.
    pub chunks: usize,
    /// Bytes of chunks that the registry took.
    pub taken: usize,
    /// Uploads that were begun.
    pub begun: usize,
    /// Times that the registry was asked how far an upload got.
    pub asked: usize,
    /// First lines of all requests.
    pub lines: Vec<String>,
}

pub struct Proxy {
    pub host: String,
    seen: Arc<Mutex<Seen>>,
}

impl Proxy {
    pub fn start(to: &str, plan: impl FnMut(usize, &Arc<Mutex<Seen>>) -> Option<Fault> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (seen, plan): (Arc<Mutex<Seen>>, Arc<Mutex<Plan>>) = (Arc::default(), Arc::new(Mutex::new(Box::new(plan))));
        let (to, shared) = (to.to_owned(), seen.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (to, seen, plan) = (to.clone(), shared.clone(), plan.clone());
                std::thread::spawn(move || one(stream, &to, &seen, &plan));
            }
        });
        Self { host, seen }
    }

    pub fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }
}

/// One request on a connection of its own.
fn one(mut client: TcpStream, to: &str, seen: &Arc<Mutex<Seen>>, plan: &Mutex<Plan>) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let length = |text: &str| -> usize {
        let found =
            text.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
        found.map_or(0, |length| length.trim().parse().unwrap())
    };
    let length = length(&text);
    let line = text.lines().next().unwrap().to_owned();
    let is_chunk = line.starts_with("PATCH ");
    let fault = {
        let mut noted = seen.lock().unwrap();
        noted.begun += usize::from(line.starts_with("POST "));
        noted.asked += usize::from(line.starts_with("GET ") && line.contains("/blobs/uploads/"));
        noted.chunks += usize::from(is_chunk);
        noted.lines.push(line);
        let number = noted.chunks;
        drop(noted);
        is_chunk.then(|| plan.lock().unwrap()(number, seen)).flatten()
    };
    let mut body = vec![0; if matches!(fault, Some(Fault::Break)) { length / 2 } else { length }];
    client.read_exact(&mut body)?;
    match fault {
        None => {}
        Some(Fault::Break) => return Ok(()),
        Some(Fault::Busy) => {
            let answer =
                "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(answer.as_bytes());
        }
        Some(Fault::First(act)) => act(),
        Some(Fault::Instead(act)) => {
            act();
            return Ok(());
        }
    }
    let mut server = TcpStream::connect(to)?;
    // One request a connection, so that each is seen.
    server.write_all(text.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if is_chunk && answer.starts_with(b"HTTP/1.1 202") {
        seen.lock().unwrap().taken += length;
    }
    client.write_all(&answer)
}
