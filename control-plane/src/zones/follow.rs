//! This process's DNS server kept as the database says, and secondaries told.

use std::sync::Arc;
use std::time::Duration;

use common::time::Timestamp;
use dns::secondary;
use dns::zone::Zone;
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

use super::{ZoneError, Zones, row};
use crate::store::StoreError;

/// Between two looks at the number that tells of changes: one row read, four times a second.
const EVERY: Duration = Duration::from_millis(250);
/// How often a server says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// Secondaries told at once, or a start would send thousands of datagrams.
const NOTICES: usize = 16;
/// A proof that was never taken away is forgotten after this: orders end within a week (RFC 8555 section 7.1.3 lets
/// authorities choose; none takes longer).
const PROOF_MAX: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// A signed zone that others serve gets a new serial after this, so that they fetch new signatures: those they have hold
/// for thirteen days at least.
const SIGN_AGAIN: Duration = Duration::from_secs(3 * 24 * 60 * 60);

impl Zones {
    /// Follows the database until `stop`. When it is away, the zones are answered as they were last seen.
    pub async fn follow(self, stop: CancellationToken) {
        let Some(own) = &self.0.server else { return };
        let mut tick = interval(EVERY);
        let mut beat = Instant::now();
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            let mut done = self.refresh().await;
            if done.is_ok() && beat.elapsed() >= BEAT {
                beat = Instant::now();
                done = self.report(*self.0.seen.lock().await).await;
            }
            match (&done, failing) {
                (Ok(()), true) => tracing::info!("the DNS server follows the database again"),
                (Err(error), false) => tracing::error!(%error, "the DNS server goes on with the zones that it has"),
                // Said once.
                _ => {}
            }
            failing = done.is_err();
        }
        if let Err(error) = self.0.store.remove_name_server(&own.id).await {
            tracing::debug!(%error, "others wait for this name server until its last sign is old");
        }
    }

    /// Takes in what changed since the last look.
    pub(super) async fn refresh(&self) -> Result<(), StoreError> {
        if self.0.server.is_none() {
            return Ok(());
        }
        let mut seen = self.0.seen.lock().await;
        let version = self.0.store.zone_version().await?;
        if version <= *seen {
            return Ok(());
        }
        for name in self.0.store.zones_removed_since(*seen).await? {
            if let Ok(name) = row::whole(&name) {
                self.0.answers.withdraw(&dns::name::wire(&name));
            }
        }
        let first = *seen < 0;
        for (name, found) in self.0.store.zones_since(&self.0.key, *seen).await? {
            let zone = match found {
                Ok(row) => {
                    let proofs = self.0.store.zone_texts(&row.name).await?;
                    row::answered(&row, &proofs)
                }
                Err(error) => Err(ZoneError::from(error)),
            };
            match zone {
                Ok(zone) => {
                    let zone = Arc::new(zone);
                    self.0.answers.publish(Arc::clone(&zone));
                    if !first {
                        self.tell(&zone);
                    }
                }
                // Its last good version is answered, if there is one.
                Err(error) => tracing::error!(zone = name, %error, "a zone can't be answered as it is now"),
            }
        }
        *seen = version;
        self.0.changed.notify_one();
        self.report(version).await
    }

    async fn report(&self, version: i64) -> Result<(), StoreError> {
        let Some(own) = &self.0.server else { return Ok(()) };
        let addresses: Vec<String> = own.addresses.iter().map(ToString::to_string).collect();
        self.0.store.set_name_server(&own.id, &addresses.join(" "), version).await
    }

    /// Tells the secondaries of a change, in the background: they find it by themselves after the SOA's refresh.
    fn tell(&self, zone: &Arc<Zone>) {
        static NOTICE: Semaphore = Semaphore::const_new(NOTICES);
        for secondary in self.0.config.secondaries.clone() {
            let (zones, zone) = (self.clone(), Arc::clone(zone));
            tokio::spawn(async move {
                let _permit = NOTICE.acquire().await;
                let key = zones.0.config.key_of(&secondary).map(Arc::as_ref);
                if let Err(error) = secondary::notify(&zone, secondary.address, key).await {
                    let zone = dns::name::text(zone.origin());
                    tracing::warn!(%error, zone, secondary = %secondary.address, "a secondary was not told of a change");
                }
            });
        }
    }

    /// What is due from time to time: proofs that nobody took away, and signatures of zones that others serve.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn keep_house(&self, now: Timestamp) -> Result<(), ZoneError> {
        self.0.store.forget_zone_texts(now.before(PROOF_MAX)).await?;
        if self.0.config.gives_away() {
            for name in self.0.store.signed_zones_before(now.before(SIGN_AGAIN)).await? {
                match self.touch(&name).await {
                    // Another control plane was faster, or it was deleted: then there is nothing to do.
                    Ok(_) | Err(ZoneError::Busy | ZoneError::NoZone(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
