//! What a successful request that changes something makes unusable (RFC 9111 section 4.4).

use std::sync::PoisonError;

use http::{HeaderMap, Method, StatusCode, header};
use url::Url;

use crate::cache::Cache;
use crate::handle::{Ask, key};

impl Cache {
    /// Tells what an app answered to a request that did not go through the cache: after a success of a method
    /// that may change something, what is kept for its address is not used any more, nor what is kept for
    /// addresses of the same origin that the answer names.
    pub fn invalidate(&self, ask: &Ask<'_>, status: StatusCode, answer: &HeaderMap) {
        if is_safe(ask.method) || !(status.is_success() || status.is_redirection()) {
            return;
        }
        self.forget(ask, &format!("{}{}", ask.host, ask.target));
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            let named = answer.get(name).and_then(|value| value.to_str().ok());
            if let Some(url) = named.and_then(|reference| same_origin(ask, reference)) {
                self.forget(ask, &url);
            }
        }
    }

    fn forget(&self, ask: &Ask<'_>, url: &str) {
        let _no_one_keeps = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        for scheme in ["http", "https"] {
            let key = key(ask.deployment, scheme, ask.port, url);
            self.inner.flights.each(|fill| {
                if *fill.place.key == *key {
                    fill.doom();
                }
            });
            self.inner.shelf.remove(&key);
        }
    }
}

/// Methods that change nothing (RFC 9110 section 9.2.1).
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE].contains(method)
}

/// Host, path and query of a reference, when it stays within the request's origin.
fn same_origin(ask: &Ask<'_>, reference: &str) -> Option<String> {
    let port = ask.port.map(|port| format!(":{port}")).unwrap_or_default();
    let base = Url::parse(&format!("{}://{}{port}{}", ask.scheme, ask.host, ask.target)).ok()?;
    let url = base.join(reference).ok()?;
    let is_same = url.origin() == base.origin();
    is_same.then(|| {
        let query = url.query().map(|q| format!("?{q}")).unwrap_or_default();
        format!("{}{}{query}", ask.host, url.path())
    })
}
