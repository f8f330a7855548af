//! The quick way for hot files: a request over HTTP/1 is answered with bytes that are ready.
//!
//! In: a request's head. Out: an answer, built once by the code that answers all requests for files, or the word that
//! the request takes the ordinary way: because it needs a decision of its own, because its answer may not be kept, or
//! because it may be refused, as the edge has too much to do.
//!
//! What is ready is kept under the deployment and everything else of a route that an answer depends on. So hosts with the
//! same site share its answers, and a new deployment, as every other change of a route, is seen by the next request.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use common::id::DeploymentId;
use common::route::{Route, Target};
use foldhash::fast::RandomState;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use ipnet::IpNet;
use quick_cache::sync::{Cache as Shelf, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};
use tokio::time::Instant;
use wire::{Framing, Head};

use crate::cache::{Cache, FilePart};
use crate::proxy::{Watch, visitor};
use crate::request_id::RequestId;
use crate::routes::{Entry, Routes};
use crate::site::{self, Accepted, Answer, Body, Facts, Form, names_tag};
use crate::transport::{Arrival, Peer};
use crate::{answer, host};

pub(crate) mod date;
mod http2;
mod ready;
mod report;

use ready::{LARGE, Ready};

/// Memory for heads that are ready, in bytes: those of some ten thousand files. Their bodies are in the cache of
/// files, or are kept a little longer than there.
const MEMORY: u64 = 64 << 20;
/// Memory that an answer of usual size takes, in bytes: so many answers room is prepared for.
const USUAL: usize = 4 << 10;
/// Parts with locks of their own, so that requests on several cores rarely meet.
const PARTS: usize = 16;
/// Memory that an entry takes beside its bytes, roughly.
const ENTRY_OVERHEAD: usize = 256;
/// Longest path that is looked for, in bytes: files that are asked for often have shorter ones.
const MAX_PATH: usize = 256 - KEY_HEAD;
/// Bytes of a key before the path: see [`Key::new`].
const KEY_HEAD: usize = DeploymentId::LEN + 7;

/// Answers that are ready.
pub(crate) struct Lane {
    routes: Arc<Routes>,
    cache: Cache,
    kept: Shelf<Box<[u8]>, Kept, ByMemory, RandomState>,
    watch: Watch,
    /// Proxies that speak for their visitors, who are found elsewhere.
    trusted: Vec<IpNet>,
}

#[derive(Clone)]
enum Kept {
    Ready(Arc<Ready>),
    /// What can't be ready: it depends on more than is looked at, or is too large to be kept.
    Never,
}

/// What an answer takes of the memory.
#[derive(Clone)]
struct ByMemory;

impl Weighter<Box<[u8]>, Kept> for ByMemory {
    fn weight(&self, key: &Box<[u8]>, kept: &Kept) -> u64 {
        let of_answer = match kept {
            Kept::Ready(ready) => ready.memory(),
            Kept::Never => 0,
        };
        (ENTRY_OVERHEAD + key.len() + of_answer) as u64
    }
}

fn shelf() -> Shelf<Box<[u8]>, Kept, ByMemory, RandomState> {
    let items = usize::try_from(MEMORY).unwrap_or(usize::MAX) / USUAL;
    let (hasher, lifecycle) = (RandomState::default(), DefaultLifecycle::default());
    let options = OptionsBuilder::new().shards(PARTS).estimated_items_capacity(items).weight_capacity(MEMORY).build();
    match options {
        Ok(options) => Shelf::with_options(options, ByMemory, hasher, lifecycle),
        // Only a missing capacity is refused.
        Err(_) => Shelf::with(items, MEMORY, ByMemory, hasher, lifecycle),
    }
}

/// What was found for a request.
pub(crate) enum Found {
    /// Its answer.
    Ready(Hit),
    /// None yet. When the ordinary way leads to a file, [`Lane::fill`] makes one of it.
    Missing(Box<Missing>),
    /// It takes the ordinary way, to this route where it was looked for.
    Elsewhere(Option<Arc<Entry>>),
}

