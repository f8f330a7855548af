//! DNS zones as the API tells and takes them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::time::Timestamp;

/// Records that are added together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneTemplate {
    /// Mail with Google Workspace.
    GoogleWorkspace,
    /// Mail with Microsoft 365.
    Microsoft365,
}

/// A zone to create.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewZone {
    /// Its name, in Unicode or as A-labels.
    pub name: String,
    /// Its records, a master file (RFC 1035 section 5). SOA and NS of the zone's own name are replaced by the platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Records that are added to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<ZoneTemplate>,
    /// Whether it is signed from the beginning.
    #[serde(default)]
    pub dnssec: bool,
}

/// A zone, and what is to be set where its parent is managed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Zone {
    /// Its name as A-labels, without a final dot.
    pub name: String,
    /// Its name in Unicode, when that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unicode: Option<String>,
    /// The serial of its SOA.
    pub serial: u32,
    /// Number of its records.
    pub records: usize,
    /// The name servers to set at the registrar.
    pub nameservers: Vec<String>,
    /// How it is signed.
    pub dnssec: Dnssec,
    /// What works, but probably not as meant.
    pub warnings: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Whether a zone is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DnssecState {
    /// It is not.
    Off,
    /// It is.
    On,
    /// It still is; its DS record has to go first where its parent is managed.
    Leaving,
}

impl DnssecState {
    /// The wire word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Leaving => "leaving",
        }
    }
}

/// How a zone is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dnssec {
    /// Whether it is.
    pub state: DnssecState,
    /// Data of the DS record to set at the registrar, while it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ds: Option<String>,
    /// Data of the DNSKEY record, for registrars that ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dnskey: Option<String>,
}

/// Whether a zone is to be signed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDnssec {
    /// Turns it on; or off, which takes two steps: first its records ask the parent to take the DS record away (RFC 8078),
    /// and only a second call with `ds_gone` ends the signatures.
    pub on: bool,
    /// The DS record was taken away, and its time to live has passed since.
    #[serde(default)]
    pub ds_gone: bool,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneRecord {
    /// Its name within the zone: `@` for the zone's own, `www`, or whole with a final dot.
    pub name: String,
    /// Its type: A, AAAA, ALIAS, CAA, CNAME, DS, HTTPS, MX, NS, SOA, SRV, SVCB or TXT.
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds that others may keep it; when it is set, that of the name's other records of this type or the platform's
    /// default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Its data as a master file has it. Names in it are whole, `@` is the zone's own; text needs no quotes.
    pub data: String,
}

/// Records to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneRecords {
    /// Their name within the zone.
    pub name: String,
    /// Their type; all types when absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The one with this data; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// What the records of a name and type are to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneRecordSet {
    /// Their name within the zone.
    pub name: String,
    /// Their type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Seconds that others may keep them; as they have now, or the platform's default, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Their data.
    pub data: Vec<String>,
}

/// One step of an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneChange {
    /// Adds a record.
    Add(ZoneRecord),
    /// Removes records; at least one must be there.
    Remove(ZoneRecords),
    /// Puts records in place of all of their name and type, whether there are any or not.
    Replace(ZoneRecordSet),
    /// Adds a template's records, in place of those that would contradict them.
    Template(ZoneTemplate),
}

/// An edit to make: all its steps or none.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewZoneEdit {
    /// The steps, in order.
    pub changes: Vec<ZoneChange>,
    /// Why, for the history.
    #[serde(default)]
    pub note: String,
    /// The serial that the zone was seen with: the edit is refused when it has another by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<u32>,
}

/// What an edit did with a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ZoneDifference {
    /// It was not there before.
    Added(ZoneRecord),
    /// It is not there any more.
    Removed(ZoneRecord),
}

/// An edit that was made.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneEdit {
    /// Its number, from 1: the first made the zone.
    pub number: i64,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom: `token`, `session` or `platform`.
    pub actor: String,
    /// Why.
    pub note: String,
    /// The zone's serial after it.
    pub serial: u32,
    /// What it did.
    pub differences: Vec<ZoneDifference>,
    /// The edit that it took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<i64>,
    /// The edit that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<i64>,
}

/// What an edit came to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneEdited {
    /// The edit.
    pub edit: ZoneEdit,
    /// Name servers of the platform that answer accordingly.
    pub servers: usize,
    /// Name servers that did not say so in time; they will when they can.
    pub late: usize,
    /// What works, but probably not as meant.
    pub warnings: Vec<String>,
}

/// An edit to take back.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UndoZoneEdit {
    /// Its number; the newest that was not taken back yet when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<i64>,
}

/// An edit that is offered.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ZoneOffer {
    /// The zone that it would change.
    pub zone: String,
    /// Its steps.
    pub changes: Vec<ZoneChange>,
}

/// A process that answers for the zones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NameServer {
    /// Where it listens, over UDP and TCP.
    pub addresses: Vec<String>,
    /// Whether it has every change.
    pub current: bool,
}
