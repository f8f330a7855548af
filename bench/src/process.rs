//! A server under measurement: a process with its children, what they use, and their end.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// Longest wait until a server accepts connections. Caddy and HAProxy read 100,000 hosts in some seconds.
const READY: Duration = Duration::from_secs(60);
/// Pause between looks whether it does.
const LOOK: Duration = Duration::from_millis(10);
/// Longest wait for a server to end after SIGTERM.
const END: Duration = Duration::from_secs(3);
/// Ticks a second in which `/proc` counts time, on every Linux (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;
/// Descriptors that 10,000 connections need, of a server and of this program as its client, with room to spare.
const DESCRIPTORS: u64 = 16_000;

/// What is started.
pub struct Launch {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// A running server.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a server whose output goes to `log`.
    pub fn start(launch: &Launch, log: PathBuf) -> anyhow::Result<Self> {
        let out = fs::File::create(&log)?;
        let child = Command::new(&launch.program)
            .args(&launch.args)
            .envs(launch.env.iter().map(|(name, value)| (name, value)))
            // What a server says when it fails is shown in reports.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} can't be started", launch.program.display()))?;
        Ok(Self { child, log })
    }

    /// Waits until it accepts connections at all these addresses.
    pub async fn ready(&mut self, addresses: &[SocketAddr]) -> anyhow::Result<()> {
        let begun = Instant::now();
        for address in addresses {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = self.child.try_wait()? {
                    bail!("it ended at once, {status}: {}", self.said());
                }
                if begun.elapsed() > READY {
                    bail!("nothing listens at {address} after {} s: {}", READY.as_secs(), self.said());
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// What it wrote, for an error's message; the last part when it is much.
    pub fn said(&self) -> String {
        const MOST: usize = 2000;
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(MOST);
        text.get(from..).unwrap_or(&text).trim().to_owned()
    }

    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// CPU time that it and its children have used so far, user and system.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(cpu_of_tree(self.pid()?)?)
    }

    /// Memory of it and its children in bytes; what they share counts once.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let mut sum = 0;
        for pid in tree(self.pid()?)? {
            // A process may end while this looks.
            sum += proportional_bytes(pid).unwrap_or(0);
        }
        Ok(sum)
    }

    /// Sends a signal to the process itself.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("no process has number 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it, with force when it does not end by itself.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if self.child.id().is_some() {
            self.signal(Signal::TERM)?;
            if tokio::time::timeout(END, self.child.wait()).await.is_err() {
                self.kill().await?;
            }
        }
        Ok(())
    }

    /// Ends it at once, its children too.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.kill_tree();
        self.child.wait().await?;
        Ok(())
    }

    /// Workers of nginx and Varnish live on when only their master is killed.
    fn kill_tree(&self) {
        for pid in self.child.id().and_then(|pid| tree(pid).ok()).unwrap_or_default() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_tree();
    }
}

/// A port that is free now.
pub async fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()
}

/// Allows this process, and those that it starts, as many descriptors as the measurements need.
pub fn allow_descriptors() -> anyhow::Result<()> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= DESCRIPTORS) {
        return Ok(());
    }
    let most = now.maximum.map_or(DESCRIPTORS, |most| most.max(DESCRIPTORS));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: Some(most) }).is_ok() {
        return Ok(());
    }
    // Only root may raise the hard limit.
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum })?;
    if now.maximum.is_some_and(|most| most < DESCRIPTORS) {
        eprintln!("only {:?} descriptors are allowed: 10,000 connections may not fit", now.maximum);
    }
    Ok(())
}

/// Where a program is: `BENCH_PROGRAM` in the environment, the search path, and where root's tools and those of
/// cargo and pip lie.
pub fn find(program: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(format!("BENCH_{}", program.to_uppercase())) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let more = ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(PathBuf::from);
    let own = home.iter().flat_map(|home| [home.join(".cargo/bin"), home.join(".local/bin")]);
    std::env::split_paths(&path).chain(more).chain(own).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// A process and all that descend from it.
fn tree(root: u32) -> io::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|s| Stat::parse(&s)) {
            children.entry(parent.parent).or_default().push(pid);
        }
    }
    let mut all = vec![root];
    let mut at = 0;
    while let Some(pid) = all.get(at).copied() {
        all.extend(children.get(&pid).into_iter().flatten());
        at += 1;
    }
    Ok(all)
}

fn cpu_of_tree(root: u32) -> io::Result<Duration> {
    let mut ticks = 0;
    for pid in tree(root)? {
        if let Some(stat) = read_stat(Path::new(&format!("/proc/{pid}/stat"))) {
            ticks += stat.ticks;
        }
    }
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

fn read_stat(path: &Path) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(path).ok()?)
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of the process, and of its children that have ended and were waited for.
    ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name stands in parentheses and may hold any character.
        let (_, after) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // Field 3 of the manual, the state, is the first here.
        let parent = fields.get(1)?.parse().ok()?;
        Some(Self { parent, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
    }
}

fn proportional_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_process_name_may_hold_spaces_and_parentheses() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194304 99 0 0 0 20 5 2 1 20 0 1 0 1323004 3133440 360";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 3, ticks: 28 }));
        assert_eq!(Stat::parse("7 (a"), None);
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_tells_why() {
        let folder = tempfile::tempdir().unwrap();
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), "echo no configuration >&2; exit 3".into()],
            env: Vec::new(),
        };
        let mut process = Process::start(&launch, folder.path().join("log")).unwrap();
        let address = free_port().await.unwrap();
        let error = process.ready(&[address]).await.unwrap_err().to_string();
        assert!(error.contains("no configuration"), "{error}");
    }

    #[tokio::test]
    async fn the_work_of_children_counts() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; echo done; sleep 60";
        let launch = Launch { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()], env: Vec::new() };
        let process = Process::start(&launch, folder.path().join("log")).unwrap();
        while !process.said().contains("done") {
            tokio::task::yield_now().await;
        }
        assert!(process.cpu().unwrap() > Duration::ZERO);
        assert!(process.memory().unwrap() > 0);
        process.stop().await.unwrap();
    }
}
