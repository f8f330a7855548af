//! Watching one sandbox from its start until its last process is gone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc::SIGXFSZ;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use crate::cgroup::Group;
use crate::disk::{self, Usage};
use crate::network::{Connection, Connector};
use crate::procs::{self, Process};
use crate::running::{Killer, Request};
use crate::sample::{Judge, Sample, full, look};
use crate::spawn::{TMP_BYTES, Work};
use crate::wire::{GO, REPORT_BYTES, Report, TERMINATE};
use crate::{Exit, Level, LimitHit, Limits};

/// The pause between looks at the processes. A build that runs away gets this long; a look costs some milliseconds.
const LOOK: Duration = Duration::from_millis(250);

/// The shortest pause between walks over what was written; it grows with the walk, so that walking takes at most a
/// tenth of the time.
const WALK: Duration = Duration::from_millis(500);
const WALK_SHARE: u32 = 10;

/// How long the helper's last words are waited for once its outermost process has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long the last processes are killed again and again until they are gone. A process in the middle of a write to
/// a slow disk takes its time; after this it is reported in the platform's log and left.
const VANISHING: Duration = Duration::from_secs(20);

/// The pause between two looks at whether they are gone.
const VANISHING_LOOK: Duration = Duration::from_millis(5);

/// Messages to the helper that wait to be written: the plan twice, and a few single bytes.
const MESSAGES: usize = 16;

/// Everything that one sandbox consists of, on the platform's side.
pub(crate) struct Supervisor {
    pub child: Child,
    pub pid: u32,
    /// The plan, encoded.
    pub plan: Vec<u8>,
    pub level: Level,
    pub limits: Limits,
    /// The folders whose contents count against the disk limit.
    pub writable: Vec<PathBuf>,
    pub group: Arc<Group>,
    /// The marker's value in the environment of its processes, where there is no process namespace.
    pub marker: Option<String>,
    pub connector: Option<Connector>,
    pub run_as: Option<(u32, u32)>,
    pub killer: Killer,
    pub work: Work,
}

/// What has been learnt while watching.
#[derive(Default)]
struct Seen {
    /// Why we killed it, if we did: the first reason counts.
    cause: Option<Exit>,
    started: bool,
    /// Whether the command is to end in an orderly way.
    terminate: bool,
    /// The command's end as the helper tells it.
    end: Option<Report>,
    judge: Judge,
    /// The processes at the last look, by pid and start.
    known: HashMap<i32, u64>,
}

impl Supervisor {
    /// Watches until the end.
    pub(crate) async fn run(mut self, control: UnixStream) -> Exit {
        let outer = i32::try_from(self.pid).unwrap_or_default();
        let (mut reports, messages, writer) = self.talk(control);
        let mut seen = Seen::default();
        let mut connection: Option<Connection> = None;
        let mut looking: Option<JoinHandle<Sample>> = None;
        let mut walking: Option<JoinHandle<(Usage, Duration)>> = None;
        let mut walk_at = tokio::time::Instant::now() + WALK;
        let wall = self.limits.wall.map(|wall| tokio::time::Instant::now() + wall);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let status = loop {
            let ending = seen.cause.is_some();
            let cause = tokio::select! {
                status = self.child.wait() => break status.ok(),
                report = reports.next() => match report {
                    Some(Report::NetworkMade) => {
                        let connected = self.connect(&messages).await;
                        let lost = connected.is_none();
                        connection = connected;
                        // Without an answer the helper says why and ends.
                        if lost { let _ = messages.try_send(vec![0]); }
                        None
                    }
                    Some(Report::Started) => {
                        seen.started = true;
                        if seen.terminate { let _ = messages.try_send(vec![TERMINATE]); }
                        looking.get_or_insert_with(|| self.look(outer));
                        None
                    }
                    Some(end) => { seen.end = Some(end); None }
                    None => None,
                },
                request = self.killer.asked(), if !ending => match request {
                    Request::Kill => Some(Exit::Killed),
                    // Before the start there is nobody to tell.
                    Request::Terminate => {
                        seen.terminate = true;
                        if seen.started { let _ = messages.try_send(vec![TERMINATE]); }
                        None
                    }
                },
                _ = ticks.tick(), if looking.is_none() => {
                    looking = Some(self.look(outer));
                    None
                }
                sample = finished(&mut looking) => {
                    let sample = sample.unwrap_or_default();
                    seen.known = sample.processes.iter().map(|process| process.identity()).collect();
                    seen.judge.judge(&sample, &self.limits).map(Exit::Limit)
                }
                () = sleep_until(walk_at), if walking.is_none() && self.walks() => {
                    walking = Some(self.walk());
                    None
                }
                walked = finished(&mut walking) => {
                    let (usage, took) = walked.unwrap_or_default();
                    walk_at = tokio::time::Instant::now() + WALK.max(took * WALK_SHARE);
                    self.disk_hit(usage).map(Exit::Limit)
                }
                () = at(wall), if !ending => self.limits.wall.map(LimitHit::WallTime).map(Exit::Limit),
            };
            if let (Some(cause), None) = (cause, &seen.cause) {
                seen.cause = Some(cause);
                let killed = self.kill(outer).await;
                seen.known.extend(killed.iter().map(|process| process.identity()));
                let _ = self.child.start_kill();
            }
        };
        // The helper notices that nobody listens any more, and everything that is left of it ends itself.
        drop(messages);
        writer.abort();
        let _ = writer.await;
        let last = timeout(LAST_WORDS, async {
            while let Some(report) = reports.next_or_end().await {
                if matches!(report, Report::Code { .. } | Report::Signal { .. }) {
                    seen.end = Some(report);
                }
            }
        });
        let _ = last.await;
        self.vanish(std::mem::take(&mut seen.known)).await;
        drop(connection);
        // Holds on to the control group.
        if let Some(look) = looking {
            let _ = look.await;
        }
        self.conclude(seen, status).await
    }

