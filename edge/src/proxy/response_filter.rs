//! Phase: the head of an app's answer as the visitor gets it.

use http::{Version, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::Ctx;
use crate::answer;

pub(super) fn response_filter(session: &mut Session, response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    response.insert_header(header::SERVER, answer::SERVER)?;
    if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(header::TRANSFER_ENCODING) {
        // HTTP/1.0 knows no chunks (RFC 9112 section 6.1): there a body ends with its connection.
        response.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    let Some(entry) = &ctx.entry else { return Ok(()) };
    if let Some(deployment) = &entry.deployment {
        response.insert_header(answer::DEPLOYMENT, deployment.clone())?;
    }
    if !entry.route.production {
        response.insert_header(answer::ROBOTS, answer::NO_INDEX)?;
    }
    Ok(())
}
