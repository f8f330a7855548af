//! `astrocloud records`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use common::zone::{NewZoneEdit, ZoneChange, ZoneRecord, ZoneRecordSet, ZoneRecords};

use super::input;
use super::zones::{Template, edited};
use crate::client::Client;
use crate::exit::{self, Usage};
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud records ls example.com
  astrocloud records add example.com www CNAME shop.apps.example.net
  astrocloud records set example.com @ A 192.0.2.7 192.0.2.8 --ttl 60
  astrocloud records rm example.com www

Every name server answers accordingly when a command returns; `astrocloud zones undo` takes an edit back.";
const LS_EXAMPLES: &str = "\
Examples:
  astrocloud records ls example.com
  astrocloud records ls example.com --name www --type A --json";
const ADD_EXAMPLES: &str = "\
Examples:
  astrocloud records add example.com @ MX \"10 mail.example.com\" \"20 backup.example.net\"
  astrocloud records add example.com @ ALIAS shop.apps.example.net
  astrocloud records add example.com _dmarc TXT \"v=DMARC1; p=none\" --note \"mail reports\"

Each argument behind the type is one record. `@` is the domain itself; names in data are whole.";
const SET_EXAMPLES: &str = "\
Examples:
  astrocloud records set example.com @ A 192.0.2.7 192.0.2.8
  astrocloud records set example.com www CNAME shop.apps.example.net --ttl 60

Puts records in place of all of that name and type; each argument behind the type is one record.";
const RM_EXAMPLES: &str = "\
Examples:
  astrocloud records rm example.com www
  astrocloud records rm example.com @ MX \"20 backup.example.net\"";
const APPLY_EXAMPLES: &str = "\
Examples:
  astrocloud records apply example.com edit.json --serial 1764068400
  echo '[{\"remove\": {\"name\": \"old\"}}, {\"add\": {\"name\": \"new\", \"type\": \"A\", \"data\": \"192.0.2.7\"}}]' |
    astrocloud records apply example.com -

All changes are made or none: `add`, `remove`, `replace` (with a list as `data`) and `template`.";
const TEMPLATE_EXAMPLES: &str = "\
Examples:
  astrocloud records template example.com google-workspace
  astrocloud records template example.com microsoft-365

Other mail hosts and another SPF record are replaced.";

/// What to do with a zone's records.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Records {
    #[command(subcommand)]
    action: Action,
}

/// What every edit may say.
#[derive(Args, Debug)]
struct Edit {
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List records
    #[command(after_help = LS_EXAMPLES)]
    Ls {
        /// The zone
        zone: String,
        /// Those of this name within the zone
        #[arg(long)]
        name: Option<String>,
        /// Those of this type
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// Add records
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        #[command(flatten)]
        set: RecordSet,
        #[command(flatten)]
        edit: Edit,
    },
    /// Say what the records of a name and type are
    #[command(after_help = SET_EXAMPLES)]
    Set {
        #[command(flatten)]
        set: RecordSet,
        #[command(flatten)]
        edit: Edit,
    },
    /// Remove records
    #[command(after_help = RM_EXAMPLES)]
    Rm {
        /// The zone
        zone: String,
        /// Their name within the zone
        name: String,
        /// Their type; by default all types
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
        /// The one with this data; by default all
        data: Option<String>,
        #[command(flatten)]
        edit: Edit,
    },
    /// Make several changes in one edit
    #[command(after_help = APPLY_EXAMPLES)]
    Apply {
        /// The zone
        zone: String,
        /// JSON list of changes; - reads standard input
        file: PathBuf,
        /// Refuse when the zone has another serial by now
        #[arg(long)]
        serial: Option<u32>,
        #[command(flatten)]
        edit: Edit,
    },
    /// Add the records that a mail provider asks for
    #[command(after_help = TEMPLATE_EXAMPLES)]
    Template {
        /// The zone
        zone: String,
        /// Which
        template: Template,
        #[command(flatten)]
        edit: Edit,
    },
}

/// Records of one name and type.
#[derive(Args, Debug)]
struct RecordSet {
    /// The zone
    zone: String,
    /// Their name within the zone; @ is the domain itself
    name: String,
    /// Their type: A, AAAA, ALIAS, CAA, CNAME, DS, HTTPS, MX, NS, SOA, SRV, SVCB or TXT
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The data of each record
    #[arg(required = true)]
    data: Vec<String>,
    /// Seconds that others may keep them
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
}

/// Does it.
pub async fn run(records: Records, client: &Client) -> anyhow::Result<u8> {
    let (zone, changes, serial, edit) = match records.action {
        Action::Ls { zone, name, kind, format } => {
            list(&client.records(&zone, name.as_deref(), kind.as_deref()).await?, format)?;
            return Ok(exit::DONE);
        }
        Action::Add { set, edit } => {
            let RecordSet { zone, name, kind, data, ttl } = set;
            let add = |data| ZoneChange::Add(ZoneRecord { name: name.clone(), kind: kind.clone(), ttl, data });
            (zone, data.into_iter().map(add).collect(), None, edit)
        }
        Action::Set { set, edit } => {
            let RecordSet { zone, name, kind, data, ttl } = set;
            (zone, vec![ZoneChange::Replace(ZoneRecordSet { name, kind, ttl, data })], None, edit)
        }
        Action::Rm { zone, name, kind, data, edit } => {
            (zone, vec![ZoneChange::Remove(ZoneRecords { name, kind, data })], None, edit)
        }
        Action::Apply { zone, file, serial, edit } => {
            let (text, name) = input::text(&file)?;
            let changes = serde_json::from_str(&text).map_err(|e| Usage::new(format!("{name} is wrong: {e}")))?;
            (zone, changes, serial, edit)
        }
        Action::Template { zone, template, edit } => (zone, vec![ZoneChange::Template(template.into())], None, edit),
    };
    let new = NewZoneEdit { changes, note: edit.note, serial };
    edited(&zone, client.edit_zone(&zone, &new).await?.as_ref(), edit.format)?;
    Ok(exit::DONE)
}

fn list(records: &[ZoneRecord], format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(&records);
    }
    if records.is_empty() {
        output::say("There is no such record");
        return Ok(());
    }
    let rows: Vec<_> = records
        .iter()
        .map(|record| {
            let ttl = record.ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
            [record.name.clone(), ttl, record.kind.clone(), record.data.clone()]
        })
        .collect();
    Ok(output::table(["NAME", "TTL", "TYPE", "DATA"], &rows)?)
}
