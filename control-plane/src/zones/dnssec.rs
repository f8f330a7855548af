//! DNSSEC turned on and off. Off in the order that keeps the zone reachable: the DS record first, the signatures last.

use common::zone::SetDnssec;

use lookup::RecordType;

use super::edit::{Next, touched};
use super::{ZoneError, Zones, row};
use crate::store::zones::Signing;

impl Zones {
    /// Turns DNSSEC on or off, and returns when the name servers answer accordingly.
    ///
    /// # Errors
    /// When the signatures are to end while the DS record may still be there.
    pub async fn set_dnssec(&self, name: &str, set: SetDnssec) -> Result<(), ZoneError> {
        if set.ds_gone {
            self.check_ds(name).await?;
        }
        let key = row::new_key()?;
        let done = self.replace(name, |row, zone| {
            let signing = match (&row.signing, set) {
                (Signing::Off, SetDnssec { on: true, .. }) => Signing::On(key.clone()),
                // The key comes back with its DS record still good.
                (Signing::Leaving(old), SetDnssec { on: true, .. }) => Signing::On(old.clone()),
                (Signing::On(old), SetDnssec { on: false, ds_gone: false }) => Signing::Leaving(old.clone()),
                (Signing::On(_), SetDnssec { on: false, ds_gone: true }) => return Err(ZoneError::StillOn),
                (Signing::Leaving(_), SetDnssec { on: false, ds_gone: true }) => Signing::Off,
                _ => return Ok(None),
            };
            Ok(Some(Next { zone: touched(zone)?, signing, edit: None }))
        });
        if done.await? {
            self.arrived().await?;
        }
        Ok(())
    }

    /// Refuses while the zone's parent has a DS record for it. A parent that can't be asked is no reason: the zone may
    /// not be delegated at all.
    async fn check_ds(&self, name: &str) -> Result<(), ZoneError> {
        let origin = row::whole(&self.row(name).await?.name)?;
        match self.0.lookup.ask(&origin, RecordType::DS).await {
            Ok(found) => match found.records.first() {
                Some(record) => Err(ZoneError::DsThere {
                    zone: row::key_of(&origin),
                    ds: record.data.to_string(),
                    ttl: found.ttl.as_secs(),
                }),
                None => Ok(()),
            },
            Err(error) => {
                tracing::info!(zone = %origin, %error, "whether a DS record is gone is taken on trust");
                Ok(())
            }
        }
    }
}
