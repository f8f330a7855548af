//! Which answers may be kept (RFC 9111 section 3).

use std::time::SystemTime;

use common::policy::CachePolicy;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::directives::Directives;
use crate::fresh::{self, Life};
use crate::vary;

/// Names the tags by which an answer is purged: of this platform's making, and for its caches only.
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Most tags of one answer that count.
const MAX_TAGS: usize = 64;
/// Longest tag that counts, in bytes.
const MAX_TAG: usize = 128;

/// What of a request decides whether its answer may be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) has_authorization: bool,
    pub(crate) has_cookie: bool,
    pub(crate) no_store: bool,
}

impl Asked {
    pub(crate) fn of(request: &HeaderMap, directives: &Directives) -> Self {
        Self {
            has_authorization: request.contains_key(header::AUTHORIZATION),
            has_cookie: request.contains_key(header::COOKIE),
            no_store: directives.no_store,
        }
    }
}

/// Why an answer is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The next answer for the same address will most likely not be kept either.
    Address,
    /// Because of this one request or answer.
    Once,
}

/// How an answer is cached: by which directives, and for how long.
pub(crate) struct Terms {
    pub(crate) directives: Directives,
    pub(crate) life: Life,
    /// Whether it may answer requests with `Authorization` (RFC 9111 section 3.5).
    pub(crate) explicit: bool,
}

impl Terms {
    /// Those of an answer. The times are those of the request and of the answer.
    pub(crate) fn of(asked: Asked, status: StatusCode, headers: &HeaderMap, times: (SystemTime, SystemTime)) -> Self {
        let targeted = Directives::targeted(headers);
        let expires_counts = targeted.is_none();
        let directives = targeted.unwrap_or_else(|| Directives::of(headers));
        // A page made for one visitor mostly says nothing of caching: guesses are for pages made for all.
        let heuristic = !asked.has_cookie && !asked.has_authorization;
        let life = Life::of(status, headers, &directives, expires_counts, heuristic, times);
        let explicit = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
        Self { directives, life, explicit }
    }

    /// Whether an answer to a GET may be kept.
    pub(crate) fn may_store(
        &self,
        policy: CachePolicy,
        asked: Asked,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let said = &self.directives;
        let understood = is_understood(status);
        let forbids = if said.must_understand { !understood } else { said.no_store };
        let is_part = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        if is_part || asked.no_store {
            return Err(Refusal::Once);
        }
        if forbids || said.private || vary::is_any(headers) {
            return Err(Refusal::Address);
        }
        if asked.has_authorization && !(policy.explicit_private && self.explicit) {
            return Err(Refusal::Once);
        }
        if headers.contains_key(header::SET_COOKIE) && !self.shares_cookies(policy) {
            return Err(Refusal::Once);
        }
        let says = said.public || said.s_maxage.is_some() || said.max_age.is_some();
        let dated = headers.contains_key(header::EXPIRES);
        if !(says || dated || fresh::is_heuristically_cacheable(status)) {
            return Err(Refusal::Address);
        }
        let life = &self.life;
        let is_fresh = !life.always_validates && life.left(life.received).is_some();
        let has_validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
        let serves_stale = !life.always_validates && !(life.while_revalidate + life.if_error).is_zero();
        if is_fresh || has_validator || serves_stale { Ok(()) } else { Err(Refusal::Address) }
    }

    /// Whether `Set-Cookie` may be kept, and so be sent to others.
    pub(crate) fn shares_cookies(&self, policy: CachePolicy) -> bool {
        let said = &self.directives;
        policy.set_cookie || (policy.explicit_private && (said.public || said.s_maxage.is_some()))
    }
}

/// Statuses whose caching this cache knows (RFC 9111 section 5.2.2.3).
const fn is_understood(status: StatusCode) -> bool {
    fresh::is_heuristically_cacheable(status)
        || matches!(status.as_u16(), 201 | 202 | 302 | 303 | 307 | 400 | 401 | 403 | 451 | 500 | 502 | 503 | 504)
}

/// Takes from the fields of an answer what is not kept (RFC 9111 section 3.1): what belongs to one connection, and
/// what the directives name. `Cache-Tag` is not for visitors, and `Age` is told anew each time.
pub(crate) fn clean(headers: &mut HeaderMap, named: &[HeaderName]) {
    strip_hop_by_hop(headers);
    for name in named {
        headers.remove(name);
    }
    headers.remove(CACHE_TAG);
    headers.remove(header::AGE);
}

/// Takes away the fields that belong to one connection (RFC 9110 section 7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed = |value: &HeaderValue| {
        let names = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect::<Vec<_>>()
    };
    let named: Vec<HeaderName> = headers.get_all(header::CONNECTION).iter().flat_map(listed).collect();
    for name in &named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authentication-info"] {
        headers.remove(name);
    }
}

