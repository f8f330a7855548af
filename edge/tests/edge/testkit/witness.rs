//! An app that keeps every byte it is sent.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::soon;

/// Bytes read at once.
const READ: usize = 64 << 10;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// An app that answers one request a connection, and keeps all that comes on it until its end.
pub struct Witness {
    pub addr: SocketAddr,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct Seen {
    open: usize,
    ended: Vec<String>,
}

impl Witness {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { addr: listener.local_addr().unwrap(), seen: watch::channel(Seen::default()).0 };
        let seen = this.seen.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                seen.send_modify(|seen| seen.open += 1);
                let seen = seen.clone();
                tokio::spawn(async move {
                    let text = keep(socket).await;
                    seen.send_modify(|seen| {
                        seen.open -= 1;
                        seen.ended.push(text);
                    });
                });
            }
        });
        this
    }

    /// Waits until every connection has ended, and returns what each was sent since the last time.
    pub async fn take(&self) -> Vec<String> {
        soon(self.seen.subscribe().wait_for(|seen| seen.open == 0)).await.unwrap();
        let mut taken = Vec::new();
        self.seen.send_modify(|seen| taken = std::mem::take(&mut seen.ended));
        taken
    }
}

async fn keep(mut socket: TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; READ];
    let mut is_answered = false;
    loop {
        let count = socket.read(&mut buffer).await.unwrap_or_default();
        if count == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        bytes.extend_from_slice(&buffer[..count]);
        if !is_answered && is_whole(&String::from_utf8_lossy(&bytes)) {
            is_answered = true;
            // The edge may have gone.
            let _ = socket.write_all(ANSWER).await;
            let _ = socket.shutdown().await;
        }
    }
}

/// Whether this is a request with its body.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    if head.contains("\r\ntransfer-encoding:") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.split("\r\ncontent-length: ").nth(1).and_then(|rest| rest.lines().next());
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
