//! The heads of the edge's own answers.

use bytes::Bytes;
use guard::{PACED_PIECE, Permit};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::proxy::visitor;
use crate::routes::Entry;

/// The request's id, for the app, the visitor and the access log.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names the deployment that answered.
pub(crate) const DEPLOYMENT: HeaderName = HeaderName::from_static(common::signs::DEPLOYMENT);
/// Keeps addresses that are no project's own out of search engines.
pub(crate) const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
/// Value of [`ROBOTS`].
pub(crate) const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
/// Carries an app's own `Date` past Pingora, which writes one of its own: `connection` puts it back.
pub(crate) const APP_DATE: &str = "x-astrocloud-date";
/// Value of `Server`.
pub(crate) const SERVER: HeaderValue = HeaderValue::from_static(common::signs::SERVER);
/// Fields of the longest head; room for all of them is taken at once.
const FIELDS: usize = 16;

/// A head with what every answer carries. What only holds over TLS is taken away when it is sent: see [`plain`].
pub(crate) fn head(status: StatusCode, entry: Option<&Entry>) -> Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    head.headers = HeaderMap::with_capacity(FIELDS);
    head.headers.insert(header::SERVER, SERVER);
    head.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(entry) = entry {
        if let Some(deployment) = entry.deployment() {
            head.headers.insert(DEPLOYMENT, deployment.clone());
        }
        if !entry.route.production {
            head.headers.insert(ROBOTS, NO_INDEX);
        }
        if let Some(hsts) = entry.hsts() {
            head.headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }
    head
}

/// Takes away what must not be said over plain HTTP (RFC 6797 section 7.2).
pub(crate) fn plain(headers: &mut HeaderMap) {
    headers.remove(header::STRICT_TRANSPORT_SECURITY);
}

/// An answer that is not written yet, and small enough to be in memory.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status and fields, `Content-Length` among them.
    pub(crate) head: Parts,
    /// Empty for HEAD and for answers without a body.
    pub(crate) body: Bytes,
    /// Whether the visitor's connection is to serve no further request.
    pub(crate) closes: bool,
}

impl Reply {
    /// An answer after which the connection may go on.
    pub(crate) const fn new(head: Parts, body: Bytes) -> Self {
        Self { head, body, closes: false }
    }

    /// The same, after which the connection is closed.
    pub(crate) fn closing(self) -> Self {
        Self { closes: true, ..self }
    }
}

/// Gives the head of an answer of the edge's own what depends on the request.
pub(crate) fn fit(head: &mut Parts, request: &RequestHeader) {
    if !visitor::is_secure(request) {
        plain(&mut head.headers);
    }
    if let Some(id) = request.headers.get(&REQUEST_ID) {
        head.headers.insert(REQUEST_ID, id.clone());
    }
}

/// Writes an answer whole.
pub(crate) async fn send(session: &mut Session, reply: Reply) -> Result<()> {
    if reply.closes {
        session.set_keepalive(None);
    }
    begin(session, reply.head).await?;
    write(session, reply.body, true).await
}

/// Writes the head of an answer whose body follows.
pub(crate) async fn begin(session: &mut Session, mut head: Parts) -> Result<()> {
    fit(&mut head, session.req_header());
    let visitor = session.as_downstream_mut();
    visitor.write_response_header(Box::new(head.into())).await.map_err(|e| e.into_down())
}

/// Writes a piece of an answer's body.
pub(crate) async fn write(session: &mut Session, piece: Bytes, is_last: bool) -> Result<()> {
    session.as_downstream_mut().write_response_body(piece, is_last).await.map_err(|e| e.into_down())
}

/// Writes a piece of an answer's body, as fast as its visitor may have it.
pub(crate) async fn paced(
    session: &mut Session,
    permit: Option<&Permit>,
    mut piece: Bytes,
    is_last: bool,
) -> Result<()> {
    let Some(permit) = permit.filter(|permit| permit.is_paced()) else { return write(session, piece, is_last).await };
    loop {
        let part = piece.split_to(piece.len().min(PACED_PIECE));
        let ends = piece.is_empty();
        let wait = permit.pace(part.len());
        write(session, part, is_last && ends).await?;
        if let Some(wait) = wait.filter(|_| !(is_last && ends)) {
            tokio::time::sleep(wait).await;
        }
        if ends {
            return Ok(());
        }
    }
}
