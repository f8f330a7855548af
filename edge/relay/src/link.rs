//! One connection to an app.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;
use wire::{BodyGuard, Framing, Limits, Malformed, ParsedResponse, Response, ResponseFraming};

use crate::patience::Patience;

/// Bytes read at once while a head or a short body is expected.
const READ: usize = 8 << 10;
/// Bytes read at once of a long body: as many as cost one system call little more than few do, and no more, because
/// every visitor who is slow to take one holds them.
const READ_LONG: usize = 64 << 10;

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The app accepts no connection.
    #[error("it accepts no connection: {0}")]
    Connect(io::Error),
    /// The app closed a connection that had been kept before anything of its answer came: most likely before it saw
    /// the request.
    #[error("it closed a connection that had been kept")]
    Stale,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(io::Error),
    /// The app ended its answer in the middle.
    #[error("it ended in the middle of its answer")]
    Short,
    /// The app was silent for too long.
    #[error("it was silent for too long")]
    Silent,
    /// What the app sent is no answer.
    #[error("its answer is malformed: {0}")]
    Malformed(#[from] Malformed),
}

impl Failure {
    /// Whether an idempotent request may be asked again on a new connection without a doubt.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Stale)
    }

    /// Whether it is the app's slowness.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Silent => true,
            Self::Connect(e) => e.kind() == io::ErrorKind::TimedOut,
            _ => false,
        }
    }
}

/// A connection to an app. One request at a time.
#[derive(Debug)]
pub struct Link {
    stream: TcpStream,
    address: SocketAddr,
    input: BytesMut,
    /// Bytes of a head at the beginning of `input` that were looked at and are still needed.
    head: usize,
    body: Body,
    patience: Patience,
    was_kept: bool,
    /// Whether anything of the present answer has come.
    has_spoken: bool,
}

#[derive(Debug)]
enum Body {
    Guarded(BodyGuard),
    /// It ends with the connection; whether it has.
    ToClose(bool),
}

