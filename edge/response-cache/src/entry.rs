//! What is kept: the head of an answer with what is known of it, and its body.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::fresh::Life;
use crate::store::{self, Terms};
use crate::vary::Selection;

/// Bytes that an answer takes beside its fields and its body, roughly.
const OVERHEAD: usize = 512;
/// Bytes that a field takes beside its name and its value, roughly.
const FIELD_OVERHEAD: usize = 40;
/// Bodies up to this size in bytes are kept in one piece, which leaves with its head in one write.
const ONE_PIECE: usize = 256 << 10;

/// Where an answer belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Deployment and address, as in `dep_1 https://a.example/b?c`.
    pub(crate) key: Box<str>,
    pub(crate) project: Box<str>,
}

impl Place {
    /// Host, path and query.
    pub(crate) fn url(&self) -> &str {
        self.key.split_once("://").map_or("", |(_, url)| url)
    }

    pub(crate) fn host(&self) -> &str {
        let url = self.url();
        &url[..url.find('/').unwrap_or(url.len())]
    }
}

/// The head of a kept answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) life: Life,
    pub(crate) selection: Selection,
    /// Whether it may answer requests with `Authorization`.
    pub(crate) explicit: bool,
    pub(crate) tags: Box<[Box<str>]>,
}

impl Head {
    /// That of an answer whose fields are still as they came.
    pub(crate) fn new(status: StatusCode, mut headers: HeaderMap, terms: Terms, request: &HeaderMap) -> Self {
        let tags = store::tags(&headers);
        let selection = Selection::of(&headers, request);
        store::clean(&mut headers, &terms.directives.fields);
        Self { status, headers, life: terms.life, selection, explicit: terms.explicit, tags }
    }

    /// Whether it may ever be used without a validation.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.life.always_validates && self.life.left(self.life.received).is_some()
    }

    fn weight(&self) -> usize {
        let fields = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + FIELD_OVERHEAD);
        let tags = self.tags.iter().map(|tag| tag.len() + FIELD_OVERHEAD);
        OVERHEAD + fields.sum::<usize>() + tags.sum::<usize>() + self.selection.weight()
    }
}

/// A kept answer.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: Arc<Head>,
    pub(crate) body: Arc<[Bytes]>,
    pub(crate) length: u64,
}

impl Entry {
    pub(crate) fn new(head: Arc<Head>, pieces: Vec<Bytes>) -> Self {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let body = if pieces.len() > 1 && length <= ONE_PIECE {
            Arc::from([Bytes::from(pieces.concat())])
        } else {
            // A piece may be part of a larger buffer, which it would keep.
            pieces.iter().map(|piece| Bytes::copy_from_slice(piece)).collect()
        };
        Self { head, body, length: length as u64 }
    }

    pub(crate) fn weight(&self) -> usize {
        self.head.weight() + usize::try_from(self.length).unwrap_or(usize::MAX)
    }
}

/// The answers that are kept for one address, the newest first.
#[derive(Clone, Debug)]
pub(crate) struct Variants {
    pub(crate) place: Arc<Place>,
    pub(crate) entries: Arc<[Arc<Entry>]>,
}

/// Gives an answer its date, when it has none (RFC 9110 section 6.6.1).
pub(crate) fn ensure_date(headers: &mut HeaderMap, received: SystemTime) {
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(received))
    {
        headers.insert(header::DATE, date);
    }
}
