//! Waiting until the name servers answer as the database says.

use std::time::Duration;

use dns::secondary;
use tokio::time::{Instant, sleep, timeout_at};

use super::{ZoneError, Zones};
use crate::store::StoreError;

/// How long an edit waits for the platform's other name servers: they look several times a second.
const SERVERS: Duration = Duration::from_secs(2);
/// How long a proof waits for them and for secondaries, which fetch the zone first.
const EVERYONE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Between two questions to a secondary.
const ASK: Duration = Duration::from_millis(200);

/// How far a change came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Name servers of the platform that have it.
    pub(super) servers: usize,
    /// Those that have not yet.
    pub(super) late: usize,
}

impl Zones {
    /// Waits until the platform's name servers have every change made so far, for a while.
    pub(super) async fn arrived(&self) -> Result<Arrived, StoreError> {
        self.arrived_by(Instant::now() + SERVERS).await
    }

    async fn arrived_by(&self, until: Instant) -> Result<Arrived, StoreError> {
        let version = self.0.store.zone_version().await?;
        self.refresh().await?;
        loop {
            let servers = self.0.store.name_servers().await?;
            let late = servers.iter().filter(|server| server.version < version).count();
            if late == 0 || Instant::now() >= until {
                return Ok(Arrived { servers: servers.len() - late, late });
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until every server that a certificate authority may ask has the zone's newest version: the platform's and
    /// the secondaries.
    ///
    /// # Errors
    /// Who has it not after half a minute.
    pub(super) async fn everywhere(&self, zone: &str) -> Result<(), String> {
        let until = Instant::now() + EVERYONE;
        let failed = |e: ZoneError| e.to_string();
        let arrived = self.arrived_by(until).await.map_err(|e| failed(e.into()))?;
        if arrived.late > 0 {
            return Err(format!("{} name servers of the platform do not answer with the change yet", arrived.late));
        }
        let row = self.row(zone).await.map_err(failed)?;
        let zone = super::row::read(&row).map_err(failed)?;
        for other in &self.0.config.secondaries {
            let current = async {
                loop {
                    let serial = secondary::serial(zone.apex(), other.address).await;
                    // Serial number arithmetic (RFC 1982).
                    if serial.is_ok_and(|serial| serial.is_some_and(|serial| newer_or_same(serial, zone.serial()))) {
                        return;
                    }
                    sleep(ASK).await;
                }
            };
            if timeout_at(until, current).await.is_err() {
                return Err(format!(
                    "the secondary {} does not have serial {} of {}: let it take the zone from here, or take it out of \
                     dns.secondaries",
                    other.address,
                    zone.serial(),
                    row.name
                ));
            }
        }
        Ok(())
    }
}

fn newer_or_same(serial: u32, than: u32) -> bool {
    serial.wrapping_sub(than) < 1 << 31
}
