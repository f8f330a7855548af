//! The usual hit: a request that asks for what is kept, whole and without a condition, and gets it without a copy of its
//! fields.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::body::Body;
use crate::cache::Cache;
use crate::directives::Directives;
use crate::entry::Entry;
use crate::handle::{Verdict, judge, key};
use crate::status::Status;

/// A GET or HEAD that says nothing to caches: no `Cache-Control`, no condition, no range and no credentials.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a> {
    /// The deployment that answers.
    pub deployment: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host in lower case, without port.
    pub host: &'a str,
    /// The port that the visitor named, when it is not the scheme's own.
    pub port: Option<u16>,
    /// Path and query as they were sent.
    pub target: &'a str,
}

/// A kept answer.
#[derive(Debug)]
pub struct Hit {
    entry: Arc<Entry>,
    age: u64,
    status: Status,
}

impl Cache {
    /// What is kept for a request, if it may be used without a validation: the same as of [`Cache::lookup`]. `values`
    /// gives those of the request's fields of a name.
    #[must_use]
    pub fn hit<'v>(&self, plain: &Plain<'_>, values: impl Fn(&HeaderName) -> Vec<&'v [u8]>) -> Option<Hit> {
        let Plain { deployment, scheme, host, port, target } = *plain;
        let variants = self.inner.shelf.get(&key(deployment, scheme, port, &[host, target].concat()))?;
        let entry = variants.entries.iter().find(|entry| entry.head.selection.fits_values(&values))?;
        let now = self.now();
        let may_use = matches!(judge(entry, &Directives::default(), now), Verdict::Use);
        let life = &entry.head.life;
        may_use.then(|| Hit {
            entry: Arc::clone(entry),
            age: life.age(now).as_secs(),
            status: Status::hit(life.ttl(now)),
        })
    }
}

impl Hit {
    /// The answer's status.
    #[must_use]
    pub fn code(&self) -> StatusCode {
        self.entry.head.status
    }

    /// The fields as they are kept: without `Age` and `Cache-Status`, and maybe without the length.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.entry.head.headers
    }

    /// `Age`, in seconds.
    #[must_use]
    pub const fn age(&self) -> u64 {
        self.age
    }

    /// Bytes of the body.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.entry.length
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Body {
        Body::kept(&self.entry.body, 0..self.entry.length)
    }

    /// What the cache did.
    #[must_use]
    pub const fn status(&self) -> Status {
        self.status
    }
}
