//! A data folder: one process at a time has it, and nobody else on the machine can look into it.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use common::secret::Secret;
use url::Url;

/// An open data folder. It is locked until this is dropped or the process ends, however it ends.
pub struct DataFolder {
    path: PathBuf,
    /// What all roles of an installation share lies here, where no service is named for it.
    shared: Option<PathBuf>,
    /// Held by who changes what is in the folder.
    _lock: Option<File>,
}

impl DataFolder {
    /// Takes the folder, which is made when there is none. What roles share lies in `shared`, or in the folder too.
    ///
    /// # Errors
    /// When another process has it, or it can't be used.
    pub fn open(path: &Path, shared: Option<&Path>) -> anyhow::Result<Self> {
        let usable = |path: &Path| {
            let cannot = || format!("the data folder {} can't be used", path.display());
            make_private(path).with_context(cannot)?;
            path.canonicalize().with_context(cannot)
        };
        let path = usable(path)?;
        let lock = lock(&path)?;
        Ok(Self { path, shared: shared.map(usable).transpose()?, _lock: Some(lock) })
    }

    /// Looks into a folder that a process has, or had: a running one keeps it.
    ///
    /// # Errors
    /// When it is not there or can't be used.
    pub fn look(path: &Path, shared: Option<&Path>) -> anyhow::Result<Self> {
        let usable = |path: &Path| path.canonicalize().with_context(|| format!("{} can't be used", path.display()));
        Ok(Self { path: usable(path)?, shared: shared.map(usable).transpose()?, _lock: None })
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Address of the object store that is a folder.
    pub fn objects_url(&self) -> anyhow::Result<Url> {
        let folder = self.shared("objects")?;
        Url::from_directory_path(&folder).map_err(|()| anyhow::anyhow!("{} is no absolute path", folder.display()))
    }

    /// A folder of one part, that nobody else can look into.
    pub fn private(&self, name: &str) -> anyhow::Result<PathBuf> {
        private(&self.path, name)
    }

    /// Such a folder that all roles share.
    pub fn shared(&self, name: &str) -> anyhow::Result<PathBuf> {
        private(self.shared.as_ref().unwrap_or(&self.path), name)
    }

    /// Whether what roles share lies outside of the folder, where other processes use it too.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// The folder in which builds and apps work. When they run as another user (`passable`), that user can pass
    /// through to it, but not look; what lies beside stays private.
    pub fn work(&self, passable: bool) -> anyhow::Result<PathBuf> {
        let folder = self.private("deployer")?;
        let mode = if passable { 0o711 } else { 0o700 };
        for path in [&self.path, &folder] {
            std::fs::set_permissions(path, Permissions::from_mode(mode))
                .with_context(|| format!("the permissions of {} can't be set", path.display()))?;
        }
        Ok(folder)
    }

    /// A random text that is kept in a file, the same after every start.
    pub fn random(&self, file: &str, prefix: &str) -> anyhow::Result<Secret> {
        let path = self.path.join(file);
        let cannot = || format!("{} can't be used", path.display());
        match std::fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => {
                anyhow::bail!("{} is empty: delete it, and a new one is made", path.display())
            }
            Ok(text) => Ok(Secret::new(text.trim())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let text = Secret::random(prefix);
                put_secret(&path, &text).with_context(cannot)?;
                Ok(text)
            }
            Err(e) => Err(e).with_context(cannot),
        }
    }

    /// Writes a secret of the installation, for parts that run elsewhere.
    pub fn tell(&self, file: &str, secret: &Secret) -> anyhow::Result<()> {
        let path = self.path.join(file);
        put_secret(&path, secret).with_context(|| format!("{} can't be written", path.display()))
    }
}

fn private(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    make_private(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    Ok(folder)
}

/// Makes a folder that nobody else can look into, unless it is there.
///
/// # Errors
/// When it can't be made.
pub fn make_private(folder: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let cannot = || format!("{} can't be opened", path.display());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            file.read_to_string(&mut owner).with_context(cannot)?;
            anyhow::bail!(
                "the data folder {} is in use by another platform (process {}): stop that one, or choose another folder \
                 with --data-dir",
                folder.display(),
                owner.trim()
            );
        }
        Err(TryLockError::Error(e)) => return Err(e).with_context(cannot),
    }
    let mut write = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write().with_context(cannot)?;
    Ok(file)
}

/// Writes a secret for the owner only: whole or not there, whenever the process dies.
///
/// # Errors
/// When it can't be written.
pub fn put_secret(path: &Path, secret: &Secret) -> std::io::Result<()> {
    // Temporary files have mode 0600, and renaming keeps it.
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    writeln!(file, "{}", secret.reveal())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
