//! A request's way through the cache.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::policy::CachePolicy;
use http::response::Parts;
use http::{HeaderMap, Method, StatusCode, header};

use crate::body::Body;
use crate::cache::{Cache, UNKEPT};
use crate::directives::Directives;
use crate::entry::{Entry, Place};
use crate::fetched::{FetchError, Fetched};
use crate::fill::{Fill, Reader, Settled};
use crate::flights::Joined;
use crate::fresh;
use crate::status::{Forward, Status};
use crate::store::Asked;
use crate::validate;

mod answer;
mod fetch;

/// Longest time in which a request waits for the head of another's answer, before it asks the app itself.
const HEAD_WAIT: Duration = Duration::from_secs(15);

/// How many heads a request waits for, when each turns out to be for other requests, before it asks the app itself.
const MAX_WAITS: u32 = 3;

/// A request.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The project whose app answers.
    pub project: &'a str,
    /// The deployment that answers: what another one answered is not used.
    pub deployment: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host in lower case, without port.
    pub host: &'a str,
    /// The port that the visitor named, when it is not the scheme's own: apps write it into addresses, so answers
    /// differ by it, though purges do not.
    pub port: Option<u16>,
    /// Path and query as they were sent.
    pub target: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// What the project's developer allows.
    pub policy: CachePolicy,
}

impl Ask<'_> {
    pub(crate) fn key(&self) -> String {
        key(self.deployment, self.scheme, self.port, &[self.host, self.target].concat())
    }
}

/// The key of an address: `dep_1 https://a.example/b?c`, with a port after the scheme as in `https:8443`.
pub(crate) fn key(deployment: &str, scheme: &str, port: Option<u16>, url: &str) -> String {
    match port {
        None => [deployment, " ", scheme, "://", url].concat(),
        Some(port) => format!("{deployment} {scheme}:{port}://{url}"),
    }
}

/// An answer for a visitor.
#[derive(Debug)]
pub struct Answer {
    /// Its head, with `Age` and `Cache-Status`.
    pub head: Parts,
    /// Its body; empty for HEAD and for answers without one.
    pub body: Body,
    /// What the cache did.
    pub status: Status,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// It is to be sent to the app as it is, and its answer is not kept.
    Pass(Forward),
    /// It wants nothing but what is kept, and that is nothing: 504 (RFC 9111 section 5.2.1.7).
    NotKept,
}

/// Whether a kept answer may be used.
pub(crate) enum Verdict {
    Use,
    /// Now, while it is validated behind the visitor's back.
    UseAndValidate,
    /// Only after it is validated.
    Validate(Forward),
}

pub(crate) fn judge(entry: &Entry, asked: &Directives, now: SystemTime) -> Verdict {
    let life = &entry.head.life;
    if asked.no_cache {
        return Verdict::Validate(Forward::Request);
    }
    if life.always_validates {
        return Verdict::Validate(Forward::Stale);
    }
    if asked.max_age.is_some_and(|most| life.age(now) > fresh::seconds(most)) {
        return Verdict::Validate(Forward::Request);
    }
    let Some(left) = life.left(now) else {
        let accepted = asked.max_stale.is_some_and(|most| life.staleness(now) <= fresh::seconds(most));
        return if accepted && life.may_be_stale {
            Verdict::Use
        } else if life.serves_while_revalidating(now) {
            Verdict::UseAndValidate
        } else {
            Verdict::Validate(Forward::Stale)
        };
    };
    if asked.min_fresh.is_some_and(|least| left < fresh::seconds(least)) {
        return Verdict::Validate(Forward::Request);
    }
    Verdict::Use
}

/// What is kept for a request.
enum Found {
    Fits(Arc<Place>, Arc<Entry>),
    /// Something, but for other requests.
    Others,
    Nothing,
}

impl Cache {
    /// Answers a request out of what is kept, or with what `fetch` brings from the app. `fetch` is given the
    /// fields to send, and is called at most once; what it returns runs to its end even when the visitor leaves,
    /// where the answer is to be kept.
    ///
    /// # Errors
    /// When the app gives no answer, and nothing that is kept may be used in its place.
    pub async fn handle<F, Fut>(&self, ask: &Ask<'_>, fetch: F) -> Result<Outcome, FetchError>
    where
        F: FnOnce(HeaderMap) -> Fut,
        Fut: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
    {
        let request = match Request::new(self, ask) {
            Ok(request) => request,
            Err(outcome) => return Ok(outcome),
        };
        let now = self.now();
        match request.find() {
            Found::Fits(place, entry) => {
                let hit = || Ok(Outcome::Answer(request.hit(&entry, now)));
                match judge(&entry, &request.directives, now) {
                    Verdict::Use => hit(),
                    Verdict::UseAndValidate => {
                        request.validate_behind(&place, &entry, fetch);
                        hit()
                    }
                    Verdict::Validate(why) => Box::pin(request.forward(Some(Arc::clone(&entry)), why, fetch)).await,
                }
            }
            Found::Others => Box::pin(request.forward(None, Forward::VaryMiss, fetch)).await,
            Found::Nothing => Box::pin(request.forward(None, Forward::UriMiss, fetch)).await,
        }
    }

    /// What [`handle`](Self::handle) would do at once, without the app and without waiting; `None` when it would
    /// need either.
    #[must_use]
    pub fn lookup(&self, ask: &Ask<'_>) -> Option<Outcome> {
        let request = match Request::new(self, ask) {
            Ok(request) => request,
            Err(outcome) => return Some(outcome),
        };
        let now = self.now();
        match request.find() {
            Found::Fits(_, entry) if matches!(judge(&entry, &request.directives, now), Verdict::Use) => {
                Some(Outcome::Answer(request.hit(&entry, now)))
            }
            Found::Fits(..) => None,
            Found::Others => request.without_entry(Forward::VaryMiss),
            Found::Nothing => request.without_entry(Forward::UriMiss),
        }
    }
}

/// A request with what is known of it.
struct Request<'a> {
    cache: &'a Cache,
    ask: &'a Ask<'a>,
    directives: Directives,
    asked: Asked,
    key: String,
}

