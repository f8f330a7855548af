//! One connection to an app.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;
use wire::{Framing, Limits, Malformed, ParsedResponse, Response, ResponseFraming};

use crate::patience::Patience;
use crate::unframed::Unframed;

/// Bytes read at once while a head or a short body is expected.
const READ: usize = 8 << 10;
/// Bytes read at once of a long body: as many as cost one system call little more than few do, and no more, because
/// every visitor who is slow to take one holds them.
const READ_LONG: usize = 64 << 10;

/// Largest piece of a request's body that is copied behind what comes before it: a copy costs less than a second slice.
const MAX_COPIED: usize = 4 << 10;
/// Bytes that are collected before they must be written: more would only fill the socket.
const MAX_OUTPUT: usize = 16 << 10;

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
    /// To be written: first this, then a piece that was too long to be copied, then what ends it.
    output: BytesMut,
    piece: Bytes,
    tail: &'static [u8],
    body: Body,
    reading: Patience,
    writing: Patience,
    was_kept: bool,
    /// Whether the app lets it be used again.
    keeps_alive: bool,
    /// Whether anything of the present answer has come.
    has_spoken: bool,
}

#[derive(Debug)]
enum Body {
    Framed(Unframed),
    /// It ends with the connection; whether it has.
    ToClose(bool),
}

impl Link {
    pub(crate) fn new(stream: TcpStream, address: SocketAddr) -> Self {
        Self {
            stream,
            address,
            input: BytesMut::new(),
            output: BytesMut::new(),
            piece: Bytes::new(),
            tail: b"",
            body: Body::ToClose(true),
            reading: Patience::default(),
            writing: Patience::default(),
            was_kept: false,
            keeps_alive: false,
            has_spoken: false,
        }
    }

    pub(crate) fn used(mut self) -> Self {
        self.was_kept = true;
        self.has_spoken = false;
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

    /// Takes bytes of a request, to be written by [`Link::poll_flush`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Takes a piece of a request's body. Only while the link is not [full](Link::is_full).
    pub fn push_piece(&mut self, piece: Bytes, chunked: bool) {
        let end: &'static [u8] = if chunked { b"\r\n" } else { b"" };
        if chunked {
            // Memory never refuses to be written to.
            let _ = write!(self.output, "{:x}\r\n", piece.len());
        }
        if piece.len() <= MAX_COPIED {
            self.output.extend_from_slice(&piece);
            self.output.extend_from_slice(end);
        } else {
            (self.piece, self.tail) = (piece, end);
        }
    }

    /// Whether what was pushed must be written before more is.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.piece.is_empty() || !self.tail.is_empty() || self.output.len() >= MAX_OUTPUT
    }

