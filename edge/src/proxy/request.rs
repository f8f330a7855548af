//! The head of a request, as the steps that decide about it look at it.
//!
//! Over HTTP/1 it is the bytes that came, as the strict parser has read them. Most requests for apps go on out of these,
//! so a map of the fields is made only for those who look into one.

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Version, header};
use pingora_core::Result;
use pingora_http::{HeaderNameVariant, RequestHeader, header_value_from_raw};
use wire::{Head, Span, Target};

use super::hop_by_hop::named;
use super::trace;
use super::visitor::{self, Scheme};
use crate::{host, page};

/// Fields of a usual head, with those that the edge adds; room for them is taken at once.
const FIELDS: usize = 24;

/// Length in bytes from which on a target is no usual one: far beyond what browsers send, and below what a URL may have.
const LONG: usize = 32 << 10;

/// The head of a request.
pub(crate) struct Request<'a>(Form<'a>);

enum Form<'a> {
    Raw(Raw),
    Map(RequestHeader),
    /// One of Pingora's.
    Lent(&'a mut RequestHeader),
}

/// A head as it came, for a path that needs no second look.
struct Raw {
    head: Head,
    bytes: Bytes,
    method: Method,
    /// What [`visitor::introduce`] made of it.
    introduced: Option<(HeaderValue, Scheme)>,
    /// A map of it, for those who look into one.
    map: OnceLock<Box<RequestHeader>>,
    /// What became of it, once something was changed.
    changed: Option<Box<RequestHeader>>,
}

impl From<RequestHeader> for Request<'_> {
    fn from(request: RequestHeader) -> Self {
        Self(Form::Map(request))
    }
}

impl From<http::request::Parts> for Request<'_> {
    fn from(request: http::request::Parts) -> Self {
        Self(Form::Map(request.into()))
    }
}

impl<'a> From<&'a mut RequestHeader> for Request<'a> {
    fn from(request: &'a mut RequestHeader) -> Self {
        Self(Form::Lent(request))
    }
}