    /// Sends the plan, and takes the control socket apart.
    fn talk(&mut self, control: UnixStream) -> (Reports, mpsc::Sender<Vec<u8>>, JoinHandle<()>) {
        let (sender, messages) = mpsc::channel(MESSAGES);
        let plan = std::mem::take(&mut self.plan);
        if self.connector.is_some() {
            // The second stage's copy follows when the network is connected.
            let _ = sender.try_send(plan.clone());
            self.plan = plan;
        } else {
            let _ = sender.try_send(plan.clone());
            let _ = sender.try_send(plan);
        }
        // Written by a task of its own: a helper that does not read must not keep us from watching.
        let (from, to) = control.into_split();
        (Reports { from, line: Vec::new(), ended: false }, sender, tokio::spawn(write(to, messages)))
    }

    /// Connects the sandbox's network and lets the helper go on.
    async fn connect(&mut self, messages: &mpsc::Sender<Vec<u8>>) -> Option<Connection> {
        let connector = self.connector?;
        match connector.connect(self.pid, self.run_as).await {
            Ok(connection) => {
                messages.try_send(vec![GO]).ok()?;
                messages.try_send(std::mem::take(&mut self.plan)).ok()?;
                Some(connection)
            }
            Err(error) => {
                tracing::warn!(%error, program = connector.program(), "a sandbox's network could not be connected");
                None
            }
        }
    }

    fn look(&self, outer: i32) -> JoinHandle<Sample> {
        let (level, group, memory) = (self.level, self.group.clone(), self.limits.memory);
        spawn_blocking(move || look(outer, level, &group, memory))
    }

    /// Whether anything that it writes to is counted.
    fn walks(&self) -> bool {
        self.limits.disk.is_some() || self.work.tmp().is_some()
    }

    fn walk(&self) -> JoinHandle<(Usage, Duration)> {
        let roots = match self.limits.disk {
            Some(_) => self.writable.clone(),
            None => self.work.tmp().map(PathBuf::from).into_iter().collect(),
        };
        spawn_blocking(move || {
            let begin = Instant::now();
            (disk::usage(&roots), begin.elapsed())
        })
    }

    fn disk_hit(&self, usage: Usage) -> Option<LimitHit> {
        let limit = self.limits.disk.unwrap_or(TMP_BYTES);
        (usage.bytes > limit).then_some(LimitHit::Disk(limit))
    }

    /// Kills everything that is known to belong to this sandbox, and returns what that was.
    async fn kill(&self, outer: i32) -> Vec<Process> {
        let (group, marker) = (self.group.clone(), self.marker.clone());
        let killed = spawn_blocking(move || {
            let all = procs::all();
            let mut found = procs::descendants(&all, outer);
            found.extend(members(&all, &group, marker.as_deref()));
            procs::kill_all(&found);
            found
        });
        killed.await.unwrap_or_default()
    }

