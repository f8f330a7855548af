//! Starting a command.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Component, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::mpsc;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::cgroup::Group;
use crate::detect::Inner;
use crate::family::{Family, Leash};
use crate::helper::VERB;
use crate::network::Connect;
use crate::procs::{self, MARKER};
use crate::running::{Killer, Running};
use crate::supervise::Supervisor;
use crate::wire::{Plan, Rlimits};
use crate::work::{Work, closed_to};
use crate::{Level, Network, Sandbox, Spec, view};

/// Bytes of `/tmp` inside, at most, and of `/dev/shm`: as much as installing a large dependency unpacks, and little
/// enough for several builds at once, because it lies in memory. Never more than half of the sandbox's memory.
pub(crate) const TMP_BYTES: u64 = 512 << 20;

/// Processes of our own that the kernel counts with the command's: the outermost, bubblewrap's second, the first inside.
const HELPERS: u64 = 3;

/// How far commands that end stand back for services and for the platform's own answers, which people wait for.
const NICE: i32 = 10;

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no program to run.
    #[error("the command is empty; name a program to run")]
    NoCommand,
    /// A mount's source does not exist or cannot be read.
    #[error("{} cannot be shown to the command: {error}; make sure that it exists", path.display())]
    Mount {
        /// The path on the host.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A path inside is not absolute, or goes up.
    #[error("{} is not a path inside the sandbox; give an absolute path without `..`", path.display())]
    Target {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Without a file system of its own, a command reaches its mounts by the host's paths.
    #[error(
        "commands run as user {uid}, who cannot pass through {}; use another folder, or run the platform as an \
         ordinary user", path.display()
    )]
    Closed {
        /// The folder that is closed.
        path: PathBuf,
        /// The user.
        uid: u32,
    },
    /// A variable's name or value, or an argument, has a character that the system does not take.
    #[error("{what} has a NUL character or an empty or malformed name; correct it")]
    Text {
        /// Which.
        what: String,
    },
    /// Called outside an asynchronous runtime.
    #[error("a command can only be started from inside the tokio runtime that is to watch it")]
    NoRuntime,
    /// The system refused what starting needs: a folder, a socket, a process.
    #[error("the sandbox cannot be started: {0}")]
    System(#[from] io::Error),
}

impl Sandbox {
    /// Starts a command. Returns as soon as the process is there; what goes wrong in setting up the sandbox is told
    /// on the command's stderr, with exit code [`SET_UP_FAILED`](crate::SET_UP_FAILED).
    ///
    /// # Errors
    /// When the spec makes no sense, or the system refuses a process.
    pub fn spawn(&self, spec: Spec) -> Result<Running, SpawnError> {
        let runtime = Handle::try_current().map_err(|_| SpawnError::NoRuntime)?;
        check(&spec, self.level(), self.inner.run_as)?;
        let inner = &self.inner;
        let remaps = inner.level.remaps();
        let work = Work::make(inner.level, inner.run_as)?;
        let connector = inner.connector.filter(|_| spec.network == Network::Outbound && remaps);
        let group = inner.base.make(spec.limits.memory, u64::from(spec.limits.processes) + HELPERS);

        let mut env = spec.env;
        let mut marker = None;
        if let Some(tmp) = work.tmp() {
            for name in ["TMPDIR", "TMP", "TEMP"] {
                env.retain(|(other, _)| other != name);
                env.push((name.into(), tmp.to_string_lossy().into_owned()));
            }
            let value = work.name();
            env.push((MARKER.into(), value.clone()));
            marker = Some(value);
        }
        let mut writable: Vec<_> =
            spec.mounts.iter().filter(|mount| mount.writable).map(|mount| mount.source.clone()).collect();
        writable.extend(work.tmp().map(PathBuf::from));
        let plan = Plan {
            level: inner.level,
            argv: spec.argv,
            cwd: spec.cwd,
            env,
            mounts: spec.mounts,
            rlimits: Rlimits {
                processes: by_user(spec.limits.processes, inner, &group),
                file_size: spec.limits.file_size,
                open_files: spec.limits.open_files,
                nice: if spec.limits.wall.is_some() { NICE } else { 0 },
            },
            run_as: inner.run_as,
            cgroups: group.doors(),
            staging: work.staging(),
            private_tmp: work.tmp().map(PathBuf::from),
            tmp_bytes: TMP_BYTES.min(spec.limits.memory / 2),
            own_network: connector.is_some(),
            resolv_conf: connector.map_or_else(view::resolv_conf, |connector| connector.resolv_conf()),
        };
        let plan = plan.encode()?;

        let (control, theirs) = StdUnixStream::pair()?;
        control.set_nonblocking(true)?;
        let control = UnixStream::from_std(control)?;
        let mut command = Command::new(&inner.helper);
        command.args([VERB, "outer"]).env_clear().current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start(command)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let pid = child.id().ok_or_else(|| io::Error::other("the process ended before it began"))?;

        let (tell, exit) = watch::channel(None);
        let killer = Killer::default();
        let outer = i32::try_from(pid).unwrap_or_default();
        let family = Family { outer, group: group.into(), marker };
        let supervisor = Supervisor {
            leash: Leash(Some(family.clone())),
            family,
            child,
            plan,
            level: inner.level,
            limits: spec.limits,
            writable,
            connect: connector.map(|connector| Connect { connector, pid, run_as: inner.run_as }),
            helper: inner.helper.clone(),
            killer: killer.clone(),
            work,
        };
        runtime.spawn(async move {
            let exit = supervisor.run(control).await;
            tell.send_replace(Some(exit));
        });
        Ok(Running { stdout, stderr, pid, exit, killer })
    }
}

