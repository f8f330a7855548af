//! What an order's end means for its entry.

use std::time::Duration;

use common::time::Timestamp;

use super::{Manager, News, STEP_LIMIT};
use crate::check::Facts;
use crate::entry::{Current, Entry, Order, Track};
use crate::failure::{Failure, Tried};
use crate::schedule::{renew_at, retry_at};
use crate::store::{SealedCertificate, StoreError};

/// Age at which an order is given up, should the authority never be done with it.
const ORDER_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);
/// How often an order that the authority lost is begun again in one attempt.
const MAX_RESTARTS: u32 = 2;
/// How often an authority's suggestion is looked up, unless it says (RFC 9773 section 4.3.2).
const LOOK: Duration = Duration::from_secs(6 * 60 * 60);
/// Bounds of what it says: RFC 9773 section 4.3.2 asks for at least one look a day, and no more than one a minute.
const LEAST_LOOK: Duration = Duration::from_secs(60);
const LONGEST_LOOK: Duration = Duration::from_secs(24 * 60 * 60);
/// How long nothing is looked up with an authority that makes no suggestions.
const NO_LOOK: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Least time between two tries to revoke.
const REVOKE_RETRY: Duration = Duration::from_secs(60 * 60);

impl Manager {
    /// The authority is not done.
    pub(super) async fn wait(&self, entry: &mut Entry, order: Order, wait: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        if now.since(order.since) > ORDER_LIMIT {
            let detail = format!("it was not done within {} hours", ORDER_LIMIT.as_secs() / 3600);
            return self.failed(entry, order, Failure::Unreachable { detail }).await;
        }
        entry.order = Some(order);
        entry.next = now.after(wait);
        Ok(())
    }