impl<'a> Request<'a> {
    /// A request that may be answered from the cache, or what becomes of one that may not.
    #[allow(clippy::result_large_err)] // Both are returned once a request, and moved on at once.
    fn new(cache: &'a Cache, ask: &'a Ask<'a>) -> Result<Self, Outcome> {
        if *ask.method != Method::GET && *ask.method != Method::HEAD {
            return Err(Outcome::Pass(Forward::Method));
        }
        let directives = Directives::of(ask.headers);
        let asked = Asked::of(ask.headers, &directives);
        if asked.no_store {
            return Err(Outcome::Pass(Forward::Request));
        }
        if validate::asks_the_app(ask.headers) || (asked.has_authorization && !ask.policy.explicit_private) {
            return Err(Outcome::Pass(Forward::Bypass));
        }
        Ok(Self { cache, ask, directives, asked, key: ask.key() })
    }

    fn find(&self) -> Found {
        let Some(variants) = self.cache.inner.shelf.get(&self.key) else { return Found::Nothing };
        let fits = |entry: &&Arc<Entry>| {
            entry.head.selection.fits(self.ask.headers) && (entry.head.explicit || !self.asked.has_authorization)
        };
        match variants.entries.iter().find(fits) {
            Some(entry) => Found::Fits(Arc::clone(&variants.place), Arc::clone(entry)),
            None => Found::Others,
        }
    }

    /// What becomes at once of a request for which nothing is kept; `None` when its answer may be.
    fn without_entry(&self, why: Forward) -> Option<Outcome> {
        if self.directives.only_if_cached {
            return Some(Outcome::NotKept);
        }
        let is_part = self.ask.headers.contains_key(header::RANGE);
        let passes = *self.ask.method == Method::HEAD || is_part || self.is_unkept();
        passes.then_some(Outcome::Pass(why))
    }

    async fn forward<F, Fut>(&self, mut kept: Option<Arc<Entry>>, why: Forward, fetch: F) -> Result<Outcome, FetchError>
    where
        F: FnOnce(HeaderMap) -> Fut,
        Fut: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
    {
        let at_once = match &kept {
            None => self.without_entry(why),
            Some(_) if self.directives.only_if_cached => Some(Outcome::NotKept),
            Some(_) => (*self.ask.method == Method::HEAD).then_some(Outcome::Pass(why)),
        };
        if let Some(outcome) = at_once {
            return Ok(outcome);
        }
        let mut waits = MAX_WAITS;
        loop {
            // One answer serves all, but not those for whom each answer must be validated.
            let shares = why != Forward::Request && kept.as_ref().is_none_or(|entry| entry.head.is_reusable());
            let begin = || self.fill(kept.as_ref());
            let inner = &self.cache.inner;
            match inner.flights.join(&self.key, self.ask.headers, shares, waits > 0, begin) {
                Joined::Reads(streaming, reader) => {
                    return Ok(Outcome::Answer(self.answer_of_stream(&streaming, reader, why, true)));
                }
                Joined::Full => return Ok(Outcome::Pass(why)),
                Joined::Begun(fill, reader) => return self.lead(&fill, reader, kept, why, fetch).await,
                Joined::Waits(fill) => {
                    waits -= 1;
                    let Ok(_place) = inner.waiting.try_acquire() else { return Ok(Outcome::Pass(why)) };
                    let Ok(settled) = tokio::time::timeout(HEAD_WAIT, fill.wait()).await else {
                        return Ok(Outcome::Pass(why));
                    };
                    if let Some(outcome) = self.share(settled, kept.as_ref(), why) {
                        return outcome;
                    }
                }
            }
            // What was waited for may be kept by now.
            let now = self.cache.now();
            match self.find() {
                Found::Fits(_, entry) => {
                    if matches!(judge(&entry, &self.directives, now), Verdict::Use) {
                        let status = Status { collapsed: true, ..self.status(why, &entry, now) };
                        return Ok(Outcome::Answer(self.answer_of(&entry, status, now)));
                    }
                    kept = Some(entry);
                }
                Found::Others | Found::Nothing => kept = None,
            }
        }
    }

