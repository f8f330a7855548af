//! Addresses behind ALIAS records, asked for ahead.

use std::time::Duration;

use common::time::Timestamp;
use dns::alias::{self, Found, Held};
use dns::{Name, RecordType, name};
use futures::StreamExt as _;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{ZoneError, Zones};

/// Between two looks at what is due, besides those at once after a change.
const EVERY: Duration = Duration::from_secs(2);
/// Targets asked for at once.
const AT_ONCE: usize = 16;
/// Seconds that the platform's own addresses may be kept: they move seldom, and then at once.
const OWN_TTL: u32 = 60;

impl Zones {
    /// Keeps the addresses behind ALIAS records until `stop`.
    pub async fn follow_aliases(self, base_domain: String, stop: CancellationToken) {
        if self.0.server.is_none() {
            return;
        }
        let base = match name::parse(&base_domain, &Name::root()) {
            Ok(base) => base.to_lowercase(),
            Err(error) => {
                tracing::error!(%error, "ALIAS records are not followed: the base domain is no name");
                return;
            }
        };
        let mut tick = interval(EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                () = self.0.changed.notified() => {}
            }
            let due = self.0.answers.aliases.due(&self.0.answers, seconds());
            let asked = futures::stream::iter(due).for_each_concurrent(AT_ONCE, |target| self.learn(target, &base));
            tokio::select! {
                () = stop.cancelled() => return,
                () = asked => {}
            }
        }
    }

    async fn learn(&self, target: Box<[u8]>, base: &Name) {
        let Some(name) = name::from_wire(&target) else { return };
        let found = self.find(&name, base).await;
        if self.0.answers.aliases.learned(&target, found, seconds()) && self.0.config.gives_away() {
            // Secondaries have the addresses as records, which are other ones now.
            for zone in self.0.answers.zones().iter().filter(|zone| zone.aliases().any(|alias| *alias == *target)) {
                let zone = super::row::key_of(zone.origin());
                if let Err(error) = self.touch(&zone).await
                    && !matches!(error, ZoneError::Busy | ZoneError::NoZone(_))
                {
                    tracing::warn!(zone, %error, "secondaries are not told of new addresses behind an ALIAS");
                }
            }
        }
    }

    /// The addresses of a name; none when nobody can say now.
    async fn find(&self, name: &Name, base: &Name) -> Option<Found> {
        if base.zone_of(name) {
            return Some(Found { addresses: self.0.config.addresses.clone(), ttl: OWN_TTL });
        }
        match alias::held(&self.0.answers, name, seconds()) {
            Held::Found(found) => return Some(found),
            Held::NotYet => return None,
            Held::Elsewhere => {}
        }
        let lookup = &self.0.lookup;
        let (four, six) = tokio::join!(lookup.ask(name, RecordType::A), lookup.ask(name, RecordType::AAAA));
        let (four, six) = match (four, six) {
            (Ok(four), Ok(six)) => (four, six),
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(%name, %error, "the target of an ALIAS can't be asked for");
                return None;
            }
        };
        let ttl = four.ttl.min(six.ttl).as_secs();
        let addresses = four.records.iter().chain(&six.records).filter_map(|record| record.data.ip_addr()).collect();
        Some(Found { addresses, ttl: u32::try_from(ttl).unwrap_or(u32::MAX) })
    }
}

fn seconds() -> u64 {
    u64::try_from(Timestamp::now().as_millis() / 1000).unwrap_or_default()
}
