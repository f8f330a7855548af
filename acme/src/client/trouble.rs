//! What an authority's errors mean (RFC 8555 section 6.7).

use common::time::Timestamp;
use instant_acme::{Error, Problem};

use crate::failure::{Failure, detail};
use crate::transport::Seen;

const PREFIX: &str = "urn:ietf:params:acme:error:";

fn kind(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(PREFIX)).unwrap_or("")
}

/// What an error of a request means.
pub(super) fn failure(error: Error, seen: Option<&Seen>, now: Timestamp) -> Failure {
    match error {
        Error::Api(problem) => of_problem(&problem, None, seen, now),
        Error::Unsupported(what) => Failure::Refused { detail: format!("it does not support {what}") },
        other => {
            let text = chain(&other);
            let status = seen.map(|seen| seen.status).filter(|status| !status.is_success());
            let detail = status.map_or_else(|| detail(&text), |status| detail(&format!("{status}: {text}")));
            match status.map(|status| status.as_u16()) {
                Some(429) => Failure::RateLimited { detail, until: until(seen, now) },
                _ => Failure::Unreachable { detail },
            }
        }
    }
}

/// What an error of a look at an order means: one that the authority does not know is begun again.
pub(super) fn of_order(error: Error, seen: Option<&Seen>, now: Timestamp) -> Failure {
    if seen.is_some_and(|seen| seen.status == http::StatusCode::NOT_FOUND) {
        return Failure::OrderLost { detail: detail(&error.to_string()) };
    }
    failure(error, seen, now)
}

/// What an error of a challenge means.
pub(super) fn of_challenge(error: Error, name: &str, seen: Option<&Seen>, now: Timestamp) -> Failure {
    match error {
        Error::Api(problem) => of_problem(&problem, Some(name), seen, now),
        other => failure(other, seen, now),
    }
}

/// What a problem document means; with the name of an authorisation when it is one's.
pub(super) fn of_problem(problem: &Problem, name: Option<&str>, seen: Option<&Seen>, now: Timestamp) -> Failure {
    // What is wrong with one of the names says more than that something is (RFC 8555 section 6.7.1).
    let of_name = problem.subproblems.iter().find_map(|sub| sub.r#type.as_deref()?.strip_prefix(PREFIX));
    let text = detail(problem.to_string().trim_start_matches("API error").trim_start_matches(": "));
    match (of_name.unwrap_or_else(|| kind(problem)), name) {
        ("rateLimited", _) => Failure::RateLimited { detail: text, until: until(seen, now) },
        ("caa", _) => Failure::Caa { detail: text },
        ("dns", _) => Failure::Dns { detail: text },
        ("accountDoesNotExist", _) => Failure::OrderLost { detail: text },
        ("serverInternal" | "badNonce", _) => Failure::Unreachable { detail: text },
        (_, Some(name)) => Failure::Validation { name: name.to_owned(), detail: text },
        _ => match problem.status.or_else(|| seen.map(|seen| seen.status.as_u16())) {
            Some(429) => Failure::RateLimited { detail: text, until: until(seen, now) },
            Some(500..) => Failure::Unreachable { detail: text },
            _ => Failure::Refused { detail: text },
        },
    }
}

fn until(seen: Option<&Seen>, now: Timestamp) -> Option<Timestamp> {
    Some(now.after(seen?.retry_after?))
}

/// Whether a request only needs a fresh nonce.
pub(super) fn is_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "badNonce")
}

/// Whether the authority has no account of ours.
pub(super) fn is_unknown_account(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "accountDoesNotExist")
}

/// Whether it is about the certificate that an order was to replace (RFC 9773 section 5).
pub(super) fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Api(problem) => {
            kind(problem) == "alreadyReplaced"
                || problem.detail.as_deref().is_some_and(|text| text.to_ascii_lowercase().contains("replace"))
        }
        Error::Unsupported(what) => what.contains("ARI"),
        Error::Other(other) => other.to_string().contains("replaces"),
        _ => false,
    }
}

/// Whether a certificate is revoked already.
pub(super) fn is_revoked(error: &Error) -> bool {
    matches!(error, Error::Api(problem) if kind(problem) == "alreadyRevoked")
}

/// An error with its causes: "client error" alone helps nobody.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}
