//! Zones as they are kept, and as they are answered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::secret::Secret;
use common::zone::DnssecState;
use dns::edit::Change;
use dns::key::{KeyError, ZoneKey};
use dns::record::{self, Record};
use dns::zone::Zone;
use dns::{Name, master, name};

use super::ZoneError;
use crate::store::StoreError;
use crate::store::zones::{ChangeLine, Signing, ZoneRow};

/// Seconds that others may keep a proof for a certificate authority.
const PROOF_TTL: u32 = 60;

/// The zone's name as the database has it.
pub(super) fn key_of(name: &Name) -> String {
    name::text(&name.to_lowercase()).trim_end_matches('.').to_owned()
}

/// A name as people and the database write it: whole, with or without a final dot, in Unicode or not.
pub(super) fn whole(text: &str) -> Result<Name, name::NameError> {
    Ok(name::parse(text, &Name::root())?.to_lowercase())
}

fn unreadable(detail: impl ToString) -> ZoneError {
    StoreError::Unreadable { what: "zone", detail: detail.to_string() }.into()
}

/// A new key as it is kept.
pub(super) fn new_key() -> Result<Secret, KeyError> {
    Ok(Secret::new(STANDARD.encode(ZoneKey::generate()?)))
}

fn open(secret: &Secret) -> Result<ZoneKey, ZoneError> {
    let bytes = STANDARD.decode(secret.reveal()).map_err(unreadable)?;
    Ok(ZoneKey::open(&bytes)?)
}

/// The key that signs a zone.
pub(super) fn signing_key(signing: &Signing) -> Result<Option<ZoneKey>, ZoneError> {
    match signing {
        Signing::Off => Ok(None),
        Signing::On(secret) => Ok(Some(open(secret)?)),
        Signing::Leaving(secret) => Ok(Some(open(secret)?.leaving())),
    }
}

/// The state's word on the wire.
pub(super) const fn state(signing: &Signing) -> DnssecState {
    match signing {
        Signing::Off => DnssecState::Off,
        Signing::On(_) => DnssecState::On,
        Signing::Leaving(_) => DnssecState::Leaving,
    }
}

/// The zone that a row holds.
pub(super) fn read(row: &ZoneRow) -> Result<Zone, ZoneError> {
    let origin = whole(&row.name).map_err(unreadable)?;
    let records = master::read(&row.records, &Name::root()).map_err(unreadable)?;
    let key = signing_key(&row.signing)?.map(std::sync::Arc::new);
    Zone::new(origin, records, key).map_err(|problems| unreadable(ZoneError::Broken(problems)))
}

/// The zone that is answered: with proofs for certificate authorities, owner and value. A proof that would break it is
/// left out, because what people set comes first.
pub(super) fn answered(row: &ZoneRow, proofs: &[(String, String)]) -> Result<Zone, ZoneError> {
    let zone = read(row)?;
    if proofs.is_empty() {
        return Ok(zone);
    }
    match with_proofs(&zone, proofs) {
        Ok(with) => Ok(with),
        Err(error) => {
            tracing::warn!(zone = row.name, %error, "proofs for certificate authorities can't stand in a zone");
            Ok(zone)
        }
    }
}

/// The zone with proofs in it.
pub(super) fn with_proofs(zone: &Zone, proofs: &[(String, String)]) -> Result<Zone, ZoneError> {
    let mut records = zone.records().to_vec();
    for (owner, value) in proofs {
        let owner = whole(owner)?;
        let data = record::txt(&[value.clone().into_bytes()]);
        let beside: Vec<&Record> = records
            .iter()
            .filter(|there| there.owner == owner && there.data.record_type() == dns::RecordType::TXT)
            .collect();
        if beside.iter().any(|there| there.data == data) {
            continue;
        }
        let ttl = beside.first().map_or(PROOF_TTL, |there| there.ttl);
        records.push(Record { owner, ttl, data });
    }
    Zone::new(zone.origin().clone(), records, zone.key().cloned()).map_err(ZoneError::Broken)
}

/// Changes as they are kept.
pub(super) fn lines(changes: &[Change]) -> Vec<ChangeLine> {
    let line = |change: &Change| match change {
        Change::Add(record) => ChangeLine::Add(master::line(record)),
        Change::Remove(record) => ChangeLine::Remove(master::line(record)),
    };
    changes.iter().map(line).collect()
}

/// Changes that were kept.
pub(super) fn changes(lines: &[ChangeLine]) -> Result<Vec<Change>, ZoneError> {
    let record = |line: &str| {
        let mut records = master::read(line, &Name::root()).map_err(unreadable)?;
        records.pop().ok_or_else(|| unreadable("an edit has an empty line"))
    };
    let change = |line: &ChangeLine| match line {
        ChangeLine::Add(line) => record(line).map(Change::Add),
        ChangeLine::Remove(line) => record(line).map(Change::Remove),
    };
    lines.iter().map(change).collect()
}