/// What an answer depends on.
struct Asked<'a> {
    host: &'a str,
    path: &'a [u8],
    accept: Option<&'a [u8]>,
    if_none_match: Option<&'a [u8]>,
    is_head: bool,
}

/// An answer to one request.
pub(crate) struct Hit {
    /// Whose host was asked for.
    entry: Arc<Entry>,
    ready: Arc<Ready>,
    is_unchanged: bool,
    id: RequestId,
    /// The answer's date.
    at: SystemTime,
}

/// An answer that is not ready yet.
pub(crate) struct Missing {
    entry: Arc<Entry>,
    key: Key,
    /// `Accept-Encoding`.
    accepted: Option<HeaderValue>,
    is_head: bool,
    /// Whether it is asked for over TLS.
    secure: bool,
}

/// What the answer depends on, path last.
struct Key {
    bytes: [u8; KEY_HEAD + MAX_PATH],
    len: usize,
}

impl Key {
    fn new(entry: &Entry, kind: u8, path: &[u8]) -> Self {
        let mut bytes = [0; KEY_HEAD + MAX_PATH];
        let len = KEY_HEAD + path.len();
        // Whatever of a route is looked at by `site::answer` for an answer that is constant: its deployment, whether
        // search engines are kept out, how pages are spelled, and HSTS.
        let Route { deployment, production, policy, .. } = &entry.route;
        let (id, rest) = bytes.split_at_mut(DeploymentId::LEN);
        id.copy_from_slice(deployment.as_bytes());
        rest[0] = kind;
        rest[1] = u8::from(*production) | (policy.trailing_slash as u8) << 1;
        if let Some(hsts) = policy.https.hsts {
            rest[2] = 1 | u8::from(hsts.include_subdomains) << 1 | u8::from(hsts.preload) << 2;
            rest[3..7].copy_from_slice(&hsts.max_age_s.to_ne_bytes());
        }
        bytes[KEY_HEAD..len].copy_from_slice(path);
        Self { bytes, len }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn path(&self) -> &[u8] {
        &self.bytes[KEY_HEAD..self.len]
    }
}

impl Lane {
    pub(crate) fn new(routes: Arc<Routes>, cache: Cache, watch: Watch, trusted: Vec<IpNet>) -> Self {
        let kept = shelf();
        Self { routes, cache, kept, watch, trusted }
    }

    /// Looks for an answer; `bytes` begin with the head.
    pub(crate) fn find(&self, head: &Head, bytes: &[u8], arrival: Arrival<'_>) -> Found {
        let Some(path) = usual_path(head, bytes) else { return Found::Elsewhere(None) };
        let is_cookie = |name: &[u8]| name.eq_ignore_ascii_case(header::COOKIE.as_str().as_bytes());
        if !self.takes(arrival, || head.fields(bytes).any(|(name, _)| is_cookie(name))) {
            return Found::Elsewhere(None);
        }
        let Some(host) = head.host.and_then(|h| std::str::from_utf8(h.of(bytes)).ok()).and_then(host::normalized)
        else {
            return Found::Elsewhere(None);
        };
        let accept = head.accept_encoding.map(|a| a.of(bytes));
        let if_none_match = head.if_none_match.map(|list| list.of(bytes));
        let is_head = head.method == wire::Method::Head;
        self.look(&Asked { host: &host, path, accept, if_none_match, is_head }, arrival.peer)
    }

    /// Looks for an answer to a request over HTTP/2 that has no body.
    pub(crate) fn find_h2(&self, head: &Parts, arrival: Arrival<'_>) -> Found {
        match http2::read(head).filter(|_| self.takes(arrival, || head.headers.contains_key(header::COOKIE))) {
            Some(asked) => self.look(&asked.as_asked(), arrival.peer),
            None => Found::Elsewhere(None),
        }
    }

