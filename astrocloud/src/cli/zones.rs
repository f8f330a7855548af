//! `astrocloud zones`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use common::zone::{
    DnssecState, NewZone, SetDnssec, UndoZoneEdit, Zone, ZoneDifference, ZoneEdit, ZoneEdited, ZoneTemplate,
};
use serde_json::json;

use super::input;
use super::removal::{self, Removal};
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  astrocloud zones add example.com
  astrocloud zones show example.com
  astrocloud records add example.com www CNAME shop.apps.example.net

A zone is a domain whose DNS the platform answers, once its registrar names the platform's name servers.";
const LS_EXAMPLES: &str = "\
Examples:
  astrocloud zones ls
  astrocloud zones ls --json | jq -r '.[].name'";
const ADD_EXAMPLES: &str = "\
Examples:
  astrocloud zones add example.com --template google-workspace --dnssec
  astrocloud zones add example.com --from example.com.zone
  dig @ns.old.example example.com AXFR | astrocloud zones add example.com --from -

A file is a master file (RFC 1035), as other name servers export it. Its SOA and the NS records of the domain itself are
replaced by the platform's.";
const SHOW_EXAMPLES: &str = "\
Examples:
  astrocloud zones show example.com
  astrocloud zones show example.com --json | jq -r .dnssec.ds";
const EXPORT_EXAMPLES: &str = "\
Examples:
  astrocloud zones export example.com > example.com.zone
  astrocloud zones export example.com --portable";
const RM_EXAMPLES: &str = "\
Examples:
  astrocloud zones rm example.com
  astrocloud zones rm example.com --yes

The name servers stop answering for it at once, and its history is deleted.";
const DNSSEC_EXAMPLES: &str = "\
Examples:
  astrocloud zones dnssec example.com on
  astrocloud zones dnssec example.com off
  astrocloud zones dnssec example.com off --ds-gone

Off takes two steps, or the domain is unreachable for those who check signatures: say `off`, delete the DS record at the
registrar, wait until its time to live has passed, then say `off --ds-gone`.";
const HISTORY_EXAMPLES: &str = "\
Examples:
  astrocloud zones history example.com
  astrocloud zones history example.com -n 100 --json";
const UNDO_EXAMPLES: &str = "\
Examples:
  astrocloud zones undo example.com
  astrocloud zones undo example.com 7

Undoing is an edit of its own: it can be undone too.";

/// What to do with zones.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Zones {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List zones
    #[command(after_help = LS_EXAMPLES)]
    Ls {
        #[command(flatten)]
        format: Format,
    },
    /// Create a zone
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Its name, like example.com
        zone: String,
        /// Master file with its records; - reads standard input
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
        /// Records that are added; can be repeated
        #[arg(long, value_name = "TEMPLATE")]
        template: Vec<Template>,
        /// Sign it
        #[arg(long)]
        dnssec: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Show a zone, and what to set at its registrar
    #[command(after_help = SHOW_EXAMPLES)]
    Show {
        /// Its name
        zone: String,
        #[command(flatten)]
        format: Format,
    },
    /// Write a zone as a master file
    #[command(after_help = EXPORT_EXAMPLES)]
    Export {
        /// Its name
        zone: String,
        /// Write ALIAS records as comments, so that other name servers take the file
        #[arg(long)]
        portable: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Delete a zone with its history
    #[command(after_help = RM_EXAMPLES)]
    Rm {
        /// Its name
        zone: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Sign a zone, or stop signing it
    #[command(after_help = DNSSEC_EXAMPLES)]
    Dnssec {
        /// Its name
        zone: String,
        /// Whether it is signed
        state: Switch,
        /// The DS record is gone at the registrar, and its time to live has passed
        #[arg(long)]
        ds_gone: bool,
        #[command(flatten)]
        format: Format,
    },
    /// List a zone's edits, newest first
    #[command(after_help = HISTORY_EXAMPLES)]
    History {
        /// Its name
        zone: String,
        /// Edits at most
        #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 20)]
        limit: usize,
        #[command(flatten)]
        format: Format,
    },
    /// Take an edit back
    #[command(after_help = UNDO_EXAMPLES)]
    Undo {
        /// The zone's name
        zone: String,
        /// The edit; by default the newest that still stands
        number: Option<i64>,
        #[command(flatten)]
        format: Format,
    },
}

/// Records that are added together.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Template {
    /// Mail with Google Workspace
    GoogleWorkspace,
    /// Mail with Microsoft 365
    #[value(name = "microsoft-365")]
    Microsoft365,
}

