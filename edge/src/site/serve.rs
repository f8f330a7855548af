//! Writes a static site's answer to the visitor.

use bytes::Bytes;
use guard::Permit;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::answer::{self, Answer, Body, Facts};
use crate::answer::{self as write, Reply};
use crate::cache::Cache;
use crate::routes::Entry;

/// What of a visitor an answer depends on, beside the request itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visitor<'a> {
    /// Whether the request came over TLS.
    pub(crate) secure: bool,
    /// Country, ISO 3166-1 alpha-2, when it is known.
    pub(crate) country: Option<&'a str>,
    /// Whether the visitor had to log in, so that no cache may show the answer to others.
    pub(crate) protected: bool,
    /// How fast the visitor may have the body.
    pub(crate) permit: Option<&'a Permit>,
}

/// Answers a request for a static deployment.
pub(crate) async fn serve(session: &mut Session, entry: &Entry, cache: &Cache, visitor: Visitor<'_>) -> Result<()> {
    match answer::answer(entry, &facts(session.req_header(), visitor), cache).await {
        Ok(answer) => send(session, entry, answer, visitor.permit).await,
        Err(page) => write::send(session, page.reply(session.req_header(), Some(entry))).await,
    }
}

/// What the answer depends on.
pub(crate) fn facts<'a>(request: &'a RequestHeader, visitor: Visitor<'a>) -> Facts<'a> {
    let (path, query) = target(request);
    let Visitor { secure, country, protected, .. } = visitor;
    Facts { method: &request.method, path, query, headers: &request.headers, secure, country, protected }
}

/// Path and query of a request's target, as they were sent.
fn target(request: &RequestHeader) -> (&[u8], Option<&[u8]>) {
    let raw = request.raw_path();
    // Of a target in absolute form, Pingora keeps the path apart.
    let raw = match request.uri.path_and_query() {
        Some(path) if !raw.starts_with(b"/") => path.as_str().as_bytes(),
        _ => raw,
    };
    match raw.iter().position(|b| *b == b'?') {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    }
}

async fn send(session: &mut Session, entry: &Entry, answer: Answer, permit: Option<&Permit>) -> Result<()> {
    let Answer { head, mut body, .. } = answer;
    match body {
        Body::Empty => return write::send(session, Reply::new(head, Bytes::new())).await,
        Body::Whole(bytes, _) => {
            write::begin(session, head).await?;
            return write::paced(session, permit, bytes, true).await;
        }
        Body::Pieces(_) | Body::Multipart(_) => {}
    }
    write::begin(session, head).await?;
    loop {
        match body.next().await {
            Ok(Some(piece)) => write::paced(session, permit, piece, false).await?,
            Ok(None) => return write::write(session, Bytes::new(), true).await,
            Err(error) => {
                // The connection is closed before the promised length, so the visitor knows.
                tracing::error!(host = &*entry.route.host, %error, "a blob broke off");
                return Err(Error::because(ErrorType::FileReadError, "a blob broke off", error));
            }
        }
    }
}
