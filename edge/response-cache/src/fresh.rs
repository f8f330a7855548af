//! For how long an answer is fresh, and how old it is (RFC 9111 section 4.2).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::date;
use crate::directives::{Directives, delta};

/// Part of the time since an answer last changed for which it is taken to be fresh when it does not say: a tenth
/// (RFC 9111 section 4.2.2).
const HEURISTIC_PART: u32 = 10;
/// Longest time for which an answer is taken to be fresh when it does not say: who asks for an old page sees its
/// change a day later at most.
const HEURISTIC_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest time that is counted; larger ones are this one (RFC 9111 section 1.2.2).
const LONGEST: Duration = Duration::from_secs(1 << 31);
/// For how long an answer that says nothing of it is used beyond its time when its app can't be reached
/// (RFC 9111 section 4.2.4): long enough to mend an app, short enough that nobody reads last week's news.
pub(crate) const UNREACHABLE_GRACE: Duration = Duration::from_secs(60 * 60);

/// How an answer ages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// How old it was when it came, its way included.
    initial_age: Duration,
    /// When it came.
    pub(crate) received: SystemTime,
    /// For how long it is fresh.
    pub(crate) lifetime: Duration,
    /// Whether every use needs a validation.
    pub(crate) always_validates: bool,
    /// Beyond its lifetime, for how long it may be used while it is validated (RFC 5861 section 3).
    pub(crate) while_revalidate: Duration,
    /// Beyond its lifetime, for how long it may be used when the app answers with an error (RFC 5861 section 4).
    pub(crate) if_error: Duration,
    /// Whether it may be used stale when nothing says so: not with `must-revalidate`, `proxy-revalidate`,
    /// `s-maxage` or `no-cache` (RFC 9111 section 4.2.4).
    pub(crate) may_be_stale: bool,
}

impl Life {
    /// That of an answer asked for at `asked` which came at `received`. Without `heuristic`, one that does not
    /// say for how long it is fresh is stale.
    pub(crate) fn of(
        status: StatusCode,
        headers: &HeaderMap,
        directives: &Directives,
        expires_counts: bool,
        heuristic: bool,
        (asked, received): (SystemTime, SystemTime),
    ) -> Self {
        let since = |earlier: SystemTime| received.duration_since(earlier).unwrap_or_default();
        let date = headers.get(header::DATE).and_then(|d| date::parse(d.as_bytes(), received));
        let apparent_age = date.map(since).unwrap_or_default();
        let corrected_age = age(headers) + since(asked);
        let expires = || expires_counts.then(|| expires(headers, date.unwrap_or(received), received)).flatten();
        let heuristic = || {
            let may = heuristic && (is_heuristically_cacheable(status) || directives.public);
            let changed = headers.get(header::LAST_MODIFIED).filter(|_| may)?;
            let changed = date::parse(changed.as_bytes(), received)?;
            let unchanged = date.unwrap_or(received).duration_since(changed).ok()?;
            Some((unchanged / HEURISTIC_PART).min(HEURISTIC_MAX))
        };
        let said = directives.s_maxage.or(directives.max_age).map(seconds);
        let no_cache = directives.no_cache;
        Self {
            initial_age: apparent_age.max(corrected_age).min(LONGEST),
            received,
            lifetime: said.or_else(expires).or_else(heuristic).unwrap_or_default(),
            always_validates: no_cache,
            while_revalidate: directives.stale_while_revalidate.map(seconds).unwrap_or_default(),
            if_error: directives.stale_if_error.map(seconds).unwrap_or_default(),
            may_be_stale: !(no_cache
                || directives.must_revalidate
                || directives.proxy_revalidate
                || directives.s_maxage.is_some()),
        }
    }

    /// How old it is.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        (self.initial_age + now.duration_since(self.received).unwrap_or_default()).min(LONGEST)
    }

    /// For how long it is fresh yet; `None` when it is stale.
    pub(crate) fn left(&self, now: SystemTime) -> Option<Duration> {
        self.lifetime.checked_sub(self.age(now)).filter(|left| !left.is_zero())
    }

    /// For how long it has been stale.
    pub(crate) fn staleness(&self, now: SystemTime) -> Duration {
        self.age(now).saturating_sub(self.lifetime)
    }

    /// Seconds until it is stale, negative when it is (RFC 9211 section 2.4).
    pub(crate) fn ttl(&self, now: SystemTime) -> i64 {
        let whole = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
        whole(self.lifetime) - whole(self.age(now))
    }

    /// Whether it may be used while it is validated behind the visitor's back.
    pub(crate) fn serves_while_revalidating(&self, now: SystemTime) -> bool {
        !self.always_validates && self.staleness(now) < self.while_revalidate
    }

    /// Whether it may be used in place of an error, of the app (`reached`) or on the way to it; `asked` is what
    /// the request's own `stale-if-error` allows.
    pub(crate) fn serves_if_error(&self, now: SystemTime, reached: bool, asked: Option<u64>) -> bool {
        if self.always_validates {
            return false;
        }
        let implied = if reached || !self.may_be_stale { Duration::ZERO } else { UNREACHABLE_GRACE };
        let asked = asked.filter(|_| self.may_be_stale).map(seconds).unwrap_or_default();
        self.staleness(now) < self.if_error.max(implied).max(asked)
    }
}

pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count).min(LONGEST)
}

/// `Age`, zero when it is none. Of several, the first counts (RFC 9111 section 5.1).
fn age(headers: &HeaderMap) -> Duration {
    let first = headers.get(header::AGE).map(HeaderValue::as_bytes).unwrap_or_default().split(|b| *b == b',').next();
    first.map(<[u8]>::trim_ascii).and_then(delta).map(seconds).unwrap_or_default()
}

