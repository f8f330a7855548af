//! The end of what a command prints, for recognising complaints.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Bytes remembered of each stream: npm's longest complaint about peer dependencies is a tenth of it.
const BYTES: usize = 64 << 10;

/// The last bytes of a stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    /// A reader that remembers the end of what is read through it.
    pub(crate) fn of<R: AsyncRead + Unpin>(&self, inner: R) -> Heard<R> {
        Heard { inner, tail: self.clone() }
    }

    /// What was remembered.
    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, second) = bytes.as_slices();
        String::from_utf8_lossy(&[first, second].concat()).into_owned()
    }

    fn push(&self, new: &[u8]) {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = &new[new.len().saturating_sub(BYTES)..];
        let excess = (bytes.len() + new.len()).saturating_sub(BYTES);
        bytes.drain(..excess);
        bytes.extend(new);
    }
}

/// See [`Tail::of`].
pub(crate) struct Heard<R> {
    inner: R,
    tail: Tail,
}

impl<R: AsyncRead + Unpin> AsyncRead for Heard<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, into);
        self.tail.push(&into.filled()[before..]);
        polled
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_is_remembered_and_everything_passes() {
        let tail = Tail::default();
        let said = [b"begin".repeat(20_000), b"code ERESOLVE".to_vec()].concat();
        let mut passed = Vec::new();
        tail.of(&said[..]).read_to_end(&mut passed).await.unwrap();
        assert_eq!(passed, said);
        assert_eq!(tail.text().len(), BYTES);
        assert!(tail.text().ends_with("beginbegincode ERESOLVE"));
    }
}
