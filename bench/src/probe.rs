//! One plain request on a connection of its own: what a visitor who comes now gets.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Head as it came, without the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no head")?;
        let (head, body) = bytes.split_at(end);
        let head = String::from_utf8_lossy(head).into_owned();
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.with_context(|| format!("the answer has no status: {head}"))?;
        Ok(Self { status, body: body.get(4..).unwrap_or_default().to_vec(), head })
    }

    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn contains(&self, word: &str) -> bool {
        self.body.windows(word.len()).any(|window| window == word.as_bytes())
    }
}

/// Asks for `path` of `host`.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Answer> {
    let ask = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await?;
        anyhow::Ok(bytes)
    };
    let bytes = tokio::time::timeout(PATIENCE, ask).await.context("no answer")??;
    ensure!(!bytes.is_empty(), "the connection was closed without an answer");
    Answer::parse(&bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_are_read_whole() {
        let answer = Answer::parse(b"HTTP/1.1 503 Busy\r\nRetry-After: 5\r\n\r\nsoon").unwrap();
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("5")));
        assert!(answer.contains("oon"));
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