impl Request<'_> {
    /// The request whose head these bytes are.
    ///
    /// # Errors
    /// When its target can be that of no URL.
    pub(crate) fn read(head: &Head, bytes: Bytes) -> Result<Self> {
        let target = head.address.of(&bytes);
        let is_usual = head.target == Target::Origin && !head.is_repeated && target.len() < LONG && is_plain(target);
        match Method::from_bytes(head.method_name.of(&bytes)) {
            Ok(method) if is_usual => {
                let (introduced, map, changed) = (None, OnceLock::new(), None);
                Ok(Self(Form::Raw(Raw { head: *head, bytes, method, introduced, map, changed })))
            }
            _ => Ok(Self(Form::Map(map(head, &bytes)?))),
        }
    }

    /// The bytes, as long as they are the request.
    fn raw(&self) -> Option<&Raw> {
        match &self.0 {
            Form::Raw(raw) => Some(raw).filter(|raw| raw.changed.is_none()),
            Form::Map(_) | Form::Lent(_) => None,
        }
    }

    /// The map, where that is the request.
    fn map(&self) -> Option<&RequestHeader> {
        match &self.0 {
            Form::Raw(raw) => raw.changed.as_deref(),
            Form::Map(map) => Some(map),
            Form::Lent(map) => Some(map),
        }
    }

    /// All of it, with its fields in a map; made at the first call.
    pub(crate) fn header(&self) -> &RequestHeader {
        match &self.0 {
            Form::Raw(raw) => match &raw.changed {
                Some(changed) => changed,
                None => raw.map.get_or_init(|| raw.to_map()),
            },
            Form::Map(map) => map,
            Form::Lent(map) => map,
        }
    }

    /// The same, to be changed. From then on the map is the request.
    pub(crate) fn header_mut(&mut self) -> &mut RequestHeader {
        match &mut self.0 {
            Form::Raw(raw) => {
                let changed = raw.changed.take().or_else(|| raw.map.take()).unwrap_or_else(|| raw.to_map());
                raw.changed.insert(changed)
            }
            Form::Map(map) => map,
            Form::Lent(map) => map,
        }
    }

    /// Whether it is as it came, and its target a path that nobody reads in another way.
    pub(super) fn is_usual(&self) -> bool {
        self.raw().is_some()
    }

    /// Gives the request its id and its scheme in place of what its visitor claimed.
    pub(super) fn introduce(&mut self, id: &HeaderValue, scheme: Scheme) {
        match &mut self.0 {
            Form::Raw(raw) if raw.map.get().or(raw.changed.as_ref()).is_none() => {
                raw.introduced = Some((id.clone(), scheme))
            }
            _ => visitor::replace_claims(self.header_mut(), id, scheme),
        }
    }

    /// The method.
    pub(crate) fn method(&self) -> &Method {
        self.raw().map_or_else(|| &self.header().method, |raw| &raw.method)
    }

    /// The version.
    pub(crate) fn version(&self) -> Version {
        match self.raw() {
            Some(raw) => version(&raw.head),
            None => self.header().version,
        }
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        let Some(raw) = self.raw() else { return self.header().uri.path() };
        let target = raw.target();
        let end = target.iter().position(|b| *b == b'?').unwrap_or(target.len());
        std::str::from_utf8(&target[..end]).unwrap_or_default()
    }

    /// The target in the form that a server expects: path and query (RFC 9112 section 3.2.1), or `*`.
    pub(super) fn target(&self) -> &[u8] {
        if let Some(raw) = self.raw() {
            return raw.target();
        }
        let request = self.header();
        let is_origin_form = request.uri.authority().is_none() && request.raw_path().starts_with(b"/");
        let path = request.uri.path_and_query().filter(|_| !is_origin_form);
        path.map_or_else(|| request.raw_path(), |path| path.as_str().as_bytes())
    }

    /// The name of the host that it is for; `None` when it names none that can exist.
    pub(super) fn host(&self) -> Option<Cow<'_, str>> {
        match self.raw() {
            Some(raw) => host::normalized(std::str::from_utf8(raw.head.host?.of(&raw.bytes)).ok()?),
            None => host::of(self.header()),
        }
    }

    /// The host as it names it, with its port; and whether by `Host`.
    pub(super) fn authority(&self) -> (Option<&str>, bool) {
        if let Some(raw) = self.raw() {
            let host = raw.head.host.and_then(|host| std::str::from_utf8(host.of(&raw.bytes)).ok());
            return (host, host.is_some());
        }
        let request = self.header();
        match request.headers.get(header::HOST) {
            Some(host) => (host.to_str().ok(), true),
            None => (request.uri.authority().map(http::uri::Authority::as_str), false),
        }
    }

    /// The values of a field, which the parser of a head as it came has told if there is one.
    fn values(&self, told: impl Fn(&Head) -> Option<Span>, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        let raw = self.raw().and_then(|raw| Some(told(&raw.head)?.of(&raw.bytes)));
        let values = self.map().into_iter().flat_map(move |map| map.headers.get_all(&name));
        raw.into_iter().chain(values.map(HeaderValue::as_bytes))
    }

    /// The fields that `Connection` names (RFC 9110 section 7.6.1).
    pub(super) fn named_by_connection(&self) -> impl Iterator<Item = &[u8]> {
        self.values(|head| head.connection, header::CONNECTION).flat_map(named)
    }

    /// The values of `traceparent`.
    pub(super) fn traceparents(&self) -> impl Iterator<Item = &[u8]> {
        self.values(|head| head.traceparent, trace::PARENT)
    }

    /// Whether the visitor holds a body back until it is asked for (RFC 9110 section 10.1.1), which HTTP/1.0 does not
    /// know.
    pub(super) fn expects(&self) -> bool {
        let expects = match self.raw() {
            Some(raw) => raw.head.expects,
            None => self.header().headers.contains_key(header::EXPECT),
        };
        expects && self.version() != Version::HTTP_10
    }

    /// Whether the visitor says that trailer fields are not lost on it (RFC 9110 section 10.1.4).
    pub(super) fn takes_trailers(&self) -> bool {
        let raw = self.raw().and_then(|raw| Some(raw.head.te?.of(&raw.bytes)));
        let values = self.map().into_iter().flat_map(|map| map.headers.get_all(header::TE));
        let mut items = raw.into_iter().chain(values.map(HeaderValue::as_bytes)).flat_map(|v| v.split(|b| *b == b','));
        items.any(|item| item.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    }

    /// Whether `Accept` names this type.
    pub(super) fn accepts(&self, wanted: &[u8]) -> bool {
        self.values(|head| head.accept, header::ACCEPT).any(|accept| page::names_type(accept, wanted))
    }

    /// Whether it asks for all of an answer, without a condition, credentials, or a word to caches. Only of a request as
    /// it came this is known without a look at its fields.
    pub(super) fn is_plain(&self) -> bool {
        self.raw()
            .is_some_and(|raw| !raw.head.is_unusual && !raw.head.steers_caches && raw.head.if_none_match.is_none())
    }

    /// The values of a field in a request as it came.
    pub(super) fn came_with(&self, name: &HeaderName) -> Vec<&[u8]> {
        let fields = self.raw().into_iter().flat_map(|raw| raw.head.fields(&raw.bytes));
        let values = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name.as_str().as_bytes()));
        values.map(|(_, value)| value).collect()
    }

    /// Whether it has credentials.
    pub(super) fn authorizes(&self) -> bool {
        match self.raw() {
            Some(raw) => raw.head.authorizes,
            None => self.header().headers.contains_key(header::AUTHORIZATION),
        }
    }

    /// The values of `Accept-Encoding`.
    pub(super) fn accept_encoding(&self) -> impl Iterator<Item = &[u8]> {
        self.values(|head| head.accept_encoding, header::ACCEPT_ENCODING)
    }

    /// `User-Agent`, as it was sent.
    pub(super) fn user_agent(&self) -> &[u8] {
        self.values(|head| head.user_agent, header::USER_AGENT).next().unwrap_or_default()
    }

    /// All fields, in the spelling in which they came. Over HTTP/1 what the visitor claims may be among them.
    pub(super) fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        if let Some(raw) = self.raw() {
            return raw.head.fields(&raw.bytes).for_each(|(name, value)| put(name, value));
        }
        let all = self.header().map(|name, value| {
            match name {
                HeaderNameVariant::Case(name) => put(name.as_slice(), value.as_bytes()),
                HeaderNameVariant::Titled(name) => put(name.as_bytes(), value.as_bytes()),
            }
            Ok(())
        });
        // Nothing above fails.
        debug_assert!(all.is_ok());
    }
}

