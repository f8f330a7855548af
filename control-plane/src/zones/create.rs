//! Zones that begin and end.

use common::time::Timestamp;
use common::zone::{NewZone, ZoneChange};
use dns::edit::{self, Change};
use dns::record::{NS, Record, SOA};
use dns::zone::Zone;
use dns::{Name, RData, RecordType, master};

use super::row::{self, key_of};
use super::{ZoneError, Zones, input};
use crate::store::zones::{NewEdit, Signing, ZoneRow};

impl Zones {
    /// Creates a zone, and returns when the name servers answer for it: its name as it is kept.
    ///
    /// # Errors
    /// When there is one of this name, or it would be broken.
    pub async fn create(&self, new: &NewZone, actor: &str) -> Result<String, ZoneError> {
        let origin = row::whole(new.name.trim())?;
        let name = key_of(&origin);
        check_name(&name)?;
        let mut records = match &new.master {
            Some(text) => master::read(text, &origin).map_err(input::InputError::from)?,
            None => Vec::new(),
        };
        // Those of the servers that held the zone before; ours take their place.
        records.retain(|record| {
            !(record.owner.to_lowercase() == origin
                && matches!(record.data.record_type(), RecordType::SOA | RecordType::NS))
        });
        let now = Timestamp::now();
        records.extend(self.first_records(&origin, now));
        let mut zone = Zone::new(origin, records, None).map_err(ZoneError::Broken)?;
        let steps: Vec<ZoneChange> = new.templates.iter().copied().map(ZoneChange::Template).collect();
        let changes = input::changes(&zone, &steps, self.0.config.ttl)?;
        if !changes.is_empty() {
            zone = edit::apply(&zone, &changes)?;
        }
        let added: Vec<Change> = zone.records().iter().cloned().map(Change::Add).collect();
        let edit = NewEdit {
            actor: actor.to_owned(),
            note: "Made the zone".to_owned(),
            changes: row::lines(&added),
            undoes: None,
        };
        let signing = if new.dnssec { Signing::On(row::new_key()?) } else { Signing::Off };
        let row = ZoneRow {
            name: name.clone(),
            version: 0,
            records: master::write(&zone, true),
            signing,
            created_at: now,
            updated_at: now,
        };
        if !self.0.store.add_zone(&self.0.key, &row, zone.serial(), &edit).await? {
            return Err(ZoneError::Exists(name));
        }
        self.arrived().await?;
        Ok(name)
    }

    /// SOA and NS as the settings say.
    fn first_records(&self, origin: &Name, now: Timestamp) -> Vec<Record> {
        let config = &self.0.config;
        let ttl = config.ttl.max(config.negative_ttl);
        let record = |data| Record { owner: origin.clone(), ttl, data };
        // A zone that was deleted and comes again must be newer for its secondaries: seconds since 1970 always are.
        let serial = (now.as_millis() / 1000) as u32;
        let primary = config.nameservers.first().cloned().unwrap_or_else(Name::root);
        let times = [config.refresh, config.retry, config.expire].map(|time| i32::try_from(time).unwrap_or(i32::MAX));
        let soa = SOA::new(primary, config.mailbox.clone(), serial, times[0], times[1], times[2], config.negative_ttl);
        let servers = config.nameservers.iter().map(|server| record(RData::NS(NS(server.clone()))));
        std::iter::once(record(RData::SOA(soa))).chain(servers).collect()
    }

    /// Deletes a zone with its history; nobody answers for it when this returns.
    ///
    /// # Errors
    /// When there is none.
    pub async fn remove(&self, name: &str) -> Result<(), ZoneError> {
        let row = self.row(name).await?;
        if !self.0.store.remove_zone(&row.name).await? {
            return Err(ZoneError::NoZone(row.name));
        }
        self.arrived().await?;
        Ok(())
    }
}

/// Refuses names that nobody can delegate to us.
fn check_name(name: &str) -> Result<(), ZoneError> {
    if name.is_empty() {
        return Err(ZoneError::Unfit(".".to_owned(), "write the name of a domain of yours, like example.com"));
    }
    let suffix = psl::suffix(name.as_bytes());
    if suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes() == name.as_bytes()) {
        return Err(ZoneError::Unfit(
            name.to_owned(),
            "others register names below it; write the name of a domain of yours",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_zone_is_a_domain_of_somebodys_own() {
        for right in ["example.com", "shop.example.co.uk", "test", "apps.localhost"] {
            check_name(right).unwrap();
        }
        for wrong in ["", "com", "co.uk"] {
            assert!(check_name(wrong).unwrap_err().to_string().contains("of yours"), "{wrong}");
        }
    }
}