/// The tags of an answer.
pub(crate) fn tags(headers: &HeaderMap) -> Box<[Box<str>]> {
    let lines = headers.get_all(CACHE_TAG).iter().filter_map(|v| v.to_str().ok());
    let tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.filter(|tag| !tag.is_empty() && tag.len() <= MAX_TAG).take(MAX_TAGS).map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn decide(status: u16, fields: &[(&str, &str)], asked: Asked, policy: CachePolicy) -> Result<(), Refusal> {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_600_000);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        Terms::of(asked, status, &headers, (now, now)).may_store(policy, asked, status, &headers)
    }

    const LM: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn an_answer_is_kept_when_it_says_so_or_its_status_does() {
        use Refusal::{Address, Once};
        for (status, fields, expected) in [
            (200, &[("cache-control", "max-age=60")][..], Ok(())),
            (599, &[("cache-control", "max-age=60")], Ok(())),
            (200, &[("expires", "Sun, 06 Nov 2094 08:49:37 GMT")], Ok(())),
            (200, &[LM], Ok(())),
            (404, &[LM], Ok(())),
            (599, &[LM, ("cache-control", "public")], Ok(())),
            (599, &[LM], Err(Address)),
            (201, &[LM], Err(Address)),
            (200, &[], Err(Address)),
            (200, &[("cache-control", "max-age=0")], Err(Address)),
            (200, &[("cache-control", "max-age=0"), ("etag", "\"a\"")], Ok(())),
            (200, &[("cache-control", "no-cache")], Err(Address)),
            (200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], Ok(())),
            (200, &[("cache-control", "max-age=0, stale-while-revalidate=9")], Ok(())),
            (200, &[("cache-control", "max-age=60, no-store")], Err(Address)),
            (200, &[("cache-control", "max-age=60, no-store, must-understand")], Ok(())),
            (599, &[("cache-control", "max-age=60, no-store, must-understand")], Err(Address)),
            (200, &[("cache-control", "max-age=60, private")], Err(Address)),
            (200, &[("cache-control", "max-age=60, private=\"a\"")], Ok(())),
            (200, &[("cache-control", "no-store"), ("cdn-cache-control", "max-age=60")], Ok(())),
            (200, &[("cache-control", "max-age=60"), ("cdn-cache-control", "no-store")], Err(Address)),
            (200, &[("cache-control", "max-age=60"), ("vary", "a, *")], Err(Address)),
            (206, &[("cache-control", "max-age=60")], Err(Once)),
            (304, &[("cache-control", "max-age=60")], Err(Once)),
        ] {
            assert_eq!(
                decide(status, fields, Asked::default(), CachePolicy::default()),
                expected,
                "{status} {fields:?}"
            );
        }
    }

    #[test]
    fn what_may_be_personal_is_kept_only_when_told_so_twice() {
        let explicit = CachePolicy { explicit_private: true, ..CachePolicy::default() };
        let cookies = CachePolicy { set_cookie: true, ..CachePolicy::default() };
        let authorized = Asked { has_authorization: true, ..Asked::default() };
        let cookie = ("set-cookie", "a=b");
        for (cache_control, asked, extra, policy, kept) in [
            ("max-age=60", authorized, LM, explicit, false),
            ("max-age=60, public", authorized, LM, CachePolicy::default(), false),
            ("max-age=60, public", authorized, LM, explicit, true),
            ("s-maxage=60", authorized, LM, explicit, true),
            ("max-age=60, must-revalidate", authorized, LM, explicit, true),
            ("max-age=60", Asked::default(), cookie, CachePolicy::default(), false),
            ("max-age=60, public", Asked::default(), cookie, CachePolicy::default(), false),
            ("max-age=60", Asked::default(), cookie, explicit, false),
            ("max-age=60, must-revalidate", Asked::default(), cookie, explicit, false),
            ("max-age=60, public", Asked::default(), cookie, explicit, true),
            ("s-maxage=60", Asked::default(), cookie, explicit, true),
            ("max-age=60", Asked::default(), cookie, cookies, true),
        ] {
            let found = decide(200, &[("cache-control", cache_control), extra], asked, policy);
            assert_eq!(found.is_ok(), kept, "{cache_control} {asked:?} {extra:?} {policy:?}");
        }
        let with_cookie = Asked { has_cookie: true, ..Asked::default() };
        let now = UNIX_EPOCH + Duration::from_secs(1_795_600_000);
        let headers = HeaderMap::from_iter([(header::LAST_MODIFIED, LM.1.parse().unwrap())]);
        let life = Terms::of(with_cookie, StatusCode::OK, &headers, (now, now)).life;
        assert!(life.lifetime.is_zero(), "nothing is guessed for a visitor who is known");
    }

    #[test]
    fn fields_of_a_connection_are_not_kept() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "a, B"),
            ("a", "1"),
            ("b", "2"),
            ("c", "3"),
            ("cache-control", "max-age=1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("cache-tag", "x, y"),
            ("age", "5"),
            ("d", "4"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        assert_eq!(*tags(&headers), ["x".into(), "y".into()]);
        clean(&mut headers, &[HeaderName::from_static("d")]);
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["c", "cache-control"]);
    }
}