    /// Kills what is left until nothing is.
    async fn vanish(&self, known: HashMap<i32, u64>) {
        let (group, marker, pid) = (self.group.clone(), self.marker.clone(), self.pid);
        let vanished = spawn_blocking(move || {
            let begin = Instant::now();
            loop {
                let all = procs::all();
                let mut left = members(&all, &group, marker.as_deref());
                left.extend(all.iter().filter(|process| known.get(&process.pid) == Some(&process.started)));
                left.retain(|process| !process.ended);
                if left.is_empty() {
                    return;
                }
                if begin.elapsed() > VANISHING {
                    tracing::error!(pid, left = left.len(), "processes of a sandbox cannot be killed");
                    return;
                }
                procs::kill_all(&left);
                std::thread::sleep(VANISHING_LOOK);
            }
        });
        let _ = vanished.await;
    }

    /// Decides how the command ended, and removes what the sandbox was made of.
    async fn conclude(self, seen: Seen, status: Option<ExitStatus>) -> Exit {
        let Self { limits, writable, group, work, .. } = self;
        let clean_up = move || {
            let exit = seen.cause.unwrap_or_else(|| judge_end(seen.end, status, &limits, &writable, &group));
            work.remove();
            if let Ok(mut group) = Arc::try_unwrap(group) {
                group.remove();
            }
            exit
        };
        spawn_blocking(clean_up).await.unwrap_or(Exit::Killed)
    }
}

/// Why a command ended that we did not kill: the kernel may have kept a limit, and its own exit code says nothing.
fn judge_end(
    end: Option<Report>,
    status: Option<ExitStatus>,
    limits: &Limits,
    writable: &[PathBuf],
    group: &Group,
) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    /// What a shell adds to a signal's number to make an exit code.
    const BY_SIGNAL: i32 = 128;
    let (exit, left) = match end {
        Some(Report::Code { code, left }) => (Exit::Code(code), left),
        Some(Report::Signal { signal, left }) => (Exit::Signal(signal), left),
        // The sandbox could not be set up, or somebody killed it.
        _ => match status.and_then(|status| status.code()) {
            Some(code) => (Exit::Code(code), 0),
            None => (Exit::Signal(status.and_then(|status| status.signal()).unwrap_or(9)), 0),
        },
    };
    let failed = !exit.success();
    if failed && group.memory_kills() > 0 {
        return Exit::Limit(LimitHit::Memory(limits.memory));
    }
    if exit == Exit::Signal(SIGXFSZ) || exit == Exit::Code(BY_SIGNAL + SIGXFSZ) {
        return Exit::Limit(LimitHit::FileSize(limits.file_size));
    }
    if failed || limits.disk.is_some() {
        let usage = disk::usage(writable);
        if limits.disk.is_some_and(|limit| usage.bytes > limit) {
            return Exit::Limit(LimitHit::Disk(limits.disk.unwrap_or_default()));
        }
        // A program that ignores the signal finds its file cut off at exactly the limit.
        if failed && usage.longest >= limits.file_size {
            return Exit::Limit(LimitHit::FileSize(limits.file_size));
        }
    }
    if failed && (group.process_refusals() > 0 || full(u64::from(left), limits.processes)) {
        return Exit::Limit(LimitHit::Processes(limits.processes));
    }
    exit
}

/// The processes of `all` that belong to the sandbox by its groups or its marker.
fn members(all: &[Process], group: &Group, marker: Option<&str>) -> Vec<Process> {
    let mut found = marker.map_or_else(Vec::new, |marker| procs::marked(all, marker));
    let pids = group.members();
    found.extend(all.iter().filter(|process| pids.contains(&process.pid)));
    found
}

/// A task's result, when there is a task; it is taken away.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    match task {
        Some(running) => {
            let result = running.await;
            *task = None;
            result.ok()
        }
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn write(mut to: OwnedWriteHalf, mut messages: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = messages.recv().await {
        if to.write_all(&message).await.is_err() {
            return;
        }
    }
}

/// The helper's reports, line by line.
struct Reports {
    from: OwnedReadHalf,
    line: Vec<u8>,
    ended: bool,
}

impl Reports {
    /// The next report; never returns once there are no more. Cancel-safe: a half line stays for the next call.
    async fn next(&mut self) -> Option<Report> {
        match self.next_or_end().await {
            None => std::future::pending().await,
            report => report,
        }
    }

    /// The next report, or nothing when the helper is gone.
    async fn next_or_end(&mut self) -> Option<Report> {
        loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                if let Some(report) = Report::parse(&String::from_utf8_lossy(&line)) {
                    return Some(report);
                }
                continue;
            }
            if self.ended || self.line.len() > REPORT_BYTES {
                return None;
            }
            let mut chunk = [0; REPORT_BYTES];
            match self.from.read(&mut chunk).await {
                Ok(0) | Err(_) => self.ended = true,
                Ok(count) => self.line.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            }
        }
    }
}
