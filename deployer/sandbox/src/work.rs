//! The host's folders of one sandbox.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Level;
use crate::helper::outer;

/// How the names of our folders in the host's `/tmp` begin; the platform's pid follows.
const PREFIX: &str = "astrocloud-sandbox-";

/// The host's folders of one sandbox; removed with it.
pub(crate) struct Work {
    folder: TempDir,
    /// Empty, to mount on.
    staging: PathBuf,
    /// What stands in for `/tmp`, where that cannot be private.
    tmp: Option<PathBuf>,
}

impl Work {
    pub(crate) fn make(level: Level, run_as: Option<(u32, u32)>) -> io::Result<Self> {
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(base(run_as))?;
        // The unprivileged user has to pass through.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711))?;
        let staging = folder.path().join("staging");
        fs::create_dir_all(outer::root_below(&staging))?;
        for folder in [staging.clone(), outer::root_below(&staging)] {
            fs::set_permissions(folder, PermissionsExt::from_mode(0o755))?;
        }
        let tmp = if level.remaps() {
            None
        } else {
            let tmp = folder.path().join("tmp");
            fs::create_dir(&tmp)?;
            fs::set_permissions(&tmp, PermissionsExt::from_mode(0o700))?;
            Some(tmp)
        };
        Ok(Self { folder, staging, tmp })
    }

    /// An empty folder to mount on.
    pub(crate) fn staging(&self) -> PathBuf {
        self.staging.clone()
    }

    /// A name that no other sandbox has.
    pub(crate) fn name(&self) -> String {
        self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The folder that stands in for `/tmp`.
    pub(crate) fn tmp(&self) -> Option<&Path> {
        self.tmp.as_deref()
    }

    /// Removes the folders, also those that the command has locked. Blocking.
    pub(crate) fn remove(self) {
        if let Some(tmp) = &self.tmp {
            // Takes back the right to list, without which nothing can be removed.
            let _ = crate::walk::walk(tmp, &mut |_| ());
        }
        let _ = self.folder.close();
    }
}

/// Removes the folders that platforms left behind when they were killed. Blocking.
pub(crate) fn sweep_left_behind() {
    let own = nix::unistd::geteuid().as_raw();
    for entry in bases().into_iter().flat_map(fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let Some(pid) = owner.filter(|pid| *pid != std::process::id()) else { continue };
        let ours = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == own);
        if ours && !Path::new(&format!("/proc/{pid}")).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where our folders may be: the second and third for when the platform's own place for temporary files is closed to
/// the unprivileged user.
fn bases() -> [PathBuf; 3] {
    [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()]
}

/// The best place for temporary folders that the unprivileged user has to reach.
pub(crate) fn base(run_as: Option<(u32, u32)>) -> PathBuf {
    let open = |base: &PathBuf| run_as.is_none_or(|user| closed_to(base, user).is_none());
    bases().into_iter().find(open).unwrap_or_else(std::env::temp_dir)
}

/// The first folder on the way to `path`, itself included if it is one, that a user cannot pass through.
pub(crate) fn closed_to(path: &Path, (uid, gid): (u32, u32)) -> Option<PathBuf> {
    let mut way: Vec<_> = path.ancestors().collect();
    way.reverse();
    let closed = |folder: &&Path| {
        fs::metadata(folder).is_ok_and(|found| {
            let passing = match (found.uid() == uid, found.gid() == gid) {
                (true, _) => 0o100,
                (false, true) => 0o010,
                (false, false) => 0o001,
            };
            found.is_dir() && found.mode() & passing == 0
        })
    };
    way.into_iter().find(closed).map(Path::to_path_buf)
}
