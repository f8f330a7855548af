//! A wanted certificate as people see it.

use acme::entry::{Entry, Track};
use common::api::{CertificateState as State, HostCertificate, PassedOver};

/// What is shown of it.
pub fn show(entry: &Entry) -> HostCertificate {
    let current = entry.current.as_ref();
    let asked = entry.order.as_ref().map(|order| &order.authority);
    let revoked = entry.revoke.first().filter(|_| !entry.is_wanted()).map(|revocation| &revocation.authority);
    let (state, cause, next) = match &entry.track {
        Track::None => (State::None, None, Some(entry.next)),
        Track::Issuing { .. } => (State::Issuing, None, None),
        Track::Renewing { .. } => (State::Renewing, None, None),
        Track::Active { renew_at } => (State::Active, None, Some(*renew_at)),
        Track::WaitingForDns { reason, next } => (State::WaitingForDns, Some(reason), Some(*next)),
        Track::CaaBlocked { reason, next } => (State::CaaBlocked, Some(reason), Some(*next)),
        Track::RateLimited { reason, next } => (State::RateLimited, Some(reason), Some(*next)),
        Track::Failing { reason, next } => (State::Failing, Some(reason), Some(*next)),
        Track::Revoking { reason, next } => (State::Revoking, reason.as_ref(), Some(*next)),
    };
    let tried = match (&entry.order, current) {
        (Some(order), _) => &order.tried[..],
        (None, Some(current)) => &current.passed_over,
        (None, None) => &[],
    };
    let passed_over = tried
        .iter()
        .map(|tried| PassedOver { authority: tried.authority.clone(), cause: tried.failure.to_string() })
        .collect();
    HostCertificate {
        name: entry.name().to_owned(),
        state,
        cause: cause.map(ToString::to_string),
        next,
        authority: asked.or(current.map(|current| &current.authority)).or(revoked).cloned(),
        not_after: current.map(|current| current.not_after),
        serial: current.and_then(acme::entry::Current::serial),
        passed_over,
    }
}
