//! The keys of session tickets on disk, and keys of an edge's own while it is told none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::certificate::TicketKey;
use common::secret::{MasterKey, Secret};
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{KeyError, LIFETIME, Tickets, random_key};
use crate::file;

const NAME: &str = "ticket-keys";
/// How long a key of the edge's own seals: half of a ticket's life, so that of three keys the oldest opens nothing
/// any more.
const ROLL: Duration = Duration::from_secs(6 * 60 * 60);
/// How long the last key of the control plane seals when it tells no other. Beyond, forward secrecy is worth more
/// than tickets that other edges open.
const LONGEST: Duration = Duration::from_secs(48 * 60 * 60);

/// What is on disk, sealed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Kept {
    /// Whether the edge made the newest itself.
    own: bool,
    keys: Vec<TicketKey>,
}

/// Keeps the keys of session tickets on disk, sealed, so that sessions are resumed after a restart; makes keys of
/// its own while it is told none. Its calls write to disk, a few hundred bytes.
#[derive(Debug)]
pub struct TicketKeeper {
    tickets: Arc<Tickets>,
    folder: PathBuf,
    master: Sealer,
    kept: Kept,
}

/// The key that seals what is on disk; not shown.
struct Sealer(MasterKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl TicketKeeper {
    /// Keys as they are in a folder; new ones when there are none that can be used.
    ///
    /// # Errors
    /// Never in practice: when keys that were just made can't be used.
    pub fn open(folder: PathBuf, master: MasterKey) -> Result<Self, KeyError> {
        let now = Timestamp::now();
        let kept = load(&folder, &master);
        let (kept, tickets, is_new) = match Tickets::new(&kept.keys) {
            Ok(tickets) => (kept, tickets, false),
            Err(e) => {
                if e != KeyError::None {
                    tracing::error!(error = %e, "the kept keys of session tickets can't be used and are made anew");
                }
                let keys = vec![random_key(now)];
                let tickets = Tickets::new(&keys)?;
                (Kept { own: true, keys }, tickets, true)
            }
        };
        let mut keeper = Self { tickets, folder, master: Sealer(master), kept };
        if is_new {
            keeper.save();
        }
        keeper.roll(now);
        Ok(keeper)
    }

    /// What seals and opens with the keys.
    #[must_use]
    pub fn tickets(&self) -> Arc<Tickets> {
        Arc::clone(&self.tickets)
    }

    /// Uses and keeps the keys that the control plane tells. None means that it has none yet.
    ///
    /// # Errors
    /// When one can't be used; then all stays as it is.
    pub fn told(&mut self, keys: &[TicketKey]) -> Result<(), KeyError> {
        if keys.is_empty() || (!self.kept.own && self.kept.keys == keys) {
            return Ok(());
        }
        self.tickets.replace(keys)?;
        self.kept = Kept { own: false, keys: keys.to_vec() };
        self.save();
        Ok(())
    }

    /// Makes a new key when the newest has sealed for long enough. To be called every few minutes.
    pub fn roll(&mut self, now: Timestamp) {
        let longest = if self.kept.own { ROLL } else { LONGEST };
        let newest = self.kept.keys.iter().map(|key| key.since).max();
        if newest.is_some_and(|since| now.since(since) <= longest) {
            return;
        }
        let mut keys = std::mem::take(&mut self.kept.keys);
        // The newest still opens what it sealed; what is older than that opens as long as its tickets live.
        keys.retain(|key| Some(key.since) == newest || now.since(key.since) <= LIFETIME + longest);
        keys.push(random_key(now));
        if let Err(e) = self.tickets.replace(&keys) {
            tracing::error!(error = %e, "the keys of session tickets can't be rolled");
        }
        if !self.kept.own {
            tracing::warn!("the control plane tells no new keys of session tickets: this edge makes its own");
        }
        self.kept = Kept { own: true, keys };
        self.save();
    }

    /// Without a file the keys are good for this run only, so a failure is no reason to end.
    fn save(&self) {
        let written = serde_json::to_string(&self.kept)
            .map_err(io::Error::other)
            .and_then(|text| file::write(&self.folder.join(NAME), self.master.0.seal(&Secret::new(text)).as_bytes()));
        if let Err(e) = written {
            tracing::error!(error = %e, folder = %self.folder.display(), "keys of session tickets can't be written");
        }
    }
}

fn load(folder: &Path, master: &MasterKey) -> Kept {
    let path = folder.join(NAME);
    let sealed = match fs::read_to_string(&path) {
        Ok(sealed) => sealed,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Kept::default(),
        Err(e) => {
            tracing::error!(error = %e, path = %path.display(), "the kept keys of session tickets can't be read");
            return Kept::default();
        }
    };
    let opened = master.open(&sealed).map_err(|e| e.to_string());
    let kept = opened.and_then(|text| serde_json::from_str(text.reveal()).map_err(|e| e.to_string()));
    kept.unwrap_or_else(|reason| {
        tracing::error!(reason, path = %path.display(), "the kept keys of session tickets are damaged");
        Kept::default()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rustls::server::ProducesTickets as _;

    fn master(folder: &Path) -> MasterKey {
        MasterKey::load_or_create(&folder.join("key")).unwrap()
    }

    fn open(folder: &Path) -> TicketKeeper {
        TicketKeeper::open(folder.to_owned(), master(folder)).unwrap()
    }

    #[test]
    fn tickets_open_after_a_restart_with_the_edges_own_keys_and_with_told_ones() {
        let folder = tempfile::tempdir().unwrap();
        let ticket = open(folder.path()).tickets().encrypt(b"own").unwrap();
        let mut again = open(folder.path());
        assert_eq!(again.tickets().decrypt(&ticket).unwrap(), b"own");

        let told = [random_key(Timestamp::now())];
        again.told(&[]).unwrap();
        again.told(&told).unwrap();
        let ticket = Tickets::new(&told).unwrap().encrypt(b"told").unwrap();
        assert_eq!(again.tickets().decrypt(&ticket).unwrap(), b"told");
        assert_eq!(open(folder.path()).tickets().decrypt(&ticket).unwrap(), b"told");
    }

    #[test]
    fn keys_on_disk_are_sealed_and_a_damaged_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let told = [random_key(Timestamp::now())];
        open(folder.path()).told(&told).unwrap();
        let path = folder.path().join(NAME);
        assert!(!fs::read_to_string(&path).unwrap().contains(told[0].key.reveal()));
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o600);
        fs::write(&path, "damaged").unwrap();
        let ticket = open(folder.path()).tickets().encrypt(b"x").unwrap();
        assert!(open(folder.path()).tickets().decrypt(&ticket).is_some());
    }

    #[test]
    fn own_keys_are_rolled_and_the_last_one_still_opens() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = open(folder.path());
        let first = keeper.kept.keys[0].clone();
        let now = first.since;
        keeper.roll(now.after(ROLL));
        assert_eq!(keeper.kept.keys.len(), 1, "it is not yet time");
        for rolls in 1..10 {
            keeper.roll(now.after((ROLL + Duration::from_secs(1)) * rolls));
            assert!(keeper.kept.keys.len() <= 4, "{}", keeper.kept.keys.len());
            assert_eq!(keeper.kept.keys.contains(&first), rolls <= 2, "after {rolls} rolls");
        }
    }

    #[test]
    fn a_control_plane_that_is_silent_for_days_leaves_the_edge_to_its_own_keys() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = open(folder.path());
        let now = Timestamp::now();
        let told = [random_key(now)];
        keeper.told(&told).unwrap();
        keeper.roll(now.after(LONGEST));
        assert!(!keeper.kept.own);
        keeper.roll(now.after(LONGEST + Duration::from_secs(1)));
        assert!(keeper.kept.own && keeper.kept.keys.len() == 2);
        keeper.told(&told).unwrap();
        assert!(!keeper.kept.own && keeper.kept.keys.len() == 1);
    }
}
