//! What the tests share: the levels of this host, and trials of commands in them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sandbox::{Exit, Level, Limits, Mount, Network, Options, Running, Sandbox, Spec};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::OnceCell;

/// The variable whose value tells the processes of one trial from all others.
pub const TOKEN: &str = "TRIAL";

/// How long anything may take before a test gives up: far more than a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where programs are looked up inside.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub const MIB: u64 = 1 << 20;

/// A sandbox for every level that this host offers, strongest first. Found once.
pub async fn levels() -> &'static [Sandbox] {
    static LEVELS: OnceCell<Vec<Sandbox>> = OnceCell::const_new();
    LEVELS
        .get_or_init(|| async {
            let mut found = Vec::new();
            for level in Level::ALL {
                let sandbox = only(level, false).await;
                if sandbox.level() == level {
                    found.push(sandbox);
                } else {
                    println!("not tested here: {:?}", sandbox.findings());
                }
            }
            found
        })
        .await
}

/// The same, and each level once more with its limits kept by watching only.
pub async fn levels_and_without_groups() -> Vec<Sandbox> {
    let mut all = levels().await.to_vec();
    if !has_groups(&all[0]) {
        return all;
    }
    for level in levels().await {
        all.push(only(level.level(), true).await);
    }
    all
}

/// Whether the kernel keeps the limits of this sandbox.
pub fn has_groups(sandbox: &Sandbox) -> bool {
    !sandbox.findings().iter().any(|finding| finding.starts_with("control groups "))
}

/// The sandbox that is found when only one level is allowed.
pub async fn only(level: Level, without_groups: bool) -> Sandbox {
    let forbid = Level::ALL.into_iter().filter(|other| *other != level).collect();
    Sandbox::detect(helper(), Options { forbid, without_groups, ..Options::default() }).await
}

/// The executable that becomes the sandbox's stages.
pub fn helper() -> PathBuf {
    env!("CARGO_BIN_EXE_sandbox-helper").into()
}

/// Whether commands at this level have a file system and processes of their own.
pub fn remaps(level: Level) -> bool {
    matches!(level, Level::Bubblewrap | Level::Namespaces)
}

/// Limits that no well-behaved command of these tests reaches.
pub fn ample() -> Limits {
    Limits { wall: Some(PATIENCE), memory: 1 << 30, processes: 256, file_size: 256 * MIB, disk: None, open_files: 1024 }
}

/// A place to run commands in: a writable folder, a read-only one, and a secret beside them.
pub struct Trial {
    pub sandbox: Sandbox,
    pub limits: Limits,
    pub network: Network,
    folder: TempDir,
    token: String,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Done {
    /// The level, and whether the kernel kept the limits; only named in messages.
    #[allow(dead_code)]
    at: (Level, bool),
    pub exit: Exit,
    pub out: String,
    pub err: String,
}

impl Trial {
    pub fn new(sandbox: &Sandbox) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "fixed"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("secret"), "the host's secret").unwrap();
        fs::write(folder.path().join("fixed/file"), "fixed").unwrap();
        // Open to all, so that nothing but the sandbox keeps anybody from them.
        for (name, mode) in [("", 0o755), ("work", 0o755), ("fixed", 0o755), ("fixed/file", 0o644), ("secret", 0o644)] {
            fs::set_permissions(folder.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let token = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        Self { sandbox: sandbox.clone(), limits: ample(), network: Network::Host, folder, token }
    }

    pub fn level(&self) -> Level {
        self.sandbox.level()
    }

    /// A path of the host: `work`, `fixed` or `secret`, or below them.
    pub fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same path as a command sees it.
    pub fn inside(&self, name: &str) -> String {
        let place = self.sandbox.place(&self.outside(name), &Path::new("/trial").join(name));
        place.to_string_lossy().into_owned()
    }

    pub fn spec<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Spec {
        let mount = |name: &str, writable| Mount {
            source: self.outside(name),
            target: Path::new("/trial").join(name),
            writable,
        };
        Spec {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: self.inside("work").into(),
            env: vec![("PATH".into(), PATH.into()), (TOKEN.into(), self.token.clone())],
            mounts: vec![mount("work", true), mount("fixed", false)],
            limits: self.limits.clone(),
            network: self.network,
        }
    }

    /// Starts a shell script; its arguments are `$1` and so on.
    pub fn start(&self, script: &str, args: &[&str]) -> Running {
        self.sandbox.spawn(self.spec(["sh", "-c", script, "sh"].iter().chain(args).copied())).unwrap()
    }

    /// Runs a shell script to its end.
    pub async fn sh(&self, script: &str, args: &[&str]) -> Done {
        self.finish(self.start(script, args)).await
    }

    /// Runs JavaScript to its end.
    pub async fn node(&self, script: &str, args: &[&str]) -> Done {
        self.run(["node", "-e", script, "--"].iter().chain(args).copied()).await
    }

    /// Runs a command to its end.
    pub async fn run<S: Into<String>>(&self, argv: impl IntoIterator<Item = S>) -> Done {
        self.finish(self.sandbox.spawn(self.spec(argv)).unwrap()).await
    }

    /// Reads a command's output to the last byte, waits for its end, and sees that none of its processes is left.
    pub async fn finish(&self, mut running: Running) -> Done {
        let (out, err) = (running.stdout.take(), running.stderr.take());
        let all = async { tokio::join!(text(out), text(err), running.wait()) };
        let (out, err, exit) = tokio::time::timeout(PATIENCE * 2, all).await.expect("the command never ended");
        let done = Done { at: (self.level(), has_groups(&self.sandbox)), exit, out, err };
        assert_eq!(self.processes(), [""; 0], "left behind by {done:?}");
        std::process::Command::new("true").status().expect("the host can still start processes");
        done
    }

    /// The command lines of all processes of this trial.
    pub fn processes(&self) -> Vec<String> {
        processes_with(&self.token)
    }

    /// Waits until this trial has processes or has none.
    pub async fn until_processes(&self, wanted: bool) {
        until("processes", || self.processes().is_empty() != wanted).await;
    }

    /// The value of [`TOKEN`] in this trial's processes.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// The command lines of all processes of the host that have `token` in their environment.
pub fn processes_with(token: &str) -> Vec<String> {
    let wanted = format!("{TOKEN}={token}").into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted) {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

/// Waits for something of the host that nobody announces.
pub async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Everything that a pipe holds, as text.
pub async fn text(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    from.expect("the pipe was taken").read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The next line of a pipe, without its end; read byte by byte, so that nothing after it is lost.
pub async fn line(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            match from.read_u8().await {
                Ok(b'\n') | Err(_) => return,
                Ok(byte) => bytes.push(byte),
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("no line came");
    String::from_utf8(bytes).unwrap()
}

/// The words of a text, each once.
pub fn words(text: &str) -> BTreeSet<&str> {
    text.split_whitespace().collect()
}
