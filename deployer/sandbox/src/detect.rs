//! Finding the strongest sandbox, by running a canary in each.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::cgroup::Base;
use crate::network::Connector;
use crate::{Exit, Level, Limits, Mount, Network, Spec, work};

/// How long a canary may live. A healthy one lives for some tens of milliseconds.
const CANARY: Duration = Duration::from_secs(15);

/// Bytes of a canary's output that are read.
const CANARY_OUTPUT: u64 = 4096;

/// The user and group that commands run as when the platform runs as root: "nobody", which owns nothing.
const NOBODY: (u32, u32) = (65534, 65534);

/// What the operator may choose.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Levels that must not be used. [`Level::None`] is used all the same when nothing else is left.
    pub forbid: Vec<Level>,
    /// The user and group id that commands run as when the platform runs as root; 65534 and 65534 if not given.
    /// Root itself is refused: root escapes limits.
    pub run_as: Option<(u32, u32)>,
    /// Whether to keep limits only by watching, as on a host where no control groups can be made.
    pub without_groups: bool,
}

/// The strongest sandbox of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub level: Level,
    pub findings: Vec<String>,
    pub helper: PathBuf,
    pub run_as: Option<(u32, u32)>,
    pub base: Base,
    pub connector: Option<Connector>,
}

impl Sandbox {
    /// Tries levels from strongest. Each is proven by really running a canary in it, with a deadline.
    ///
    /// `helper` is the path of the executable that, called as `helper sandbox-exec …`, calls
    /// [`helper_main`](crate::helper_main). Takes under a second on a healthy host.
    pub async fn detect(helper: PathBuf, options: Options) -> Self {
        let root = nix::unistd::geteuid().is_root();
        let wanted = options.run_as.filter(|(uid, gid)| *uid != 0 && *gid != 0).unwrap_or(NOBODY);
        let base = tokio::task::spawn_blocking(|| {
            work::sweep_left_behind();
            Base::find()
        });
        let base = base.await.unwrap_or_default();
        let mut found = Inner {
            level: Level::None,
            findings: Vec::new(),
            helper: std::path::absolute(&helper).unwrap_or(helper),
            run_as: root.then_some(wanted),
            base: if options.without_groups { Base::default() } else { base },
            connector: None,
        };
        for level in Level::ALL {
            if options.forbid.contains(&level) && level != Level::None {
                found.findings.push(format!("{} is switched off by a setting", level.slug()));
                continue;
            }
            let candidate = Inner { level, ..found.clone() };
            match canary(candidate, Network::Host).await {
                Ok(()) => {
                    found.level = level;
                    break;
                }
                Err(reason) => found.findings.push(format!("{} does not work here: {reason}", level.slug())),
            }
        }
        connect(&mut found).await;
        match found.base.keeps() {
            (true, true) => {}
            (memory, processes) => {
                let what = match (memory, processes) {
                    (false, false) => "memory and process limits are",
                    (false, true) => "the memory limit is",
                    _ => "the process limit is",
                };
                let why = if options.without_groups { "are switched off by a setting" } else { "cannot be made here" };
                found.findings.push(format!("control groups {why}: {what} kept by watching four times a second"));
            }
        }
        Self { inner: Arc::new(found) }
    }

    /// The level that commands run at.
    #[must_use]
    pub fn level(&self) -> Level {
        self.inner.level
    }

    /// Why there is nothing stronger, one sentence each; for the start banner. Empty on a host that has everything.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.inner.findings
    }

    /// The path that a mount has inside: `wanted`, or, at levels that cannot remap, `source` as it is.
    #[must_use]
    pub fn place(&self, source: &Path, wanted: &Path) -> PathBuf {
        if self.inner.level.remaps() { wanted.to_path_buf() } else { source.to_path_buf() }
    }
}

/// Finds a way to connect private networks to the outside, if there is any.
async fn connect(found: &mut Inner) {
    let shared = "so commands share the host's network and can reach services on its loopback";
    if !found.level.remaps() {
        found.findings.push(format!("{} has no network of its own, {shared}", found.level.slug()));
        return;
    }
    let mut reasons = String::new();
    for connector in Connector::all() {
        if !connector.installed() {
            let _ = write!(reasons, "{} is not installed, ", connector.program());
            continue;
        }
        let candidate = Inner { connector: Some(connector), ..found.clone() };
        match canary(candidate, Network::Outbound).await {
            Ok(()) => {
                found.connector = Some(connector);
                return;
            }
            Err(reason) => {
                let _ = write!(reasons, "{} does not work here: {reason}, ", connector.program());
            }
        }
    }
    found.findings.push(format!("{reasons}{shared}"));
}

/// What the canary does: write where it may, fail to read where it may not, look at its network.
const SCRIPT: &str = r#"
printf sings > "$1/canary" || exit 3
if [ "$3" = hidden ] && cat "$2" 2>/dev/null; then echo "the host's files are visible" >&2; exit 4; fi
if [ "$4" = private ] && ! grep -q tap0 /proc/net/dev; then echo "the network is not connected" >&2; exit 5; fi
printf ready
"#;

/// Runs the canary. The error is a reason for people.
async fn canary(candidate: Inner, network: Network) -> Result<(), String> {
    let sandbox = Sandbox { inner: Arc::new(candidate) };
    let level = sandbox.level();
    let prepare = || {
        let folder = tempfile::tempdir_in(work::base(sandbox.inner.run_as))?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let (nest, secret) = (folder.path().join("nest"), folder.path().join("secret"));
        std::fs::create_dir(&nest)?;
        std::fs::write(&secret, "secret")?;
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o644))?;
        std::io::Result::Ok((folder, nest, secret))
    };
    let (_folder, nest, secret) = prepare().map_err(|error| format!("cannot prepare a trial: {error}"))?;
    let inside = sandbox.place(&nest, Path::new("/nest"));
    let hidden = if level == Level::None { "visible" } else { "hidden" };
    let private = if network == Network::Outbound { "private" } else { "shared" };
    let argv =
        ["/bin/sh", "-c", SCRIPT, "canary", &inside.to_string_lossy(), &secret.to_string_lossy(), hidden, private];
    let spec = Spec {
        argv: argv.map(String::from).into(),
        cwd: inside.clone(),
        env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
        mounts: vec![Mount { source: nest.clone(), target: inside, writable: true }],
        limits: Limits {
            wall: Some(CANARY),
            memory: 512 << 20,
            processes: 64,
            file_size: 1 << 20,
            disk: None,
            open_files: 256,
        },
        network,
    };
    let mut running = sandbox.spawn(spec).map_err(|error| error.to_string())?;
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    let (said, complained, exit) = tokio::join!(read(stdout), read(stderr), running.wait());
    let sang = std::fs::read(nest.join("canary")).is_ok_and(|text| text == b"sings");
    if exit == Exit::Code(0) && said == "ready" && sang {
        return Ok(());
    }
    Err(match complained.lines().next() {
        Some(line) => line.trim_start_matches("sandbox: ").to_owned(),
        None => format!("a trial failed: {exit}"),
    })
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.take(CANARY_OUTPUT).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
