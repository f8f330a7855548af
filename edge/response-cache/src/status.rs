//! `Cache-Status` (RFC 9211): what the cache did, for whoever looks at an answer.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The cache's name in it.
const NAME: &str = "AstroCloud";

/// Why a request went on to the app (RFC 9211 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// The cache was told to stand aside.
    Bypass,
    /// The method is not answered from a cache.
    Method,
    /// Nothing is kept for the address.
    UriMiss,
    /// Something is kept for the address, but for other requests.
    VaryMiss,
    /// The request itself asks for it.
    Request,
    /// What is kept is stale.
    Stale,
}

impl Forward {
    const fn name(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Request => "request",
            Self::Stale => "stale",
        }
    }
}

/// What the cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Why the app was asked; `None` is a hit.
    pub forward: Option<Forward>,
    /// What the app answered, when the visitor got another status.
    pub forward_status: Option<u16>,
    /// Whether the answer is kept.
    pub stored: bool,
    /// Whether another request's answer was waited for.
    pub collapsed: bool,
    /// Seconds for which what is kept is fresh yet; negative when it is stale.
    pub ttl: Option<i64>,
}

impl Status {
    /// An answer out of the cache.
    #[must_use]
    pub const fn hit(ttl: i64) -> Self {
        Self { forward: None, forward_status: None, stored: false, collapsed: false, ttl: Some(ttl) }
    }

    /// An answer of the app.
    #[must_use]
    pub const fn forwarded(why: Forward) -> Self {
        Self { forward: Some(why), forward_status: None, stored: false, collapsed: false, ttl: None }
    }

    /// The field's value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let mut text = String::from(NAME);
        // Writing to a string never fails.
        let _ = match self.forward {
            None => write!(text, "; hit"),
            Some(why) => write!(text, "; fwd={}", why.name()),
        };
        if let Some(status) = self.forward_status {
            let _ = write!(text, "; fwd-status={status}");
        }
        if let Some(ttl) = self.ttl {
            let _ = write!(text, "; ttl={ttl}");
        }
        if self.stored {
            text.push_str("; stored");
        }
        if self.collapsed {
            text.push_str("; collapsed");
        }
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(NAME))
    }

    /// Adds it to an answer, after those of caches nearer to the app.
    pub fn add_to(&self, headers: &mut HeaderMap) {
        headers.append(CACHE_STATUS, self.value());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_cache_did() {
        let miss = Status { stored: true, ttl: Some(60), ..Status::forwarded(Forward::UriMiss) };
        let revalidated = Status { forward_status: Some(304), collapsed: true, ..Status::forwarded(Forward::Stale) };
        for (status, text) in [
            (Status::hit(376), "AstroCloud; hit; ttl=376"),
            (Status::hit(-5), "AstroCloud; hit; ttl=-5"),
            (miss, "AstroCloud; fwd=uri-miss; ttl=60; stored"),
            (revalidated, "AstroCloud; fwd=stale; fwd-status=304; collapsed"),
        ] {
            assert_eq!(status.value(), text);
            let parsed: Result<sfv::List, _> = sfv::Parser::new(text).parse();
            assert!(parsed.is_ok(), "{text}");
        }
    }
}
