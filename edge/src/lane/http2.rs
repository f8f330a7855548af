//! What the lane looks at in a request over HTTP/2.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};

use super::{Asked, is_usual_path};
use crate::host;

/// Fields of requests whose answer depends on more than is looked at; the same as `wire::Head::is_unusual` and
/// `wire::Head::expects` name over HTTP/1.
const UNUSUAL: [HeaderName; 7] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_RANGE,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::AUTHORIZATION,
    header::EXPECT,
];

/// A request that is like most.
pub(super) struct Usual<'a> {
    host: Cow<'a, str>,
    path: &'a str,
    accept: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    is_head: bool,
}

impl Usual<'_> {
    pub(super) fn as_asked(&self) -> Asked<'_> {
        Asked {
            host: &self.host,
            path: self.path.as_bytes(),
            accept: self.accept,
            if_none_match: self.if_none_match,
            is_head: self.is_head,
        }
    }
}

/// Reads a head; `None` when its answer depends on more than the lane knows.
pub(super) fn read(head: &Parts) -> Option<Usual<'_>> {
    let is_head = head.method == Method::HEAD;
    if !is_head && head.method != Method::GET {
        return None;
    }
    let path = head.uri.path_and_query()?.as_str();
    if !path.starts_with('/') || !is_usual_path(path.as_bytes()) {
        return None;
    }
    if head.headers.keys().any(|name| UNUSUAL.contains(name)) {
        return None;
    }
    let accept = once(&head.headers, &header::ACCEPT_ENCODING)?;
    let if_none_match = once(&head.headers, &header::IF_NONE_MATCH)?;
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST)?.to_str().ok()?,
    };
    Some(Usual { host: host::normalized(authority)?, path, accept, if_none_match, is_head })
}

/// A field that comes at most once; `None` if it comes more often.
fn once<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    values.next().is_none().then(|| first.map(http::HeaderValue::as_bytes))
}
