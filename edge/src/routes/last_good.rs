//! The last good routes on disk, so that the edge starts and serves with the control plane down.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::route::FeedMessage;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Building, Routes, Table};

/// One message of the feed a line: parts of a snapshot, and in the end the snapshot itself.
const NAME: &str = "routes.jsonl";
/// How the file ends before it is whole; in front of that stands a number of its own for each write, because two edges
/// write while one takes over from the other.
const NEW: &str = ".new";
/// Where a file that can't be read is put, for whoever wants to know why.
const DAMAGED_NAME: &str = "routes.jsonl.damaged";
/// Shortest time between two writes: a burst of changes is written once. A crash loses at most the changes
/// of this time, which the control plane tells again.
const PAUSE: Duration = Duration::from_secs(1);
/// The same as a multiple of the time that the last write took: a large table that changes all the time is written for
/// a twentieth of the time at most.
const PAUSE_FACTOR: u32 = 20;
/// Bytes read or written at once.
const BUFFER: usize = 64 << 10;

/// The last good routes of a folder; the unknown table when there are none.
pub(crate) fn load(folder: &Path) -> Table {
    let path = folder.join(NAME);
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Table::unknown(),
        Err(e) => {
            tracing::error!(error = %e, path = %path.display(), "the last good routes can't be read");
            return Table::unknown();
        }
    };
    match read(BufReader::with_capacity(BUFFER, file)) {
        Ok(table) => table,
        Err(e) => {
            let aside = folder.join(DAMAGED_NAME);
            tracing::error!(error = %e, aside = %aside.display(), "the last good routes are damaged and set aside");
            if let Err(e) = fs::rename(&path, &aside) {
                tracing::error!(error = %e, path = %path.display(), "the damaged routes can't be set aside");
            }
            Table::unknown()
        }
    }
}

/// Reads line by line, so that a large table is never in memory as text.
fn read(mut from: impl BufRead) -> io::Result<Table> {
    let before = Table::unknown();
    let mut building = Building::after(&before);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice(&line)? {
            FeedMessage::Part(part) => building.add(part),
            FeedMessage::Snapshot(rest) => return Ok(building.finish(rest)),
            FeedMessage::Delta { .. } => return Err(io::Error::other("a change stands among the routes")),
        }
        line.clear();
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn save(folder: &Path, table: &Table) -> io::Result<()> {
    let new = folder.join(format!("{NAME}.{:016x}{NEW}", rand::random::<u64>()));
    let mut file = BufWriter::with_capacity(BUFFER, fs::File::create_new(&new)?);
    let mut write = || {
        for message in table.messages() {
            serde_json::to_writer(&mut file, &message)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        file.get_ref().sync_all()
    };
    write().and_then(|()| fs::rename(&new, folder.join(NAME))).inspect_err(|_| {
        // The failure that is told is the one that led here.
        let _ = fs::remove_file(&new);
    })
}

/// Removes what an edge left that was killed while it wrote. A running one, from which this one takes over, at most
/// fails to write once.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME) && name.ends_with(NEW)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Writes the routes to disk when they changed.
pub(crate) struct Keeper {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(crate) fn start(folder: PathBuf, routes: Arc<Routes>) -> Self {
        let stop = CancellationToken::new();
        if let Err(e) = remove_unfinished(&folder) {
            tracing::warn!(error = %e, folder = %folder.display(), "routes that were half-written can't be removed");
        }
        // Subscribed here, so that no change from now on is missed.
        let changes = routes.changes();
        let task = tokio::spawn(keep(folder, routes, changes, stop.clone()));
        Self { stop, task: Mutex::new(Some(task)) }
    }

    /// Writes what is not written yet, and ends.
    pub(crate) async fn finish(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take()
            && let Err(e) = task.await
        {
            tracing::error!(error = %e, "the last good routes may not be written");
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep(folder: PathBuf, routes: Arc<Routes>, mut changes: watch::Receiver<()>, stop: CancellationToken) {
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            // The sender lives in `routes`, so this can't fail.
            _ = changes.changed() => {}
            () = stop.cancelled() => {
                stopping = true;
                if !changes.has_changed().unwrap_or(false) {
                    break;
                }
            }
        }
        changes.mark_unchanged();
        let (to, table) = (folder.clone(), Arc::clone(&routes.now()));
        let begun = Instant::now();
        let saved = tokio::task::spawn_blocking(move || save(&to, &table)).await;
        if let Err(e) = saved.map_err(io::Error::other).flatten() {
            tracing::error!(error = %e, folder = %folder.display(), "the last good routes can't be written");
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE.max(begun.elapsed() * PAUSE_FACTOR)) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::id::DeploymentId;
    use common::route::{Route, Snapshot, Target};

    fn table(version: u64) -> Table {
        let route = Route {
            host: "a.localhost".into(),
            project: "a".into(),
            deployment: DeploymentId::new(),
            production: true,
            target: Target::App { upstreams: vec!["127.0.0.1:1".parse().unwrap()], unavailable: None, wakes: false },
            policy: common::route::default_policy(),
        };
        Table::from(Snapshot { version, routes: vec![route], ..Snapshot::default() })
    }

    #[tokio::test]
    async fn routes_are_there_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!load(folder.path()).is_known());
        let routes = Arc::new(Routes::new(Table::unknown()));
        let keeper = Keeper::start(folder.path().to_owned(), Arc::clone(&routes));
        for version in 1..100 {
            routes.replace(table(version));
        }
        keeper.finish().await;
        let again = load(folder.path());
        assert!(again.is_known());
        assert_eq!(again.snapshot(), routes.now().snapshot());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(folder.path().join(format!("{NAME}.0{NEW}")), "half").unwrap();
        Keeper::start(folder.path().to_owned(), routes).finish().await;
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was half-written is gone");
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &table(3)).unwrap();
        let whole = fs::read(folder.path().join(NAME)).unwrap();
        let lines = whole.iter().filter(|b| **b == b'\n').count();
        let first = whole.iter().position(|b| *b == b'\n').unwrap();
        assert_eq!(lines, 2);
        for damaged in [&whole[..40], &whole[..=first], &whole[first..], b""] {
            fs::write(folder.path().join(NAME), damaged).unwrap();
            assert!(!load(folder.path()).is_known());
            assert_eq!(fs::read(folder.path().join(DAMAGED_NAME)).unwrap(), damaged);
            assert!(!folder.path().join(NAME).exists());
        }
    }
}
