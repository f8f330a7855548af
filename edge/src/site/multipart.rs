//! Several parts of a file in one answer: `multipart/byteranges` (RFC 9110 section 14.6).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::Form;
use super::range::{self, Part};
use crate::cache::{Cache, LoadError, MAX_WHOLE, Pieces};

/// The parts that are still to be sent, each behind a head of its own.
pub(crate) struct Multipart {
    source: Source,
    form: Form,
    size: u64,
    boundary: String,
    length: u64,
    /// Heads and ranges of parts that have not begun.
    waiting: VecDeque<(Bytes, Part)>,
    /// The first part, opened before the answer begins.
    first: Option<Pieces>,
    /// The part that is being sent.
    current: Option<Pieces>,
    /// A part that is in memory and follows its head.
    ready: Option<Bytes>,
    end: Option<Bytes>,
}

enum Source {
    /// The file, in memory.
    Whole(Bytes),
    /// Each part is opened when its turn comes.
    Store(Cache, Arc<str>),
}

impl Multipart {
    /// Begins to read the first of `parts`, so that a store that fails is noticed before the head is written.
    pub(super) async fn new(
        form: Form,
        size: u64,
        content_type: &HeaderValue,
        parts: &[Part],
        (cache, project): (&Cache, &Arc<str>),
    ) -> Result<Self, Arc<LoadError>> {
        // No file contains its own hash, so the boundary never occurs in a part.
        let boundary = form.hex();
        let mut length = 0;
        let mut waiting = VecDeque::with_capacity(parts.len());
        for part in parts {
            let mut head = format!("\r\n--{boundary}\r\nContent-Type: ").into_bytes();
            head.extend_from_slice(content_type.as_bytes());
            head.extend_from_slice(b"\r\nContent-Range: ");
            head.extend_from_slice(range::satisfied(part, size).as_bytes());
            head.extend_from_slice(b"\r\n\r\n");
            length += head.len() as u64 + (part.end - part.start);
            waiting.push_back((Bytes::from(head), part.clone()));
        }
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        length += end.len() as u64;
        let (source, first) = if size <= MAX_WHOLE {
            (Source::Whole(cache.body(project, form, size).await?.bytes), None)
        } else {
            let first = match waiting.front() {
                Some((_, part)) => Some(cache.open(project, form, size, part.clone()).await?),
                None => None,
            };
            (Source::Store(cache.clone(), Arc::clone(project)), first)
        };
        Ok(Self { source, form, size, boundary, length, waiting, first, current: None, ready: None, end: Some(end) })
    }

    /// Bytes of the whole body, heads of parts included.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// What the answer's `Content-Type` says.
    pub(super) fn content_type(&self) -> HeaderValue {
        // Letters, digits and punctuation always are a header's value.
        HeaderValue::from_str(&format!("multipart/byteranges; boundary={}", self.boundary))
            .unwrap_or(HeaderValue::from_static("multipart/byteranges"))
    }

    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, LoadError> {
        if let Some(bytes) = self.ready.take() {
            return Ok(Some(bytes));
        }
        if let Some(current) = &mut self.current {
            if let Some(piece) = current.next().await? {
                return Ok(Some(piece));
            }
            self.current = None;
        }
        let Some((head, part)) = self.waiting.pop_front() else { return Ok(self.end.take()) };
        match &self.source {
            // What is kept whole is at most `MAX_WHOLE` bytes long, so this fits.
            Source::Whole(bytes) => self.ready = Some(bytes.slice(part.start as usize..part.end as usize)),
            Source::Store(cache, project) => {
                self.current = Some(match self.first.take() {
                    Some(first) => first,
                    None => cache.open(project, self.form, self.size, part).await?,
                });
            }
        }
        Ok(Some(head))
    }
}
