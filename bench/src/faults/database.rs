//! A platform whose database can't be used any more.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::deploys::platform::Platform;
use crate::deploys::site;

/// The project.
const PROJECT: &str = "kept";
/// How long it is visited.
const VISITED: Duration = Duration::from_secs(5);
/// Longest wait until the platform's API fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Overwrites the database of a running platform, and visits a site of it: how many visitors failed.
pub async fn lost(binary: &Path) -> anyhow::Result<(String, bool)> {
    ensure!(
        binary.is_file(),
        "there is no binary at {}: build it with `make build`, or name it with --binary",
        binary.display()
    );
    let platform = Platform::start(binary).await?;
    let work = tempfile::tempdir()?;
    site::write(work.path(), "kept")?;
    platform.deploy(work.path(), PROJECT).await?;
    overwrite(&platform.data().join("db/astrocloud.db"))?;
    let begun = Instant::now();
    while platform.deployments(PROJECT).await.is_ok() {
        ensure!(begun.elapsed() < PATIENCE, "the API answers on, without its database");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let site = platform.site(PROJECT);
    let (begun, mut good, mut failed) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed() < VISITED {
        let is_good = match site.get().await {
            Ok(answer) => answer.status().is_success() && answer.text().await.is_ok_and(|text| text.contains("kept")),
            Err(_) => false,
        };
        if is_good { good += 1 } else { failed += 1 }
    }
    let text = format!("the API fails; {good} requests of a site, {failed} failed");
    Ok((text, failed == 0 && good > 0))
}

/// Makes every page of an SQLite database unreadable, those in its log too. Its index of the log stays: programs have it
/// in memory as a file, which must not shrink.
fn overwrite(database: &Path) -> anyhow::Result<()> {
    for path in [database.to_owned(), database.with_extension("db-wal")] {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .with_context(|| format!("{} can't be overwritten", path.display()))?;
        let length = usize::try_from(file.metadata()?.len())?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
    }
    Ok(())
}
