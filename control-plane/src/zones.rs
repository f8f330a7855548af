//! DNS zones that people delegate to the platform: kept in the database with their history, and answered by the DNS
//! server of every control plane.
//!
//! A zone is its newest row. A change is made to one version of it, or made again on the newer one; every server follows
//! by a number in the database and swaps the zone whole.

use std::net::SocketAddr;
use std::sync::Arc;

use common::secret::KeyRing;
use common::zone::NameServer;
use dns::answer::Answers;
use dns::edit::EditError;
use dns::key::KeyError;
use dns::name::NameError;
use dns::server::{BindError, Server};
use dns::validate::Problem;
use lookup::Lookup;
use tokio::sync::{Mutex, Notify};

use crate::store::{Store, StoreError};

mod aliases;
mod arrival;
mod config;
mod create;
mod dnssec;
mod edit;
mod follow;
mod input;
mod offer;
mod row;
mod show;
mod texts;

pub use config::{DnsConfig, Secondary};
pub use input::InputError;

/// Why something can't be done with a zone.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// There is none.
    #[error("there is no zone `{0}` here")]
    NoZone(String),
    /// There is one.
    #[error("the zone `{0}` is held here already")]
    Exists(String),
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name can't be a zone's.
    #[error("`{0}` can't be a zone: {1}")]
    Unfit(String, &'static str),
    /// What was given can't be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// An edit would break the zone, or fits it no more.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A zone would be broken from the beginning.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Broken(Vec<Problem>),
    /// It was seen with another serial.
    #[error("the zone has serial {0} by now: look at it again, then make the edit")]
    Changed(u32),
    /// Others are faster again and again.
    #[error("others change this zone at the same time: try again")]
    Busy,
    /// Nothing to take back.
    #[error("there is no edit to undo: the zone is as it was made")]
    NothingToUndo,
    /// No such edit.
    #[error("the zone has no edit {0}")]
    NoEdit(i64),
    /// It was taken back before.
    #[error("edit {0} was undone by edit {1} already")]
    Undone(i64, i64),
    /// The first edit made the zone.
    #[error("edit 1 made the zone and can't be undone: delete the zone instead")]
    First,
    /// Later edits stand on it.
    #[error("edit {0} can't be undone by itself, because later edits changed the same records: {1}")]
    Overtaken(i64, EditError),
    /// DNSSEC ends in two steps.
    #[error(
        "the zone is signed: turn DNSSEC off once without `ds_gone`, take its DS record away at the registrar, wait until \
         its time to live has passed, and only then say `ds_gone`"
    )]
    StillOn,
    /// The DS record is still there.
    #[error(
        "the parent of {zone} still has a DS record for it ({ds}): delete it at the registrar, wait until its time to live \
         of {ttl} s has passed, then say `ds_gone`"
    )]
    DsThere {
        /// The zone.
        zone: String,
        /// The record's data.
        ds: String,
        /// Its time to live.
        ttl: u64,
    },
    /// A key can't be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The database failed, or a row can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The zones of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Zones(Arc<Inner>);

struct Inner {
    store: Store,
    key: KeyRing,
    config: DnsConfig,
    answers: Arc<Answers>,
    /// Asks what others serve.
    lookup: Lookup,
    /// This process as a name server; none when it does not listen.
    server: Option<Own>,
    /// The version of the zones that is answered.
    seen: Mutex<i64>,
    /// Tells that it is another one now.
    changed: Notify,
}

/// This process as a name server.
struct Own {
    id: String,
    addresses: Vec<SocketAddr>,
}

impl Zones {
    /// Loads every zone and answers for them, where the settings say so.
    ///
    /// # Errors
    /// When an address can't be had or the database failed.
    pub async fn start(
        store: Store,
        key: KeyRing,
        config: DnsConfig,
        lookup: Lookup,
    ) -> Result<(Self, Option<Server>), ZonesStartError> {
        let answers = Arc::new(Answers::new(config.keys.clone()));
        let listening = !config.listen.is_empty();
        let server = match listening {
            true => Some(Server::start(&config.server(), Arc::clone(&answers)).await?),
            false => None,
        };
        let own = server.as_ref().map(|server| Own {
            id: common::secret::Secret::random("ns_").reveal().to_owned(),
            addresses: server.addresses().to_vec(),
        });
        let zones = Self(Arc::new(Inner {
            store,
            key,
            config,
            answers,
            lookup,
            server: own,
            seen: Mutex::new(-1),
            changed: Notify::new(),
        }));
        zones.refresh().await?;
        Ok((zones, server))
    }

    /// Where this process answers.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.0.server.as_ref().map_or(&[], |own| &own.addresses)
    }

    /// The processes that answer.
    ///
    /// # Errors
    /// When the database failed.
    pub async fn name_servers(&self) -> Result<Vec<NameServer>, StoreError> {
        let version = self.0.store.zone_version().await?;
        let rows = self.0.store.name_servers().await?;
        let shown = |row: crate::store::name_servers::NameServerRow| NameServer {
            addresses: row.addresses,
            current: row.version >= version,
        };
        Ok(rows.into_iter().map(shown).collect())
    }
}

/// Why the DNS server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ZonesStartError {
    /// An address can't be had.
    #[error("the DNS server has no address: {0}; choose another with the setting dns.listen")]
    Listen(#[from] BindError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}