    /// Polls until all that was pushed is written.
    ///
    /// # Errors
    /// When the app does not take it, or takes nothing for `limit`.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<(), Failure>> {
        loop {
            let all = [&*self.output, &*self.piece, self.tail];
            if all.iter().all(|part| part.is_empty()) {
                self.output.clear();
                return Poll::Ready(Ok(()));
            }
            let result = if self.piece.is_empty() && self.tail.is_empty() {
                Pin::new(&mut self.stream).poll_write(cx, &self.output)
            } else {
                Pin::new(&mut self.stream).poll_write_vectored(cx, &all.map(IoSlice::new))
            };
            let Poll::Ready(result) = result else {
                return self.writing.wait(limit, cx).map(|e| Err(self.failure(e)));
            };
            let mut count = result.map_err(|e| self.failure(e))?;
            self.writing.moved();
            let of_output = count.min(self.output.len());
            self.output.advance(of_output);
            count -= of_output;
            let of_piece = count.min(self.piece.len());
            self.piece.advance(of_piece);
            self.tail = &self.tail[count - of_piece..];
        }
    }

    /// The app is not waited for: it is the request that takes its time.
    pub const fn moved(&mut self) {
        self.reading.moved();
    }

    /// Polls for the head of the answer, whose bytes are given with it. Interim answers (1xx) come before it, each by
    /// a call of its own.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or what comes is no answer.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
        to_head: bool,
        limit: Option<Duration>,
    ) -> Poll<Result<(Response, Bytes), Failure>> {
        loop {
            if !self.input.is_empty() {
                match wire::parse_response(&self.input, limits) {
                    ParsedResponse::Complete(response) => {
                        self.begin_body(&response, limits, to_head);
                        self.reading.moved();
                        return Poll::Ready(Ok((response, self.input.split_to(response.len).freeze())));
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
        self.keeps_alive = response.keeps_alive;
        self.body = match response.framing {
            _ if to_head => Body::Framed(Unframed::new(Framing::None, limits)),
            ResponseFraming::Like(framing) => Body::Framed(Unframed::new(framing, limits)),
            ResponseFraming::Close => Body::ToClose(false),
        };
    }

    /// Polls for the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the app is silent for `limit`, or the body breaks off or is malformed.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<Option<Bytes>, Failure>> {
        loop {
            if self.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !self.input.is_empty() {
                let piece = match &mut self.body {
                    Body::ToClose(_) => Some(self.input.split().freeze()),
                    Body::Framed(body) => {
                        body.take(&mut self.input).map_err(|_| Malformed("a chunk of its body is malformed"))?
                    }
                };
                if piece.is_some() {
                    self.reading.moved();
                    return Poll::Ready(Ok(piece));
                }
                continue;
            }
            match ready!(self.poll_fill(cx, READ_LONG, Some(limit))) {
                Ok(0) => match &mut self.body {
                    Body::ToClose(closed) => *closed = true,
                    Body::Framed(_) => return Poll::Ready(Err(Failure::Short)),
                },
                Ok(_) => self.reading.moved(),
                Err(e) => return Poll::Ready(Err(self.failure(e))),
            }
        }
    }

    /// The trailer fields of an answer that was read to its end.
    #[must_use]
    pub fn trailers(&self) -> Option<HeaderMap> {
        match &self.body {
            Body::Framed(body) => body.trailers(),
            Body::ToClose(_) => None,
        }
    }

    /// Whether the answer was read to its end.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        match &self.body {
            Body::Framed(body) => body.is_done(),
            Body::ToClose(closed) => *closed,
        }
    }

    /// Whether it can be used for another request, as far as this side knows: the answer was read to its end, which was
    /// not the connection's, nothing came after it, and the app does not close it.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let is_written = self.output.is_empty() && self.piece.is_empty() && self.tail.is_empty();
        let is_framed = matches!(&self.body, Body::Framed(body) if body.is_done());
        self.keeps_alive && is_framed && is_written && self.input.is_empty()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize, limit: Option<Duration>) -> Poll<io::Result<usize>> {
        self.input.reserve(room);
        match (poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input), limit) {
            (Poll::Pending, Some(limit)) => self.reading.wait(limit, cx).map(Err),
            (read, _) => read,
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
    use std::future::poll_fn;

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
        poll_fn(|cx| link.poll_head(cx, &Limits::default(), false, Some(LIMIT))).await.map(|(response, _)| response)
    }

    async fn body(link: &mut Link) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(piece) = poll_fn(|cx| link.poll_piece(cx, LIMIT)).await? {
            all.extend_from_slice(&piece);
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
            assert_eq!(body, b"hello", "{at}");
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
        let limits = Limits::default();
        let (hints, bytes) = poll_fn(|cx| link.poll_head(cx, &limits, false, Some(LIMIT))).await.unwrap();
        assert_eq!((hints.status, hints.fields(&bytes).count()), (103, 1));
        assert_eq!(head(&mut link).await.unwrap().status, 204);
        assert_eq!(poll_fn(|cx| link.poll_piece(cx, LIMIT)).await.unwrap(), None);
        assert!(link.is_reusable());
    }

    #[tokio::test]
    async fn only_a_kept_connection_that_said_nothing_is_stale() {
        let (mut link, app) = pair().await;
        drop(app);
        assert!(matches!(head(&mut link).await, Err(Failure::Short)));
        let (link, mut app) = pair().await;
        let mut link = link.used();
        link.push(b"GET / HTTP/1.1\r\n\r\n");
        poll_fn(|cx| link.poll_flush(cx, LIMIT)).await.unwrap();
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