/// For how long an answer is fresh by `Expires`; a date that is none means that it is stale (RFC 9111 section 5.3).
fn expires(headers: &HeaderMap, date: SystemTime, now: SystemTime) -> Option<Duration> {
    let value = headers.get(header::EXPIRES)?;
    let expires = date::parse(value.as_bytes(), now);
    Some(expires.and_then(|e| e.duration_since(date).ok()).unwrap_or_default().min(LONGEST))
}

/// Statuses whose answers may be kept though nothing says for how long (RFC 9110 section 15.1), but those of parts.
pub(crate) const fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::HeaderName;
    use std::time::UNIX_EPOCH;

    const NOW: u64 = 1_795_600_000;

    fn at(offset: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW.checked_add_signed(offset).unwrap())
    }

    /// Fields as `Name: value`; a date is an offset in seconds from now.
    fn life(fields: &str) -> Life {
        let mut headers = HeaderMap::new();
        for line in fields.split('\n').filter(|l| !l.is_empty()) {
            let (name, value) = line.split_once(": ").unwrap();
            let value = match value.strip_prefix('@') {
                Some(offset) => httpdate::fmt_http_date(at(offset.parse().unwrap())),
                None => value.to_owned(),
            };
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let targeted = Directives::targeted(&headers);
        let expires_counts = targeted.is_none();
        let directives = targeted.unwrap_or_else(|| Directives::of(&headers));
        Life::of(StatusCode::OK, &headers, &directives, expires_counts, true, (at(0), at(0)))
    }

    #[test]
    fn an_answer_is_fresh_for_as_long_as_it_says() {
        for (fields, lifetime) in [
            ("Cache-Control: max-age=60", 60),
            ("Cache-Control: max-age=60, s-maxage=5", 5),
            ("Cache-Control: max-age=60\nExpires: @-10", 60),
            ("Cache-Control: max-age=0\nExpires: @100", 0),
            ("Cache-Control: max-age=-5\nExpires: @100", 0),
            ("Expires: @100\nDate: @40", 60),
            ("Expires: @100\nDate: foo", 100),
            ("Expires: @40\nDate: @100", 0),
            ("Expires: 0", 0),
            ("Expires: @100", 100),
            ("Last-Modified: @-600\nDate: @0", 60),
            ("Last-Modified: @-100000000\nDate: @0", 86_400),
            ("Last-Modified: @600", 0),
            ("", 0),
            ("CDN-Cache-Control: max-age=9\nCache-Control: max-age=60\nExpires: @100", 9),
            ("CDN-Cache-Control: foo\nCache-Control: max-age=60\nExpires: @100", 0),
            ("CDN-Cache-Control: &&\nCache-Control: max-age=60", 60),
            ("Cache-Control: max-age=99999999999", 1 << 31),
        ] {
            assert_eq!(life(fields).lifetime, Duration::from_secs(lifetime), "{fields}");
        }
    }

    #[test]
    fn an_answer_is_as_old_as_its_way_was_long() {
        for (fields, age) in [
            ("Age: 30", 30),
            ("Age: 30, 0", 30),
            ("Age: 0\nAge: 30", 0),
            ("Age: abc", 0),
            ("Age: -5", 0),
            ("Age: 7200.0", 0),
            ("Age: 7200;foo=bar", 0),
            ("Age: 99999999999999999999", 1 << 31),
            ("Date: @-20", 20),
            ("Date: @20\nAge: 5", 5),
            ("Date: @-20\nAge: 30", 30),
            ("Date: foo", 0),
        ] {
            let life = life(fields);
            assert_eq!(life.age(at(0)), Duration::from_secs(age), "{fields}");
            assert_eq!(life.age(at(100)), Duration::from_secs(age + 100).min(LONGEST), "{fields}");
        }
    }

    #[test]
    fn staleness_is_allowed_explicitly_or_while_the_app_is_out_of_reach() {
        // (fields, seconds after its lifetime, while revalidating, error of the app, app out of reach)
        for (fields, late, revalidating, error, unreachable) in [
            ("Cache-Control: max-age=10", 5, false, false, true),
            ("Cache-Control: max-age=10", 3600, false, false, false),
            ("Cache-Control: max-age=10, must-revalidate", 5, false, false, false),
            ("Cache-Control: max-age=10, proxy-revalidate", 5, false, false, false),
            ("Cache-Control: s-maxage=10", 5, false, false, false),
            ("Cache-Control: max-age=10, no-cache", 5, false, false, false),
            ("Cache-Control: max-age=10, stale-while-revalidate=6", 5, true, false, true),
            ("Cache-Control: max-age=10, stale-while-revalidate=5", 5, false, false, true),
            ("Cache-Control: s-maxage=10, stale-while-revalidate=6", 5, true, false, false),
            ("Cache-Control: max-age=10, stale-if-error=6", 5, false, true, true),
            ("Cache-Control: max-age=10, must-revalidate, stale-if-error=6", 5, false, true, true),
            ("Cache-Control: no-cache, stale-if-error=6, stale-while-revalidate=6", 5, false, false, false),
        ] {
            let life = life(fields);
            let now = at(10 + late);
            assert_eq!(life.left(now), None, "{fields}");
            assert_eq!(life.serves_while_revalidating(now), revalidating, "{fields}");
            assert_eq!(life.serves_if_error(now, true, None), error, "{fields}");
            assert_eq!(life.serves_if_error(now, false, None), unreachable, "{fields}");
        }
        assert!(life("Cache-Control: max-age=10").serves_if_error(at(15), true, Some(60)));
        assert!(!life("Cache-Control: s-maxage=10").serves_if_error(at(15), true, Some(60)));
    }
}