    /// The authority issued.
    pub(super) async fn done(
        &self,
        entry: &mut Entry,
        order: Order,
        certificate: SealedCertificate,
        facts: Facts,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        entry.next = now;
        if order.rehearsal {
            // It would work: now in earnest.
            entry.rehearse = false;
            return Ok(());
        }
        self.answered(&order.authority, true);
        self.store.add_certificate(&certificate).await?;
        let current = Current {
            id: facts.id,
            authority: order.authority,
            names: entry.names.clone(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            renewal_id: facts.renewal_id,
            window: None,
            next_look: now,
            passed_over: order.tried,
        };
        tracing::info!(
            name = entry.name(),
            id = current.id,
            authority = current.authority,
            not_after = %current.not_after,
            "issued a certificate"
        );
        // Nobody may be listening.
        let _ = self.news.send(News { name: entry.name().to_owned(), id: current.id.clone() });
        entry.track = Track::Active { renew_at: renew_at(&current) };
        entry.current = Some(current);
        entry.failures = 0;
        entry.rehearse = false;
        Ok(())
    }

    /// The order came to nothing: another authority, or another time.
    pub(super) async fn failed(&self, entry: &mut Entry, order: Order, failure: Failure) -> Result<(), StoreError> {
        let name = entry.name().to_owned();
        tracing::warn!(name, authority = order.authority, rehearsal = order.rehearsal, %failure, "an order failed");
        if let Some(issuer) = self.issuer(&order.authority, order.rehearsal)
            && let Err(error) = issuer.give_up(&order).await
        {
            tracing::warn!(name, %error, "proofs of a failed order may still be shown");
        }
        if !order.rehearsal {
            self.answered(&order.authority, !matches!(failure, Failure::Unreachable { .. }));
            if failure.is_counted() {
                self.count_failure(entry, &order).await?;
            }
        }
        let now = self.clock.now();
        entry.next = now;
        match &failure {
            Failure::NotReplaceable { .. } => {
                // Again, as any renewal.
                if let Some(current) = &mut entry.current {
                    current.renewal_id = None;
                }
                return self.choose(entry, order.tried).await;
            }
            Failure::OrderLost { .. } if order.restarts < MAX_RESTARTS => {
                let restarts = order.restarts + 1;
                let tried = order.tried;
                self.choose(entry, tried).await?;
                if let Some(order) = &mut entry.order {
                    order.restarts = restarts;
                }
                return Ok(());
            }
            // A staging side that is down must not keep us from the real one.
            _ if order.rehearsal && failure.is_the_authoritys() => {
                entry.rehearse = false;
                return self.choose(entry, order.tried).await;
            }
            _ => {}
        }
        let go_on = failure.is_the_authoritys();
        let mut tried = order.tried;
        tried.push(Tried { authority: order.authority, failure });
        if go_on {
            return self.choose(entry, tried).await;
        }
        self.give_up(entry, tried);
        Ok(())
    }

    /// No authority issues for now.
    pub(super) fn give_up(&self, entry: &mut Entry, tried: Vec<Tried>) {
        let now = self.clock.now();
        entry.failures = entry.failures.saturating_add(1);
        entry.order = None;
        // What one of them said of the domain says more than that another is down.
        let telling = tried.iter().rev().find(|t| !matches!(t.failure, Failure::Unreachable { .. }));
        let Some(reason) = telling.or(tried.first()).map(|t| t.failure.clone()) else {
            let reason = Failure::Internal { detail: "no certificate authority is set".into() };
            entry.next = retry_at(entry.name(), entry.failures, now);
            entry.track = Track::Failing { reason, next: entry.next };
            return;
        };
        let mut next = retry_at(entry.name(), entry.failures, now);
        match &reason {
            Failure::RateLimited { until: Some(until), .. } => next = next.max(*until),
            // Only authorities are to blame: as soon as one may be back.
            Failure::Unreachable { .. } => next = self.back(now).map_or(next, |back| next.min(back)),
            _ => {}
        }
        entry.rehearse = reason.is_counted();
        entry.next = next;
        entry.track = match reason {
            Failure::Caa { .. } => Track::CaaBlocked { reason, next },
            Failure::RateLimited { .. } => Track::RateLimited { reason, next },
            Failure::Dns { .. } if entry.current.is_none() => Track::WaitingForDns { reason, next },
            reason => Track::Failing { reason, next },
        };
    }

    /// Asks the authority when to renew, if it is time to ask (RFC 9773). Its silence changes nothing.
    pub(super) async fn look_at_window(&self, entry: &mut Entry) {
        let now = self.clock.now();
        let name = entry.name().to_owned();
        let Some(current) = entry.current.as_mut().filter(|current| current.next_look <= now) else { return };
        let Some(line) = self.line(&current.authority) else { return };
        let looked = tokio::time::timeout(STEP_LIMIT, line.issuer.window(current)).await;
        let after = match looked {
            Ok(Ok(Some((window, after)))) => {
                if window.start <= now && current.window.as_ref().is_none_or(|before| before.start > now) {
                    let explanation = window.explanation.as_deref().unwrap_or("");
                    tracing::info!(name, explanation, "the certificate authority wants it renewed now");
                }
                current.window = Some(window);
                after.clamp(LEAST_LOOK, LONGEST_LOOK)
            }
            Ok(Ok(None)) => NO_LOOK,
            Ok(Err(error)) => {
                tracing::debug!(name, %error, "no suggestion when to renew");
                LOOK
            }
            Err(_) => LOOK,
        };
        current.next_look = now.after(after);
    }

    /// Revokes all of an entry that is wanted no longer, and removes it once that is done.
    pub(super) async fn revoke_retired(&self, mut entry: Entry) -> Result<(), StoreError> {
        let now = self.clock.now();
        if entry.next > now {
            return Ok(());
        }
        let Some(reason) = self.revoke_replaced(&mut entry).await? else {
            return self.store.finish(&self.lease_on(entry.name())).await;
        };
        entry.failures = entry.failures.saturating_add(1);
        entry.next = retry_at(entry.name(), entry.failures, now);
        entry.track = Track::Revoking { reason: Some(reason), next: entry.next };
        self.save(&entry).await
    }

    /// Revokes what was to be revoked and is not served any more. Gives why something of it is not revoked yet.
    pub(super) async fn revoke_replaced(&self, entry: &mut Entry) -> Result<Option<Failure>, StoreError> {
        let current = entry.current.as_ref().map(|current| current.id.clone());
        let mut left = Vec::new();
        let mut why = None;
        for revocation in std::mem::take(&mut entry.revoke) {
            if Some(&revocation.id) == current.as_ref() {
                left.push(revocation);
                continue;
            }
            let certificate = self.store.certificate(&revocation.id).await?;
            // One that ended needs no revocation; one of an authority that is set no longer can't have it.
            let (Some(certificate), Some(line)) = (certificate, self.line(&revocation.authority)) else { continue };
            if certificate.not_after <= self.clock.now() {
                continue;
            }
            let revoked = tokio::time::timeout(STEP_LIMIT, line.issuer.revoke(&certificate, revocation.reason)).await;
            let late = || Failure::Unreachable { detail: format!("no answer within {} s", STEP_LIMIT.as_secs()) };
            match revoked.unwrap_or_else(|_| Err(late())) {
                Ok(()) => tracing::info!(name = entry.name(), id = revocation.id, "revoked a certificate"),
                Err(error) => {
                    tracing::warn!(name = entry.name(), id = revocation.id, %error, "a certificate is not revoked yet");
                    why = Some(error);
                    left.push(revocation);
                }
            }
        }
        entry.revoke = left;
        Ok(why)
    }
}

/// When what is left to revoke is tried again.
pub(super) fn revoke_again(entry: &Entry, now: Timestamp) -> Option<Timestamp> {
    let current = entry.current.as_ref().map(|current| &current.id);
    entry.revoke.iter().any(|revocation| Some(&revocation.id) != current).then(|| now.after(REVOKE_RETRY))
}
