//! The heads of the edge's own answers.

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora_core::Result;
use pingora_proxy::Session;

use crate::routes::Entry;

/// Names the deployment that answered.
pub(crate) const DEPLOYMENT: HeaderName = HeaderName::from_static("x-astrocloud-deployment");
/// Keeps addresses that are no project's own out of search engines.
pub(crate) const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");
/// Value of [`ROBOTS`].
pub(crate) const NO_INDEX: HeaderValue = HeaderValue::from_static("noindex");
/// Value of `Server`.
pub(crate) const SERVER: HeaderValue = HeaderValue::from_static("AstroCloud");
/// Fields of the longest head; room for all of them is taken at once.
const FIELDS: usize = 14;

/// A head with what every answer carries.
pub(crate) fn head(status: StatusCode, entry: Option<&Entry>) -> Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = status;
    head.headers = HeaderMap::with_capacity(FIELDS);
    head.headers.insert(header::SERVER, SERVER);
    head.headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(entry) = entry {
        if let Some(deployment) = &entry.deployment {
            head.headers.insert(DEPLOYMENT, deployment.clone());
        }
        if !entry.route.production {
            head.headers.insert(ROBOTS, NO_INDEX);
        }
    }
    head
}

/// Writes an answer whole. For HEAD and for answers without a body, `body` is empty.
pub(crate) async fn send(session: &mut Session, head: Parts, body: Bytes) -> Result<()> {
    begin(session, head).await?;
    write(session, body, true).await
}

/// Writes the head of an answer whose body follows.
pub(crate) async fn begin(session: &mut Session, head: Parts) -> Result<()> {
    let visitor = session.as_downstream_mut();
    visitor.write_response_header(Box::new(head.into())).await.map_err(|e| e.into_down())
}

/// Writes a piece of an answer's body.
pub(crate) async fn write(session: &mut Session, piece: Bytes, is_last: bool) -> Result<()> {
    session.as_downstream_mut().write_response_body(piece, is_last).await.map_err(|e| e.into_down())
}
