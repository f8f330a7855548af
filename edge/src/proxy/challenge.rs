//! Proofs of control over a host for a certificate authority (RFC 8555 section 8.3). They are answered before
//! anything else of the host, over plain HTTP without a redirect, and also for hosts that have no route yet.

use bytes::Bytes;
use common::certificate::Challenge;
use http::{HeaderValue, Method, StatusCode, header};

use super::{Ctx, Proxy, Request};
use crate::answer::{self, Reply};

const PREFIX: &str = "/.well-known/acme-challenge/";

/// The answer to a request for a proof that is known.
pub(super) fn answer(proxy: &Proxy, request: &Request<'_>, ctx: &Ctx) -> Option<Reply> {
    let proof = proof(proxy, request)?;
    let is_head = *request.method() == Method::HEAD;
    let mut head = answer::head(StatusCode::OK, ctx.entry.as_deref());
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    head.headers.insert(header::CONTENT_LENGTH, proof.len().into());
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(Reply::new(head, if is_head { Bytes::new() } else { proof }))
}

fn proof(proxy: &Proxy, request: &Request<'_>) -> Option<Bytes> {
    if !request.target().starts_with(PREFIX.as_bytes()) {
        return None;
    }
    let asked = request.path().strip_prefix(PREFIX)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let named = request.host()?;
    proxy.routes.now().challenges().iter().find_map(|challenge| match challenge {
        Challenge::Http01 { host, token, key_authorization } if *host == named && token == asked => {
            Some(Bytes::copy_from_slice(key_authorization.as_bytes()))
        }
        _ => None,
    })
}
