//! Bounds the time in which a visitor sends the head of a request, however little it sends at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

/// Follows the heads of the requests on an HTTP/1 connection.
#[derive(Debug)]
pub(super) struct HeadClock {
    limit: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing of the next request has come. How long that may last, Pingora decides.
    Between,
    /// A head has begun.
    Within {
        timer: Pin<Box<Sleep>>,
        /// Whether the last line has ended and the next one has no byte yet.
        at_line_start: bool,
    },
    /// The head has ended, or there are no heads on this connection.
    Beyond,
}

impl HeadClock {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, state: State::Between }
    }

    /// The visitor sent bytes.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let at_line_start = match &self.state {
            State::Beyond => return,
            // Mostly a head comes whole and alone.
            State::Between if bytes.ends_with(b"\r\n\r\n") => {
                self.state = State::Beyond;
                return;
            }
            State::Between if bytes.is_empty() => return,
            State::Between => false,
            State::Within { at_line_start, .. } => *at_line_start,
        };
        match (after(at_line_start, bytes), &mut self.state) {
            (None, state) => *state = State::Beyond,
            (Some(now), State::Within { at_line_start, .. }) => *at_line_start = now,
            (Some(at_line_start), state) => {
                *state = State::Within { timer: Box::pin(tokio::time::sleep(self.limit)), at_line_start };
            }
        }
    }

    /// The edge writes a head: unless it says that the connection is a tunnel from now on, or that the body may
    /// come, another request follows.
    pub(super) fn wrote_head(&mut self, head: &[u8]) {
        // `HTTP/1.1 101`: the status begins at the tenth byte.
        if !head.get(9..).is_some_and(|status| status.starts_with(b"1")) {
            self.state = State::Between;
        }
    }

    /// There are no heads on this connection from now on.
    pub(super) fn stop(&mut self) {
        self.state = State::Beyond;
    }

    /// Fails when a head takes too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let State::Within { timer, .. } = &mut self.state else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the head of a request takes too long"))
    }
}

/// Whether a line has just ended after these bytes; `None` when they end the head.
fn after(mut at_line_start: bool, bytes: &[u8]) -> Option<bool> {
    for byte in bytes {
        match byte {
            b'\n' if at_line_start => return None,
            b'\n' => at_line_start = true,
            b'\r' => {}
            _ => at_line_start = false,
        }
    }
    Some(at_line_start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_within(pieces: &[&[u8]]) -> bool {
        let mut clock = HeadClock::new(Duration::from_secs(1));
        for piece in pieces {
            clock.read(piece);
        }
        matches!(clock.state, State::Within { .. })
    }

    #[tokio::test]
    async fn a_head_ends_at_its_empty_line_however_it_is_cut() {
        let head: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for at in 1..head.len() {
            let (first, second) = head.split_at(at);
            assert!(is_within(&[first]), "{}", first.escape_ascii());
            assert!(!is_within(&[first, second]));
        }
        assert!(!is_within(&[head]));
        assert!(!is_within(&[b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nbo"]));
        assert!(!is_within(&[b"GET / HTTP/1.1\nHost: a\n\n"]));
        assert!(!is_within(&[b""]));
    }

    #[tokio::test]
    async fn the_clock_runs_again_for_the_next_request_and_never_in_a_tunnel() {
        let mut clock = HeadClock::new(Duration::from_secs(1));
        clock.read(b"POST / HTTP/1.1\r\n\r\n");
        clock.wrote_head(b"HTTP/1.1 100 Continue\r\n\r\n");
        clock.read(b"body");
        assert!(matches!(clock.state, State::Beyond));
        clock.wrote_head(b"HTTP/1.1 200 OK\r\n\r\n");
        clock.read(b"GET / HT");
        assert!(matches!(clock.state, State::Within { .. }));
        clock.read(b"TP/1.1\r\n\r\n");
        clock.wrote_head(b"HTTP/1.1 101 Switching Protocols\r\n\r\n");
        clock.read(b"frames");
        assert!(matches!(clock.state, State::Beyond));
    }
}