fn check(spec: &Spec, level: Level, run_as: Option<(u32, u32)>) -> Result<(), SpawnError> {
    if spec.argv.first().is_none_or(String::is_empty) {
        return Err(SpawnError::NoCommand);
    }
    if spec.argv.iter().any(|argument| argument.contains('\0')) {
        return Err(SpawnError::Text { what: "an argument".into() });
    }
    for (name, value) in &spec.env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(SpawnError::Text { what: format!("the variable {}", name.replace('\0', "?")) });
        }
    }
    for mount in &spec.mounts {
        fs::metadata(&mount.source).map_err(|error| SpawnError::Mount { path: mount.source.clone(), error })?;
    }
    let targets = spec.mounts.iter().map(|mount| &mount.target).filter(|_| level.remaps());
    for path in targets.chain([&spec.cwd]) {
        let within = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        if !path.is_absolute() || !within {
            return Err(SpawnError::Target { path: path.clone() });
        }
    }
    if let Some(user) = run_as.filter(|_| !level.remaps()) {
        for mount in &spec.mounts {
            // The mount itself is given to that user, if writable.
            let way = if mount.writable { mount.source.parent() } else { Some(&*mount.source) };
            if let Some(path) = way.and_then(|way| closed_to(way, user)) {
                return Err(SpawnError::Closed { path, uid: user.0 });
            }
        }
    }
    Ok(())
}

/// The number for the kernel's own process limit, which counts by user.
fn by_user(processes: u32, inner: &Inner, group: &Group) -> Option<u64> {
    /// Since this release a user namespace has a count of its own.
    const OWN_COUNT: (u32, u32) = (5, 14);
    /// What the same user's other sandboxes may start later. Watching keeps the limit itself; this only bounds a fork
    /// bomb between two looks.
    const OTHERS: u64 = 2000;
    if group.keeps_processes() {
        // Which also tells that it has refused one.
        return None;
    }
    let own = u64::from(processes) + HELPERS;
    if inner.level.remaps() && kernel() >= OWN_COUNT {
        return Some(own);
    }
    let uid = inner.run_as.map_or_else(|| nix::unistd::getuid().as_raw(), |(uid, _)| uid);
    let of_user = |pid: i32| fs::metadata(format!("/proc/{pid}")).is_ok_and(|metadata| metadata.uid() == uid);
    let all = procs::all();
    let now = all.iter().filter(|process| of_user(process.pid)).map(|process| u64::from(process.threads)).sum::<u64>();
    Some(own + now + OTHERS)
}

/// The kernel's major and minor release number; zeros if it does not say.
fn kernel() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// Starts a process from a thread that never ends. A process that asks to die with its parent dies with the *thread*
/// that started it, and the runtime's threads come and go.
pub(crate) fn start(command: Command) -> io::Result<Child> {
    type Job = (Command, Handle, mpsc::Sender<io::Result<Child>>);
    static STARTER: OnceLock<Option<mpsc::Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        let run = move || {
            for (mut command, runtime, answer) in jobs {
                let _inside = runtime.enter();
                let _ = answer.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("sandbox-starter".into()).spawn(run).ok().map(|_| sender)
    });
    let gone = || io::Error::other("there is no thread to start processes from");
    let (sender, answer) = mpsc::channel();
    let job = (command, Handle::current(), sender);
    starter.as_ref().and_then(|starter| starter.send(job).ok()).ok_or_else(gone)?;
    answer.recv().map_err(|_| gone())?
}