impl From<Template> for ZoneTemplate {
    fn from(template: Template) -> Self {
        match template {
            Template::GoogleWorkspace => Self::GoogleWorkspace,
            Template::Microsoft365 => Self::Microsoft365,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Does it.
pub async fn run(zones: Zones, client: &Client) -> anyhow::Result<u8> {
    match zones.action {
        Action::Ls { format } => list(format, client).await?,
        Action::Add { zone, from, template, dnssec, format } => {
            let master = from.map(|file| input::text(&file)).transpose()?.map(|(text, _)| text);
            let templates = template.into_iter().map(ZoneTemplate::from).collect();
            let zone = client.create_zone(&NewZone { name: zone, master, templates, dnssec }).await?;
            show(&zone, format)?;
        }
        Action::Show { zone, format } => show(&client.zone(&zone).await?, format)?,
        Action::Export { zone, portable, format } => {
            let text = client.export_zone(&zone, portable).await?;
            if format.json {
                output::json(&json!({ "zone": zone, "master": text }))?;
            } else {
                output::line(text.trim_end())?;
            }
        }
        Action::Rm { zone, yes, format } => return remove(&zone, yes, format, client).await,
        Action::Dnssec { zone, state, ds_gone, format } => {
            show(&client.set_dnssec(&zone, SetDnssec { on: state == Switch::On, ds_gone }).await?, format)?;
        }
        Action::History { zone, limit, format } => history(&client.zone_edits(&zone, limit).await?, format)?,
        Action::Undo { zone, number, format } => {
            edited(&zone, Some(&client.undo_zone_edit(&zone, UndoZoneEdit { number }).await?), format)?;
        }
    }
    Ok(exit::DONE)
}

async fn list(format: Format, client: &Client) -> anyhow::Result<()> {
    let zones = client.zones().await?;
    if format.json {
        return output::json(&zones);
    }
    if zones.is_empty() {
        output::say("There is no zone yet: `astrocloud zones add` makes one");
        return Ok(());
    }
    let rows: Vec<_> = zones
        .into_iter()
        .map(|zone| {
            let dnssec = zone.dnssec.state.as_str().to_owned();
            let name = zone.unicode.map_or(zone.name.clone(), |unicode| format!("{unicode} ({})", zone.name));
            [name, zone.records.to_string(), zone.serial.to_string(), dnssec, output::ago(zone.updated_at)]
        })
        .collect();
    Ok(output::table(["ZONE", "RECORDS", "SERIAL", "DNSSEC", "CHANGED"], &rows)?)
}

fn show(zone: &Zone, format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(zone);
    }
    let mut rows = vec![("name", zone.name.clone())];
    rows.extend(zone.unicode.clone().map(|unicode| ("in Unicode", unicode)));
    rows.extend([
        ("records", zone.records.to_string()),
        ("serial", zone.serial.to_string()),
        ("DNSSEC", zone.dnssec.state.as_str().to_owned()),
        ("changed", zone.updated_at.to_string()),
    ]);
    output::facts(rows)?;
    output::line("\nSet these at the registrar of the domain:")?;
    output::facts(zone.nameservers.iter().map(|server| ("NS", server)))?;
    match (zone.dnssec.state, &zone.dnssec.ds) {
        (DnssecState::On, Some(ds)) => output::facts([("DS", ds)])?,
        (DnssecState::Leaving, _) => {
            let then = format!("`astrocloud zones dnssec {} off --ds-gone`", zone.name);
            output::facts([("DS", format!("none: delete it, wait until its time to live has passed, then {then}"))])?;
        }
        _ => {}
    }
    zone.warnings.iter().for_each(|warning| output::warning(warning));
    Ok(())
}

fn history(edits: &[ZoneEdit], format: Format) -> anyhow::Result<()> {
    if format.json {
        return output::json(&edits);
    }
    for edit in edits {
        let mut head = format!("edit {} by {}, {}", edit.number, edit.actor, output::ago(edit.made_at));
        head.extend(edit.undone_by.map(|by| format!(", undone by edit {by}")));
        if !edit.note.is_empty() {
            head.push_str(&format!(": {}", edit.note));
        }
        output::line(&head)?;
        for difference in &edit.differences {
            let (sign, record) = match difference {
                ZoneDifference::Added(record) => ('+', record),
                ZoneDifference::Removed(record) => ('-', record),
            };
            let ttl = record.ttl.map(|ttl| ttl.to_string()).unwrap_or_default();
            output::line(&format!("  {sign} {} {ttl} {} {}", record.name, record.kind, record.data))?;
        }
    }
    Ok(())
}

/// Says what an edit came to; without one the zone was so already.
pub fn edited(zone: &str, edited: Option<&ZoneEdited>, format: Format) -> anyhow::Result<()> {
    if format.json {
        output::json(&edited)?;
    }
    let Some(edited) = edited else {
        output::say(&format!("{zone} was so already"));
        return Ok(());
    };
    output::say(&format!("Edit {} of {zone}: serial {}", edited.edit.number, edited.edit.serial));
    match (edited.servers, edited.late) {
        (0, 0) => output::warning("no name server runs: the setting dns.listen turns one on"),
        (_, 0) => {}
        (_, late) => {
            output::warning(&format!("{late} name servers do not answer with it yet; they will when they can"))
        }
    }
    edited.warnings.iter().for_each(|warning| output::warning(warning));
    Ok(())
}

async fn remove(zone: &str, yes: bool, format: Format, client: &Client) -> anyhow::Result<u8> {
    let name = client.zone(zone).await?.name;
    let meant = Removal { kind: "zone", name: &name, with: "its history", yes };
    removal::carry_out(meant, format, async || Ok(client.remove_zone(&name).await?)).await
}