    /// Whether this visitor's requests may be answered here: nobody else's name is given, and none of them is refused
    /// because the edge has too much to do. `is_known` is asked for only when some are.
    fn takes(&self, arrival: Arrival<'_>, is_known: impl FnOnce() -> bool) -> bool {
        let overload = self.watch.guard.overload();
        let is_spared = !overload.is_shedding() || overload.spares(is_known(), arrival.is_new());
        is_spared && !visitor::is_trusted(&self.trusted, arrival.peer.address.ip().to_canonical())
    }

    fn look(&self, asked: &Asked<'_>, peer: &Peer) -> Found {
        let Asked { host, path, accept, if_none_match, is_head } = *asked;
        let table = self.routes.now();
        let Some(entry) = table.find(host) else { return Found::Elsewhere(None) };
        if !serves(&entry, host, peer) {
            return Found::Elsewhere(Some(entry.into_owned()));
        }
        let entry: &Arc<Entry> = &entry;
        let accepted = Accepted::of_values(accept);
        let secure = peer.tls.is_some();
        let kind = accepted.class() | u8::from(is_head) << 4 | u8::from(secure) << 5;
        let key = Key::new(entry, kind, path);
        match self.kept.get(key.as_bytes()) {
            Some(Kept::Ready(ready)) => hit(entry, ready, if_none_match),
            Some(Kept::Never) => Found::Elsewhere(None),
            None => {
                let accepted = accept.and_then(|a| HeaderValue::from_bytes(a).ok());
                Found::Missing(Box::new(Missing { entry: Arc::clone(entry), key, accepted, is_head, secure }))
            }
        }
    }

    /// Builds an answer that was missing, and keeps it for the next request, unless it may not be kept. Called once the
    /// ordinary way has led to a file, so that nothing is loaded here that is not in memory.
    pub(crate) async fn fill(&self, missing: Missing) {
        let Missing { entry, key, accepted, is_head, secure } = missing;
        let mut headers = HeaderMap::new();
        if let Some(accepted) = accepted {
            headers.insert(header::ACCEPT_ENCODING, accepted);
        }
        let method = if is_head { Method::HEAD } else { Method::GET };
        let facts = Facts {
            method: &method,
            path: key.path(),
            query: None,
            headers: &headers,
            secure,
            country: None,
            protected: false,
        };
        let Some(answer) = self.answer(&entry, &facts).await else { return };
        let (body, form) = match answer {
            Answer { constant: true, body: Body::Empty, .. } => (Some(Bytes::new()), None),
            Answer { constant: true, body: Body::Whole(ref bytes, form), .. } => (Some(bytes.clone()), Some(form)),
            _ => (None, None),
        };
        let kept = match body {
            None => Kept::Never,
            Some(body) => {
                let unchanged = self.unchanged(&entry, &answer.head.headers, headers.clone(), key.path(), secure).await;
                // Within TLS each byte is changed.
                let form = form.filter(|_| body.len() >= LARGE && !secure);
                let file = match form {
                    Some(form) => self.file(&entry, form, body.len()).await,
                    None => None,
                };
                Kept::Ready(Arc::new(Ready::new(&answer.head, body, file, unchanged.as_ref())))
            }
        };
        self.kept.insert(key.as_bytes().into(), kept);
    }

    /// A body as the system can send it by itself.
    async fn file(&self, entry: &Entry, form: Form, len: usize) -> Option<FilePart> {
        let file = self.cache.file(&entry.route.project, form, len as u64).await;
        file.unwrap_or_else(|error| {
            // It is in memory, and copied from there.
            tracing::warn!(host = &*entry.route.host, %error, "a file can't be opened to be sent as it is");
            None
        })
    }

    /// What the ordinary way answers.
    async fn answer(&self, entry: &Entry, facts: &Facts<'_>) -> Option<Answer> {
        let mut answer = site::answer(entry, facts, &self.cache).await.ok()?;
        if !facts.secure {
            answer::plain(&mut answer.head.headers);
        }
        Some(answer)
    }

    /// Tells of what was sent as a request and is none.
    pub(crate) fn report_refused(&self, status: u16, peer: &Peer) {
        report::refused(&self.watch.observer, status, peer);
    }