impl Link {
    pub(crate) fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            input: BytesMut::new(),
            head: 0,
            body: Body::ToClose(true),
            patience: Patience::default(),
            was_kept: false,
            has_spoken: false,
        }
    }

    pub(crate) fn used(mut self) -> Self {
        self.was_kept = true;
        self
    }

    /// Whose connection it is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the app neither closed it nor spoke unasked.
    pub(crate) fn is_quiet(&self) -> bool {
        // Costs no system call while nothing has happened on it.
        let would_block = |e: io::Error| e.kind() == io::ErrorKind::WouldBlock;
        self.input.is_empty() && self.stream.try_read(&mut [0]).is_err_and(would_block)
    }

    /// Waits until there is something to read, or the app has closed it.
    #[cfg(test)]
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// Writes bytes of a request.
    ///
    /// # Errors
    /// When the app does not take them, or takes none for `limit`.
    pub async fn send(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Failure> {
        self.has_spoken = false;
        self.patience.moved();
        let mut left = bytes;
        let sent = poll_fn(|cx| {
            while !left.is_empty() {
                let Poll::Ready(result) = Pin::new(&mut self.stream).poll_write(cx, left) else {
                    return self.patience.wait(limit, cx).map(Err);
                };
                left = &left[result?..];
                self.patience.moved();
            }
            Poll::Ready(Ok(()))
        });
        sent.await.map_err(|e| self.failure(e))
    }

    /// Polls for the head of the answer, which is at the beginning of [`Link::head_bytes`] then. Interim answers
    /// (1xx) come before it, each by a call of its own.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or what comes is no answer.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
        to_head: bool,
        limit: Duration,
    ) -> Poll<Result<Response, Failure>> {
        self.skip_head();
        loop {
            if !self.input.is_empty() {
                match wire::parse_response(&self.input, limits) {
                    ParsedResponse::Complete(response) => {
                        self.begin_body(&response, limits, to_head);
                        self.patience.moved();
                        return Poll::Ready(Ok(response));
                    }
                    ParsedResponse::Malformed(malformed) => return Poll::Ready(Err(malformed.into())),
                    ParsedResponse::Partial => {}
                }
            }
            match ready!(self.poll_fill(cx, READ, limit)) {
                Ok(0) => {
                    let stale = self.was_kept && !self.has_spoken;
                    return Poll::Ready(Err(if stale { Failure::Stale } else { Failure::Short }));
                }
                Ok(_) => self.has_spoken = true,
                Err(e) => return Poll::Ready(Err(self.failure(e))),
            }
        }
    }

    fn begin_body(&mut self, response: &Response, limits: &Limits, to_head: bool) {
        self.head = response.len;
        self.body = match response.framing {
            _ if to_head => Body::Guarded(BodyGuard::new(Framing::None, limits)),
            ResponseFraming::Like(framing) => Body::Guarded(BodyGuard::new(framing, limits)),
            ResponseFraming::Close => Body::ToClose(false),
        };
    }

    /// The bytes that [`Link::poll_head`] parsed, until the next call of it or of [`Link::poll_body`].
    #[must_use]
    pub fn head_bytes(&self) -> &[u8] {
        &self.input[..self.head]
    }

    /// Polls for more of the body, chunks as the app made them; the bytes are [`Link::piece`]. Returns how many
    /// there are; 0 at the end.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or the body breaks off or is malformed.
    pub fn poll_body(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<usize, Failure>> {
        self.skip_head();
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(0));
            }
            if !self.input.is_empty() {
                let count = match &mut self.body {
                    Body::ToClose(_) => self.input.len(),
                    Body::Guarded(guard) => match guard.follow(&self.input) {
                        Ok(count) => count,
                        Err(_) => return Poll::Ready(Err(Malformed("a chunk of its body is malformed").into())),
                    },
                };
                // What was followed is given out once.
                self.head = count;
                return Poll::Ready(Ok(count));
            }
            match ready!(self.poll_fill(cx, READ_LONG, limit)) {
                Ok(0) => match &mut self.body {
                    Body::ToClose(closed) => *closed = true,
                    Body::Guarded(_) => return Poll::Ready(Err(Failure::Short)),
                },
                Ok(_) => self.patience.moved(),
                Err(e) => return Poll::Ready(Err(self.failure(e))),
            }
        }
    }

    /// The bytes that [`Link::poll_body`] told of.
    #[must_use]
    pub fn piece(&self) -> &[u8] {
        &self.input[..self.head]
    }

    /// What of the body has come together with the head: the bytes that [`Link::poll_body`] would give next without
    /// waiting.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.input.len() > self.head
    }

    /// Whether the answer was read to its end.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match &self.body {
            Body::Guarded(guard) => guard.is_done(),
            Body::ToClose(closed) => *closed,
        }
    }

    /// Whether it can be used for another request, as far as this side knows: the answer was read to its end, which was
    /// not the connection's, and nothing came after it.
    #[must_use]
    pub fn is_reusable(&mut self) -> bool {
        self.skip_head();
        matches!(&self.body, Body::Guarded(guard) if guard.is_done()) && self.input.is_empty()
    }

    fn skip_head(&mut self) {
        self.input.advance(self.head);
        self.head = 0;
        if self.input.is_empty() {
            // Lets the next bytes use the same memory.
            self.input.clear();
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize, limit: Duration) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        match poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input) {
            Poll::Pending => self.patience.wait(limit, cx).map(Err),
            ready => ready,
        }
    }

    fn failure(&self, e: io::Error) -> Failure {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
        match e.kind() {
            TimedOut => Failure::Silent,
            BrokenPipe | ConnectionReset if self.was_kept && !self.has_spoken => Failure::Stale,
            _ => Failure::Broken(e),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    /// A link, and the app's end of it.
    async fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        (Link::new(stream, address), listener.accept().await.unwrap().0)
    }

    async fn head(link: &mut Link) -> Result<Response, Failure> {
        poll_fn(|cx| link.poll_head(cx, &Limits::default(), false, LIMIT)).await
    }

    async fn body(link: &mut Link) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while poll_fn(|cx| link.poll_body(cx, LIMIT)).await? > 0 {
            all.extend_from_slice(link.piece());
        }
        Ok(all)
    }

    /// What an app's bytes, in two pieces cut anywhere, are read as.
    async fn read(bytes: &[u8], at: usize, closes: bool) -> Result<(u16, Vec<u8>, bool), Failure> {
        let (mut link, mut app) = pair().await;
        app.write_all(&bytes[..at]).await.unwrap();
        let reading = async {
            let response = head(&mut link).await?;
            let body = body(&mut link).await?;
            Ok((response.status, body, link.is_reusable()))
        };
        let writing = async {
            tokio::task::yield_now().await;
            app.write_all(&bytes[at..]).await.unwrap();
            if closes {
                app.shutdown().await.unwrap();
            }
            app
        };
        tokio::join!(reading, writing).0
    }

    #[tokio::test]
    async fn an_answer_is_the_same_however_it_is_cut() {
        let length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\n\r\n";
        for at in 0..length.len() {
            assert_eq!(read(length, at, false).await.unwrap(), (200, b"hello".to_vec(), true), "{at}");
        }
        for at in 0..chunks.len() {
            let (status, body, reusable) = read(chunks, at, false).await.unwrap();
            assert_eq!((status, reusable), (200, true), "{at}");
            assert_eq!(body, b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n", "chunks and trailer fields pass as they are");
        }
        let to_close = b"HTTP/1.1 200 OK\r\n\r\nhello";
        assert_eq!(read(to_close, 3, true).await.unwrap(), (200, b"hello".to_vec(), false));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_or_is_malformed_is_never_taken_for_whole() {
        let short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
        assert!(matches!(read(short, 4, true).await, Err(Failure::Short)));
        let chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell";
        assert!(matches!(read(chunk, 4, true).await, Err(Failure::Short)));
        let odd = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n";
        assert!(matches!(read(odd, 4, false).await, Err(Failure::Malformed(_))));
    }

    #[tokio::test]
    async fn a_connection_with_more_than_the_answer_is_not_used_again() {
        let more = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(read(more, 50, false).await.unwrap(), (200, b"hello".to_vec(), false));
    }

    #[tokio::test]
    async fn interim_answers_come_one_by_one() {
        let (mut link, mut app) = pair().await;
        app.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        let hints = head(&mut link).await.unwrap();
        assert_eq!((hints.status, hints.fields(link.head_bytes()).count()), (103, 1));
        assert_eq!(head(&mut link).await.unwrap().status, 204);
        assert_eq!(poll_fn(|cx| link.poll_body(cx, LIMIT)).await.unwrap(), 0);
        assert!(link.is_reusable());
    }

    #[tokio::test]
    async fn only_a_kept_connection_that_said_nothing_is_stale() {
        let (mut link, app) = pair().await;
        drop(app);
        assert!(matches!(head(&mut link).await, Err(Failure::Short)));
        let (link, mut app) = pair().await;
        let mut link = link.used();
        link.send(b"GET / HTTP/1.1\r\n\r\n", LIMIT).await.unwrap();
        app.read_exact(&mut [0; 18]).await.unwrap();
        drop(app);
        assert!(head(&mut link).await.unwrap_err().is_stale());
        let (link, mut app) = pair().await;
        let mut link = link.used();
        app.write_all(b"HTTP/1.1 200").await.unwrap();
        drop(app);
        assert!(matches!(head(&mut link).await, Err(Failure::Short)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_app_that_is_silent_is_given_up_and_one_that_drips_is_not() {
        let (mut link, mut app) = pair().await;
        let dripping = tokio::spawn(async move {
            app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n").await.unwrap();
            for _ in 0..9 {
                tokio::time::sleep(LIMIT - Duration::from_millis(1)).await;
                app.write_all(b"x").await.unwrap();
            }
            app
        });
        head(&mut link).await.unwrap();
        let failure = body(&mut link).await.unwrap_err();
        assert!(failure.is_timeout(), "{failure}");
        assert!(dripping.await.is_ok());
    }
}