    /// Another request's answer for this one; `None` when it is to be looked for again.
    fn share(&self, settled: Settled, kept: Option<&Arc<Entry>>, why: Forward) -> Option<Result<Outcome, FetchError>> {
        let now = self.cache.now();
        match settled {
            Settled::Failed(error) => {
                Some(self.in_place_of_error(kept, false, why, now).map(Outcome::Answer).ok_or(error))
            }
            Settled::Streaming(streaming) => {
                if is_error(streaming.status)
                    && let Some(answer) = self.in_place_of_error(kept, true, why, now)
                {
                    return Some(Ok(Outcome::Answer(answer)));
                }
                // What is not kept, or never used without a validation, is nobody else's.
                let is_shared = streaming.kept.as_ref().is_some_and(|head| head.is_reusable());
                (!is_shared).then_some(Ok(Outcome::Pass(why)))
            }
            Settled::Validated { entry, .. } => {
                let usable = entry.head.selection.fits(self.ask.headers)
                    && matches!(judge(&entry, &self.directives, now), Verdict::Use);
                usable.then(|| {
                    let status = Status { collapsed: true, ..self.status(why, &entry, now) };
                    Ok(Outcome::Answer(self.answer_of(&entry, status, now)))
                })
            }
        }
    }

    /// Fetches, for itself and for all who join.
    async fn lead<F, Fut>(
        &self,
        fill: &Arc<Fill>,
        reader: Reader,
        kept: Option<Arc<Entry>>,
        why: Forward,
        fetch: F,
    ) -> Result<Outcome, FetchError>
    where
        F: FnOnce(HeaderMap) -> Fut,
        Fut: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
    {
        fetch::start(self.cache, fill, self.ask.policy, self.asked, fetch(self.fields(kept.as_ref())));
        let settled = fill.wait().await;
        let now = self.cache.now();
        Ok(Outcome::Answer(match settled {
            Settled::Failed(error) => self.in_place_of_error(kept.as_ref(), false, why, now).ok_or(error)?,
            Settled::Validated { entry, stored } => {
                let status = Status { forward_status: Some(304), stored, ..self.status(why, &entry, now) };
                self.answer_of(&entry, status, now)
            }
            Settled::Streaming(streaming) => {
                let stale = is_error(streaming.status).then(|| self.in_place_of_error(kept.as_ref(), true, why, now));
                match stale.flatten() {
                    Some(answer) => answer,
                    None => self.answer_of_stream(&streaming, reader, why, false),
                }
            }
        }))
    }

    /// Validates what is kept while the visitor already has it.
    fn validate_behind<F, Fut>(&self, place: &Arc<Place>, entry: &Arc<Entry>, fetch: F)
    where
        F: FnOnce(HeaderMap) -> Fut,
        Fut: Future<Output = Result<Fetched, FetchError>> + Send + 'static,
    {
        if let Some(fill) = self.cache.inner.flights.begin_alone(&place.key, || self.fill(Some(entry))) {
            fetch::start(self.cache, &fill, self.ask.policy, self.asked, fetch(self.fields(Some(entry))));
        }
    }

    fn fill(&self, kept: Option<&Arc<Entry>>) -> Fill {
        let place = Place { key: self.key.as_str().into(), project: self.ask.project.into() };
        let inner = &self.cache.inner;
        Fill::new(Arc::new(place), self.ask.headers.clone(), kept.cloned(), Arc::clone(&inner.held), inner.budget)
    }

    /// The fields of a request whose answer can be kept whole.
    fn fields(&self, kept: Option<&Arc<Entry>>) -> HeaderMap {
        let mut fields = self.ask.headers.clone();
        validate::prepare(&mut fields, kept.map(|entry| &entry.head.headers));
        fields.remove(header::RANGE);
        fields.remove(header::IF_RANGE);
        fields
    }

    fn is_unkept(&self) -> bool {
        let seen = self.cache.inner.unkept.get(self.key.as_str());
        seen.is_some_and(|seen| self.cache.now().duration_since(seen).is_ok_and(|since| since < UNKEPT))
    }

    /// What is kept, where it may stand for an error of the app or on the way to it.
    fn in_place_of_error(
        &self,
        kept: Option<&Arc<Entry>>,
        reached: bool,
        why: Forward,
        now: SystemTime,
    ) -> Option<Answer> {
        let entry = kept.filter(|e| e.head.life.serves_if_error(now, reached, self.directives.stale_if_error))?;
        Some(self.answer_of(entry, self.status(why, entry, now), now))
    }

    fn status(&self, why: Forward, entry: &Entry, now: SystemTime) -> Status {
        Status { ttl: Some(entry.head.life.ttl(now)), ..Status::forwarded(why) }
    }
}

/// The errors in whose place a kept answer may be used (RFC 5861 section 4).
pub(crate) const fn is_error(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}
