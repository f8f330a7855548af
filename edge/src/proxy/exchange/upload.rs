//! A request's body on its way to the app.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use relay::Link;
use wire::Framing;

use crate::visit::{Lost, Visit};

/// Largest body that is kept so that the request can be sent again, in bytes: that of a usual form.
const MAX_KEPT: usize = 64 << 10;

/// A request's body on its way.
pub(super) struct Upload {
    is_chunked: bool,
    /// Pieces that were read, as long as they are few enough to be sent again.
    kept: Vec<Bytes>,
    /// How many of them this link was given.
    given: usize,
    /// Bytes that were read.
    size: usize,
    /// Whether more was read than is kept.
    is_cut: bool,
    /// Whether all of it was read.
    is_read: bool,
    /// Whether the link was given the end.
    is_ended: bool,
    /// Whether the link has written it all, or the app does not take it any more.
    is_done: bool,
}

impl Upload {
    pub(super) const fn new(framing: Framing) -> Self {
        Self {
            is_chunked: matches!(framing, Framing::Chunked),
            kept: Vec::new(),
            given: 0,
            size: 0,
            is_cut: false,
            is_read: false,
            is_ended: false,
            is_done: false,
        }
    }

    /// Begins anew, on another link.
    pub(super) const fn rewind(&mut self) {
        (self.given, self.is_ended, self.is_done) = (0, false, false);
    }

    /// Whether the whole request can be sent again.
    pub(super) const fn is_at_hand(&self) -> bool {
        !self.is_cut
    }

    /// Whether it was read to its end.
    pub(super) const fn is_read(&self) -> bool {
        self.is_read
    }

    /// Whether nothing more is written.
    pub(super) const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Moves what can be moved. Ready when nothing more is to be: all is written, or the app does not take it; why,
    /// its answer tells.
    pub(super) fn poll<V: Visit>(
        &mut self,
        cx: &mut Context<'_>,
        visit: &mut V,
        link: &mut Link,
        limit: Duration,
    ) -> Poll<Result<(), Lost>> {
        while !self.is_done {
            if self.is_ended || link.is_full() {
                match link.poll_flush(cx, limit) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(result) => self.is_done = self.is_ended || result.is_err(),
                }
                link.moved();
                continue;
            }
            if let Some(piece) = self.kept.get(self.given) {
                self.given += 1;
                link.push_piece(piece.clone(), self.is_chunked);
                continue;
            }
            if self.is_read {
                self.is_ended = true;
                self.end(visit, link);
                continue;
            }
            match visit.poll_body(cx) {
                Poll::Ready(Ok(Some(piece))) => self.give(piece, link),
                Poll::Ready(Ok(None)) => self.is_read = true,
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
                Poll::Pending => {
                    if matches!(link.poll_flush(cx, limit), Poll::Ready(Err(_))) {
                        self.is_done = true;
                        break;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn give(&mut self, piece: Bytes, link: &mut Link) {
        self.size += piece.len();
        if self.is_cut || self.size > MAX_KEPT {
            self.is_cut = true;
            self.kept = Vec::new();
            self.given = 0;
        } else {
            self.kept.push(piece.clone());
            self.given += 1;
        }
        link.push_piece(piece, self.is_chunked);
    }

    fn end<V: Visit>(&self, visit: &V, link: &mut Link) {
        if !self.is_chunked {
            return;
        }
        link.push(b"0\r\n");
        for (name, value) in visit.trailers().iter().flatten() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                link.push(part);
            }
        }
        link.push(b"\r\n");
    }
}
