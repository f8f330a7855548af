//! The folder in which builds and apps work: one that their unprivileged user can really reach.

use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use sandbox::{Exit, Limits, Mount, Network, Sandbox, Spec};

use super::folder::DataFolder;

/// Where the folder lies when the data folder can't be reached: it survives restarts of the machine, because
/// caches and fetched tools are in it.
const ELSEWHERE: &str = "/var/tmp";
/// File of the name of that folder, which is not to be guessed.
const NAME: &str = "work-folder-name";
/// Others may pass through, not look.
const PASSABLE: u32 = 0o711;
/// A trial that takes longer has failed.
const TRIAL: Duration = Duration::from_secs(10);

/// Finds the folder. Root's builds run as a user who owns nothing: where the sandbox can't bind files past folders
/// that are closed to that user (a data folder below `/root` in a container), it lies elsewhere.
///
/// # Errors
/// When no folder can be made.
pub async fn folder(data: &DataFolder, sandbox: &Sandbox) -> anyhow::Result<PathBuf> {
    let root = rustix::process::geteuid().is_root();
    let folder = data.work(root)?;
    let Err(reason) = try_out(sandbox, &folder).await else { return Ok(folder) };
    if root {
        let other = elsewhere(data)?;
        if try_out(sandbox, &other).await.is_ok() {
            tracing::warn!(
                folder = %other.display(),
                "builds work outside the data folder, which their user can't reach: folders above it are closed"
            );
            return Ok(other);
        }
    }
    tracing::error!(folder = %folder.display(), reason, "builds and apps will fail: the sandbox can't use their folder");
    Ok(folder)
}

fn elsewhere(data: &DataFolder) -> anyhow::Result<PathBuf> {
    let path = Path::new(ELSEWHERE).join(data.random(NAME, "astrocloud-")?.reveal());
    let cannot = || format!("the work folder {} can't be made", path.display());
    std::fs::DirBuilder::new().recursive(true).mode(PASSABLE).create(&path).with_context(cannot)?;
    let meta = std::fs::symlink_metadata(&path).with_context(cannot)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        anyhow::bail!("{} belongs to somebody else: remove it", path.display());
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(PASSABLE)).with_context(cannot)?;
    Ok(path)
}

/// Runs a command that writes below the folder. The error is a reason for people.
async fn try_out(sandbox: &Sandbox, folder: &Path) -> Result<(), String> {
    let trial = tempfile::Builder::new().prefix("trial-").tempdir_in(folder).map_err(|e| e.to_string())?;
    let inside = sandbox.place(trial.path(), Path::new("/trial"));
    let spec = Spec {
        argv: ["/bin/sh", "-c", ": > \"$1/reached\"", "trial", &inside.to_string_lossy()].map(str::to_owned).into(),
        cwd: inside.clone(),
        env: Vec::new(),
        mounts: vec![Mount { source: trial.path().to_owned(), target: inside, writable: true }],
        limits: Limits {
            wall: Some(TRIAL),
            memory: 256 << 20,
            processes: 32,
            file_size: 1 << 20,
            disk: None,
            open_files: 64,
        },
        network: Network::Host,
    };
    let exit = match sandbox.spawn(spec) {
        Ok(mut running) => running.wait().await,
        Err(e) => return Err(e.to_string()),
    };
    if exit == Exit::Code(0) && trial.path().join("reached").exists() { Ok(()) } else { Err(exit.to_string()) }
}
