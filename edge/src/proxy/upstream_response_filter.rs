//! Phase: the head of an app's answer has arrived. Notes that the instance answers, and takes away what concerned
//! its connection alone.

use std::time::Instant;

use balance::Ticket;
use http::{HeaderMap, HeaderName, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::Ctx;

/// Fields that concern one connection (RFC 9110 section 7.6.1). `Transfer-Encoding` is Pingora's, `Connection` it
/// writes anew, and `Upgrade` belongs to a 101.
const HOP_BY_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "proxy-authenticate", "te"];

pub(super) fn upstream_response_filter(response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if let Some(watch) = &ctx.watch {
        watch.heard();
    }
    remove_hop_by_hop(response);
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
        note(ticket, response.status);
    }
    Ok(())
}

/// Notes what an instance's answer says of it.
pub(super) fn note(ticket: &mut Ticket, status: StatusCode) {
    if is_gateway_failure(status) {
        ticket.failed(tokio::time::Instant::now());
    } else {
        ticket.succeeded();
    }
}

/// Whether an answer says that whoever should have made it is gone.
fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

pub(super) fn remove_hop_by_hop(response: &mut ResponseHeader) {
    for name in nominated(&response.headers) {
        response.remove_header(&name);
    }
    for name in HOP_BY_HOP {
        response.remove_header(name);
    }
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        // 426 must say what is required (RFC 9110 section 15.5.22), and the edge would pass a wish for it on.
        if response.status != StatusCode::UPGRADE_REQUIRED {
            response.remove_header(&header::UPGRADE);
        }
        response.remove_header(&header::CONNECTION);
    }
}

/// The fields that `Connection` names.
pub(super) fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|v| v.as_bytes().split(|b| *b == b','));
    names.filter_map(|n| HeaderName::from_bytes(n.trim_ascii()).ok())
}

/// The fields that `Connection` names, but those that say where the body ends.
fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_framing = |n: &HeaderName| {
        [header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::CONNECTION, header::UPGRADE].contains(n)
    };
    named_by_connection(headers).filter(|n| !is_framing(n)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_concerned_the_apps_connection_is_not_passed_on() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in [
            ("connection", "X-Secret, keep-alive, content-length"),
            ("connection", "close"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("content-length", "5"),
            ("x-kept", "1"),
        ] {
            response.append_header(name, value).unwrap();
        }
        remove_hop_by_hop(&mut response);
        let left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-length", "x-kept"]);
    }
}
