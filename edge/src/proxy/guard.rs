//! Step of the request's head: access lists, rules, limits and overload.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use guard::{Facts, Verdict, Why};
use http::{HeaderValue, StatusCode, header};
use percent_encoding::percent_decode_str;
use pingora_core::Result;
use pingora_proxy::Session;

use super::{Ctx, Proxy};
use crate::answer;
use crate::page::Page;
use crate::routes::Entry;

/// Age below which a connection counts as new: its visitor has seen nothing yet that a refusal would spoil.
const NEW: Duration = Duration::from_secs(1);

/// Answers a request that is refused or sent elsewhere. Returns whether it was.
pub(super) async fn answered(proxy: &Proxy, session: &mut Session, ctx: &mut Ctx, entry: &Entry) -> Result<bool> {
    let terms = entry.guard.get_or_init(|| proxy.guard.compile(&entry.route.project, &entry.route.policy));
    if terms.is_empty() && !proxy.guard.overload().is_shedding() {
        return Ok(false);
    }
    let request = session.req_header();
    let facts = Facts {
        at: ctx.started,
        // Without an address, which no visitor over the network is, all are one.
        client: ctx.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        method: request.method.as_str(),
        path: &decoded(request.uri.path()),
        headers: &request.headers,
        is_first: is_new(session),
    };
    match proxy.guard.admit(terms, &facts) {
        Verdict::Admit(permit) => {
            ctx.permit = permit;
            Ok(false)
        }
        Verdict::Refuse(refusal) => {
            ctx.refused = Some(refusal.why.as_str());
            ctx.rules = refusal.rules;
            if refusal.why == Why::Overload {
                // Its place is worth more than another handshake later.
                session.set_keepalive(None);
            }
            let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::FORBIDDEN);
            Page::Refused(status, refusal.retry_after.map(seconds)).send(session, Some(entry)).await?;
            Ok(true)
        }
        Verdict::Redirect { to, status, rules } => {
            ctx.rules = rules;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
            // The control plane checks that it is a header's value.
            let Ok(to) = HeaderValue::from_str(&to) else {
                Page::Internal.send(session, Some(entry)).await?;
                return Ok(true);
            };
            let mut head = answer::head(status, Some(entry));
            head.headers.insert(header::LOCATION, to);
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            answer::send(session, head, Bytes::new()).await?;
            Ok(true)
        }
    }
}

/// Whole seconds, so that who waits them does not come too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn is_new(session: &Session) -> bool {
    let digest = session.as_downstream().digest();
    let since = digest.and_then(|d| d.timing_digest.first()).and_then(|t| t.as_ref()).map(|t| t.established_ts);
    since.is_some_and(|since| SystemTime::now().duration_since(since).is_ok_and(|age| age < NEW))
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