    /// The head for visitors who have the file already.
    async fn unchanged(
        &self,
        entry: &Entry,
        fields: &HeaderMap,
        mut headers: HeaderMap,
        path: &[u8],
        secure: bool,
    ) -> Option<http::response::Parts> {
        headers.insert(header::IF_NONE_MATCH, fields.get(header::ETAG)?.clone());
        let facts = Facts {
            method: &Method::GET,
            path,
            query: None,
            headers: &headers,
            secure,
            country: None,
            protected: false,
        };
        let answer = self.answer(entry, &facts).await?;
        (answer.head.status == StatusCode::NOT_MODIFIED).then_some(answer.head)
    }
}

/// The path of a request that is like most, and whose answer depends on no other part of it than what is looked at.
fn usual_path<'a>(head: &Head, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let is_usual = head.method != wire::Method::Other
        && head.framing == Framing::None
        && head.target == wire::Target::Origin
        && !head.is_unusual
        && !head.expects
        && !head.upgrades;
    let path = head.address.of(bytes);
    (is_usual && is_usual_path(path)).then_some(path)
}

fn is_usual_path(path: &[u8]) -> bool {
    // Proofs of control come before everything else below this path.
    path.len() <= MAX_PATH && !path.contains(&b'?') && !path.starts_with(b"/.well-known/")
}

/// Whether this route's files may be served here without a further look at the request.
fn serves(entry: &Entry, host: &str, peer: &Peer) -> bool {
    let fits = match &peer.tls {
        None => !entry.route.policy.https.redirect,
        // Whether the certificate is for another name too is decided elsewhere.
        Some(tls) => tls.server_name.as_deref() == Some(host),
    };
    fits && entry.is_plain() && matches!(entry.route.target, Target::Static { .. })
}

fn hit(entry: &Arc<Entry>, ready: Arc<Ready>, if_none_match: Option<&[u8]>) -> Found {
    let is_unchanged = match (if_none_match, ready.tag()) {
        (None, _) => false,
        (Some(list), Some(tag)) => names_tag(list, tag),
        (Some(_), None) => return Found::Elsewhere(None),
    };
    let at = SystemTime::now();
    Found::Ready(Hit { entry: Arc::clone(entry), ready, is_unchanged, id: RequestId::at(at), at })
}

impl Hit {
    /// Appends the answer's head.
    pub(crate) fn write_head(&self, to: &mut BytesMut, request: &Head, keeps: bool) {
        self.ready.write_head(to, request, keeps, self);
    }

    /// The answer's body, if it has one.
    pub(crate) fn body(&self) -> Option<&Bytes> {
        (!self.is_unchanged).then_some(&self.ready.body)
    }

    /// The same as a file, where it is large and the system can send it without waiting for a disk.
    pub(crate) fn file(&self) -> Option<FilePart> {
        self.ready.file(self.at)
    }

    /// The answer over HTTP/2, and its body.
    pub(crate) fn response(&self) -> (Response<()>, Bytes) {
        let body = if self.is_unchanged { Bytes::new() } else { self.ready.body.clone() };
        (self.ready.response(self), body)
    }

    /// Tells of the request, which came at `since`.
    pub(crate) fn report(&self, lane: &Lane, head: &Head, bytes: &[u8], peer: &Peer, since: Instant) {
        report::report(&lane.watch.observer, &self.answered(peer, since), head, bytes);
    }

    /// The same over HTTP/2.
    pub(crate) fn report_h2(&self, lane: &Lane, head: &Parts, peer: &Peer, since: Instant) {
        report::report_h2(&lane.watch.observer, &self.answered(peer, since), head);
    }

    fn answered<'a>(&'a self, peer: &'a Peer, since: Instant) -> report::Answered<'a> {
        let (status, sent) = match self.is_unchanged {
            true => (StatusCode::NOT_MODIFIED.as_u16(), 0),
            false => (self.ready.status, self.ready.body.len()),
        };
        report::Answered { entry: &self.entry, id: &self.id, peer, status, sent, since }
    }
}
