//! Phase: the head of an app's answer has arrived. Notes that the instance answers, and takes away what concerned
//! its connection alone: `Transfer-Encoding` is Pingora's, and `Connection` it writes anew.

use std::time::Instant;

use balance::Ticket;
use http::{StatusCode, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::{Ctx, hop_by_hop};

pub(super) fn upstream_response_filter(response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if let Some(watch) = &ctx.watch {
        watch.heard();
    }
    hop_by_hop::remove_apps(response);
    // Each message has the version of who sends it (RFC 9110 section 2.5), and an older app's chunks, which the edge
    // makes, would not be understood under its own.
    response.set_version(Version::HTTP_11);
    if response.status == StatusCode::CONTINUE {
        ctx.is_continued = true;
    }
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    ctx.first_byte.get_or_insert_with(Instant::now);
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        if !ctx.patience.is_some_and(|p| p.is_upgrade) {
            // The visitor would read what follows as answers to requests that it has yet to send.
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an app switches protocols unasked").into_up());
        }
        // Either side of a tunnel may be silent for long, and Pingora watches it.
        ctx.watch = None;
    }
    if let Some(ticket) = &mut ctx.ticket {
        note(ticket, response.status.as_u16());
    }
    Ok(())
}

/// Notes what an instance's answer says of it.
pub(super) fn note(ticket: &mut Ticket, status: u16) {
    if is_gateway_failure(status) {
        ticket.failed(tokio::time::Instant::now());
    } else {
        ticket.succeeded();
    }
}

/// Whether an answer says that whoever should have made it is gone.
const fn is_gateway_failure(status: u16) -> bool {
    matches!(status, 502..=504)
}
