//! Step of the request's head: access lists, rules, limits and overload.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bytes::Bytes;
use guard::{Facts, Verdict, Why};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::{Ctx, Proxy, Request};
use crate::answer::{self, Reply};
use crate::page::Page;
use crate::routes::Entry;
use crate::transport::Arrival;

/// The answer to a request that is refused or sent elsewhere.
pub(super) fn answer(
    proxy: &Proxy,
    request: &Request<'_>,
    arrival: Arrival<'_>,
    ctx: &mut Ctx,
    entry: &Entry,
) -> Option<Reply> {
    let terms = entry.guard().get_or_init(|| proxy.guard.compile(&entry.route.project, &entry.route.policy));
    if terms.is_empty() && !proxy.guard.overload().is_shedding() {
        return None;
    }
    let request = request.header();
    let facts = Facts {
        at: ctx.started,
        // Without an address, which no visitor over the network is, all are one.
        client: ctx.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        method: request.method.as_str(),
        path: &decoded(request.uri.path()),
        headers: &request.headers,
        is_first: arrival.is_new(),
    };
    match proxy.guard.admit(terms, &facts) {
        Verdict::Admit(permit) => {
            ctx.permit = permit;
            None
        }
        Verdict::Refuse(refusal) => {
            ctx.refused = Some(refusal.why.as_str());
            ctx.rules = refusal.rules;
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
            let reply = Page::Refused(status, refusal.retry_after.map(seconds)).reply(request, Some(entry));
            // Under overload, the connection's place is worth more than another handshake later.
            Some(if refusal.why == Why::Overload { reply.closing() } else { reply })
        }
        Verdict::Redirect { to, status, rules } => {
            ctx.rules = rules;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            // The control plane checks that it is a header's value.
            let Ok(to) = HeaderValue::from_str(&to) else {
                return Some(Page::Internal.reply(request, Some(entry)));
            };
            let mut head = answer::head(status, Some(entry));
            head.headers.insert(header::LOCATION, to);
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Some(Reply::new(head, Bytes::new()))
        }
    }
}

/// Whole seconds, so that who waits them does not come too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// A path as rules see it: decoded, without empty and dot segments, so that no other spelling gets around them.
fn decoded(path: &str) -> Cow<'_, str> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    if !path.contains("//") && !path.contains("/.") {
        return path;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let is_folder = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    let end = if is_folder && !segments.is_empty() { "/" } else { "" };
    Cow::Owned(format!("/{}{end}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_see_one_spelling_of_a_path() {
        for (path, seen) in [
            ("/admin", "/admin"),
            ("/%61dmin/", "/admin/"),
            ("//admin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2e/admin", "/admin"),
            ("/./admin/.", "/admin/"),
            ("/../../admin", "/admin"),
            ("/x/..", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/", "/"),
        ] {
            assert_eq!(decoded(path), seen, "{path}");
        }
    }

    #[test]
    fn nobody_is_told_to_come_too_early() {
        assert_eq!([0, 1, 999, 1000, 1001].map(|ms| seconds(Duration::from_millis(ms))), [0, 1, 1, 1, 2]);
    }
}
