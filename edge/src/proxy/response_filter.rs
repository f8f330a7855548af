//! Phase: the head of an app's answer as the visitor gets it.

use http::header;
use pingora_core::Result;
use pingora_http::ResponseHeader;

use super::Ctx;
use crate::answer;

pub(super) fn response_filter(response: &mut ResponseHeader, ctx: &Ctx) -> Result<()> {
    response.insert_header(header::SERVER, answer::SERVER)?;
    let Some(entry) = &ctx.entry else { return Ok(()) };
    if let Some(deployment) = &entry.deployment {
        response.insert_header(answer::DEPLOYMENT, deployment.clone())?;
    }
    if !entry.route.production {
        response.insert_header(answer::ROBOTS, answer::NO_INDEX)?;
    }
    Ok(())
}