impl Raw {
    fn target(&self) -> &[u8] {
        self.head.address.of(&self.bytes)
    }

    fn to_map(&self) -> Box<RequestHeader> {
        let mut map = map(&self.head, &self.bytes).unwrap_or_else(|error| {
            // `read` lets only such heads stay as they came of which a map can be made.
            tracing::error!(%error, "a head can't be read again");
            RequestHeader::from(http::Request::new(()).into_parts().0)
        });
        if let Some((id, scheme)) = &self.introduced {
            visitor::replace_claims(&mut map, id, *scheme);
        }
        Box::new(map)
    }
}

fn map(head: &Head, bytes: &Bytes) -> Result<RequestHeader> {
    let mut request = RequestHeader::build(head.method_name.of(bytes), head.address.of(bytes), Some(FIELDS))?;
    request.set_version(version(head));
    for (name, value) in head.fields(bytes) {
        request.append_header(bytes.slice_ref(name), header_value_from_raw(bytes.slice_ref(value)))?;
    }
    Ok(request)
}

const fn version(head: &Head) -> Version {
    match head.version {
        wire::Version::Http11 => Version::HTTP_11,
        wire::Version::Http10 => Version::HTTP_10,
    }
}

/// Whether a target in origin form is one that every reader of URLs takes as it is (RFC 3986 section 3.3).
fn is_plain(target: &[u8]) -> bool {
    target.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~/%?=&+,;:@!$'()*".contains(b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use wire::{Limits, Parsed};

    use super::*;

    fn read(text: &str) -> Request<'static> {
        let Parsed::Complete(head) = wire::parse(text.as_bytes(), &Limits::default()) else { panic!("{text}") };
        Request::read(&head, Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn fields(request: &Request<'_>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        request.each_field(|name, value| all.push((text(name), text(value))));
        all
    }

    /// Both forms say the same, whichever of them a request has.
    #[test]
    fn a_request_is_the_same_as_bytes_and_as_a_map() {
        for text in [
            "GET /a/b?c=d HTTP/1.1\r\nHost: A.example:80\r\nAccept: text/html, text/event-stream;q=1\r\n\r\n",
            "HEAD / HTTP/1.0\r\nhost: a\r\nConnection: keep-alive, X-Own\r\nExpect: 100-continue\r\n\r\n",
            "POST /? HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTE: gzip, trailers\r\nUser-Agent: me\r\n\r\n",
            "PURGE /%20 HTTP/1.1\r\nHost: a\r\nauthorization: x\r\ntraceparent: y\r\nAccept-Encoding: br\r\n\r\n",
        ] {
            let raw = read(text);
            assert!(raw.raw().is_some(), "{text}");
            let map = Request::from(raw.header().clone());
            let all = |r: &Request<'_>| {
                let named: Vec<Vec<u8>> = r.named_by_connection().map(<[u8]>::to_vec).collect();
                let codings: Vec<Vec<u8>> = r.accept_encoding().map(<[u8]>::to_vec).collect();
                let texts = (r.method().clone(), r.path().to_owned(), r.target().to_vec(), r.user_agent().to_vec());
                let host = (r.host().map(Cow::into_owned), r.authority().0.map(str::to_owned), r.authority().1);
                let flags = (r.expects(), r.takes_trailers(), r.authorizes(), r.accepts(b"text/event-stream"));
                (
                    named,
                    codings,
                    texts,
                    host,
                    flags,
                    r.version(),
                    r.traceparents().map(<[u8]>::to_vec).collect::<Vec<_>>(),
                    fields(r),
                )
            };
            assert_eq!(all(&raw), all(&map), "{text}");
        }
    }

    #[test]
    fn what_is_unusual_becomes_a_map_at_once() {
        for text in [
            "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /{x} HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: a\r\nConnection: b\r\n\r\n",
        ] {
            assert!(read(text).map().is_some(), "{text}");
        }
        assert_eq!(read("GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n").target(), b"/x?y");
        assert_eq!(read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").target(), b"*");
    }

    #[test]
    fn a_map_that_is_made_late_has_the_edges_word_in_place_of_claims() {
        let mut request =
            read("GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: evil\r\nForwarded: for=6.6.6.6\r\nX: y\r\n\r\n");
        request.introduce(&HeaderValue::from_static("1"), Scheme::Https);
        let names: Vec<_> =
            request.header().headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        assert_eq!(names, ["host: a", "x: y", "x-request-id: 1", "x-forwarded-proto: https"]);
        request.header_mut().remove_header("x");
        assert!(!fields(&request).iter().any(|(name, _)| name == "X"));
    }
}
