//! Zones and records as people read them.

use common::zone::{Dnssec, Zone as Shown, ZoneRecord};
use dns::{RData, RecordType, master, name};

use super::row::{read, signing_key, state};
use super::{ZoneError, Zones, input};
use crate::store::zones::{Signing, ZoneRow};

impl Zones {
    /// Zones by name, after one.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn list(&self, after: &str, limit: u32) -> Result<Vec<Shown>, ZoneError> {
        self.0.store.zones(&self.0.key, after, limit).await?.iter().map(shown).collect()
    }

    /// A zone.
    ///
    /// # Errors
    /// When there is none.
    pub async fn show(&self, name: &str) -> Result<Shown, ZoneError> {
        shown(&self.row(name).await?)
    }

    /// A zone's records, of a name and of a type when these are given.
    ///
    /// # Errors
    /// When there is no such zone.
    pub async fn records(
        &self,
        zone: &str,
        owner: Option<&str>,
        kind: Option<&str>,
    ) -> Result<Vec<ZoneRecord>, ZoneError> {
        let zone = read(&self.row(zone).await?)?;
        let wrong = |message| input::InputError::Step { step: 1, message };
        let owner = owner.map(|owner| input::owner(owner, zone.origin())).transpose().map_err(wrong)?;
        let kind = kind.map(dns::record::kind).transpose().map_err(|e| wrong(e.to_string()))?;
        let meant = |record: &&dns::record::Record| {
            owner.as_ref().is_none_or(|owner| *owner == record.owner)
                && kind.is_none_or(|kind| kind == record.data.record_type())
        };
        Ok(zone.records().iter().filter(meant).map(|record| input::shown(record, zone.origin())).collect())
    }

    /// A zone as a master file; with ALIAS records as such (`ours`), or as comments that other servers take.
    ///
    /// # Errors
    /// When there is none.
    pub async fn export(&self, name: &str, ours: bool) -> Result<String, ZoneError> {
        Ok(master::write(&read(&self.row(name).await?)?, ours))
    }
}

fn shown(row: &ZoneRow) -> Result<Shown, ZoneError> {
    let zone = read(row)?;
    let key = signing_key(&row.signing)?;
    let servers = zone
        .records()
        .iter()
        .filter(|record| record.owner == *zone.origin() && record.data.record_type() == RecordType::NS);
    let (unicode, valid) = idna::domain_to_unicode(&row.name);
    Ok(Shown {
        name: row.name.clone(),
        unicode: Some(unicode).filter(|unicode| valid.is_ok() && *unicode != row.name),
        serial: zone.serial(),
        records: zone.records().len(),
        nameservers: servers
            .filter_map(|record| match &record.data {
                RData::NS(server) => Some(name::text(&server.0).trim_end_matches('.').to_owned()),
                _ => None,
            })
            .collect(),
        dnssec: Dnssec {
            state: state(&row.signing),
            // One who takes DNSSEC back must not set it again.
            ds: key.as_ref().filter(|_| matches!(row.signing, Signing::On(_))).map(|key| key.ds(zone.apex())),
            dnskey: key.as_ref().map(dns::key::ZoneKey::dnskey),
        },
        warnings: zone.warnings().iter().map(ToString::to_string).collect(),
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
