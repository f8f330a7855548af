//! Both ends of a proxy's wire, byte by byte: an app that says what the test says, when the test says it, and a visitor
//! who does the same.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{World, soon};

/// Bytes read at once.
const READ: usize = 64 << 10;

/// An app whose every byte the test writes.
pub struct Script {
    pub addr: SocketAddr,
    listener: TcpListener,
}

impl Script {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { addr: listener.local_addr().unwrap(), listener }
    }

    /// The next connection that the edge makes.
    pub async fn accept(&self) -> Line {
        Line::new(soon(self.listener.accept()).await.unwrap().0)
    }

    /// Accepts a connection and reads the head of the request on it.
    pub async fn asked(&self) -> (Line, Head) {
        let mut line = self.accept().await;
        let head = line.head().await;
        (line, head)
    }

    /// Reads the head of the next request, which may come on a connection that was kept, or on a new one.
    pub async fn asked_on(&self, mut kept: Line) -> (Line, Head) {
        if soon(kept.come()).await {
            let head = kept.head().await;
            return (kept, head);
        }
        self.asked().await
    }
}

/// An app that answers all requests the same way.
pub struct Served {
    pub addr: SocketAddr,
    asked: watch::Sender<usize>,
}

impl Script {
    /// Answers each request by what `answer` makes of its head and body: bytes, or nothing, and the connection is
    /// broken off.
    pub fn serve(self, answer: impl Fn(&Head, &[u8]) -> Option<String> + Send + Sync + 'static) -> Served {
        let served = Served { addr: self.addr, asked: watch::channel(0).0 };
        let (asked, answer) = (served.asked.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((socket, _)) = self.listener.accept().await {
                let (asked, answer) = (asked.clone(), Arc::clone(&answer));
                let mut line = Line::new(socket);
                tokio::spawn(async move {
                    while line.come().await {
                        let head = line.head().await;
                        let body = line.exactly(head.field("content-length").parse().unwrap_or(0)).await;
                        asked.send_modify(|count| *count += 1);
                        let Some(answer) = answer(&head, &body) else { return };
                        line.say(&answer).await;
                    }
                });
            }
        });
        served
    }
}

impl Served {
    /// Requests so far.
    pub fn asked(&self) -> usize {
        *self.asked.borrow()
    }
}

/// Any stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection, of an app or of a visitor.
pub struct Line {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

impl Line {
    pub fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    /// A visitor.
    pub async fn visit(world: &World) -> Self {
        Self::new(TcpStream::connect(world.edge.addr()).await.unwrap())
    }

    /// A visitor who has sent these bytes.
    pub async fn ask(world: &World, request: &str) -> Self {
        let mut line = Self::visit(world).await;
        line.say(request).await;
        line
    }

    pub async fn say(&mut self, text: &str) {
        self.send(text.as_bytes()).await;
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
        soon(self.stream.flush()).await.unwrap();
    }

    /// Like [`Line::say`], but the other side may have left: then false.
    pub async fn try_say(&mut self, text: &str) -> bool {
        self.try_send(text.as_bytes()).await
    }

    /// Like [`Line::send`], but the other side may have left: then false.
    pub async fn try_send(&mut self, bytes: &[u8]) -> bool {
        soon(self.stream.write_all(bytes)).await.is_ok()
    }

    /// Says that nothing more will be sent.
    pub async fn end(&mut self) {
        soon(self.stream.shutdown()).await.unwrap();
    }

    /// Reads a head, interim or not, up to the empty line after it.
    pub async fn head(&mut self) -> Head {
        Head(self.until("\r\n\r\n").await)
    }

    /// Reads as far as some text, and returns all up to its end.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            let found = self.read.windows(end.len()).position(|w| w == end.as_bytes());
            if let Some(at) = found {
                return text(self.read.drain(..at + end.len()).collect());
            }
            assert!(self.more().await, "{end:?} does not come, but {:?}", self.read.escape_ascii().to_string());
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            assert!(self.more().await, "only {} of {count} bytes come", self.read.len());
        }
        self.read.drain(..count).collect()
    }

    /// Reads a chunk of a chunked body, empty at its end.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let size = self.until("\r\n").await;
        let size = usize::from_str_radix(size.trim_end().split(';').next().unwrap(), 16).unwrap();
        let chunk = self.exactly(size).await;
        assert_eq!(self.exactly(2).await, b"\r\n");
        chunk
    }

    /// Reads a chunked body that has no trailers.
    pub async fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// Reads all that still comes, until the other side ends or breaks off.
    pub async fn rest(&mut self) -> String {
        text(self.rest_bytes().await)
    }

    /// Like [`Line::rest`], for what is no text.
    pub async fn rest_bytes(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Waits for further bytes; false when the other side has ended. Bytes that wait already are enough.
    async fn come(&mut self) -> bool {
        if !self.read.is_empty() {
            return true;
        }
        let mut buffer = vec![0; READ];
        let count = self.stream.read(&mut buffer).await.unwrap_or_default();
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }

    /// Waits for further bytes; false when the other side has ended.
    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; READ];
        let count = soon(self.stream.read(&mut buffer)).await.unwrap_or_default();
        self.read.extend_from_slice(&buffer[..count]);
        count > 0
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The head of a request or of an answer.
#[derive(Debug)]
pub struct Head(String);

impl Head {
    /// Its first line.
    pub fn line(&self) -> &str {
        self.0.split("\r\n").next().unwrap()
    }

    pub fn status(&self) -> u16 {
        self.line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.0.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// The value of a field that is there once; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        match &*self.all(name) {
            [] => "",
            [one] => one,
            _ => panic!("{name} is there several times: {}", self.0),
        }
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}
