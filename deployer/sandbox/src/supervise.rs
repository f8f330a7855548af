//! Watching one sandbox from its start until its last process is gone.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitStatus;
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
use crate::family::{Family, Leash};
use crate::network::{Connect, Connection};
use crate::running::{Killer, Request};
use crate::sample::{BOMB, Judge, Sample, full, look};
use crate::spawn::TMP_BYTES;
use crate::wire::{GO, NO_NETWORK, REPORT_BYTES, Report, TERMINATE};
use crate::work::Work;
use crate::{Exit, Level, LimitHit, Limits};

/// How often a sandbox is looked at.
struct Pace {
    /// The pause between looks at the processes; a look costs some milliseconds.
    look: Duration,
    /// How old the list of processes may be that a look goes by.
    age: Duration,
    /// The shortest pause between walks over what was written.
    walk: Duration,
    /// The pause grows with the walk, so that walking takes at most this part of the time: one in so many.
    walk_share: u32,
}

/// For commands that end: a build that runs away gets a quarter of a second.
const BUILD: Pace =
    Pace { look: Duration::from_millis(250), age: Duration::ZERO, walk: Duration::from_millis(500), walk_share: 10 };

/// For services, which are watched for months and by the hundred.
const SERVICE: Pace = Pace {
    look: Duration::from_secs(1),
    age: Duration::from_millis(900),
    walk: Duration::from_secs(10),
    walk_share: 200,
};

/// How long the helper's last words are waited for once its outermost process has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Messages to the helper that wait to be written: the plan twice, and a few single bytes.
const MESSAGES: usize = 16;

/// Everything that one sandbox consists of, on the platform's side.
pub(crate) struct Supervisor {
    /// Before the child, so that what is below it is found and killed first.
    pub leash: Leash,
    pub family: Family,
    pub child: Child,
    /// The plan, encoded.
    pub plan: Vec<u8>,
    pub level: Level,
    pub limits: Limits,
    /// The folders whose contents count against the disk limit.
    pub writable: Vec<PathBuf>,
    /// How to connect its network, if it has one of its own.
    pub connect: Option<Connect>,
    /// The platform's executable.
    pub helper: PathBuf,
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
        let (mut reports, messages, writer) = self.talk(control);
        let mut seen = Seen::default();
        let mut connection: Option<Connection> = None;
        let mut looking: Option<JoinHandle<Sample>> = None;
        let mut walking: Option<JoinHandle<(Usage, Duration)>> = None;
        let pace = if self.limits.wall.is_some() { BUILD } else { SERVICE };
        let mut walk_at = tokio::time::Instant::now() + pace.walk;
        let wall = self.limits.wall.map(|wall| tokio::time::Instant::now() + wall);
        let mut ticks = interval(pace.look);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);

        let status = loop {
            let ending = seen.cause.is_some();
            let cause = tokio::select! {
                status = self.child.wait() => break status.ok(),
                report = reports.next() => match report {
                    Some(Report::NetworkMade) => {
                        connection = self.connect(&messages).await;
                        None
                    }
                    Some(Report::Started) => {
                        seen.started = true;
                        if seen.terminate { let _ = messages.try_send(vec![TERMINATE]); }
                        looking.get_or_insert_with(|| self.look(Duration::ZERO));
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
                    looking = Some(self.look(pace.age));
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
                    walk_at = tokio::time::Instant::now() + pace.walk.max(took * pace.walk_share);
                    self.disk_hit(usage).map(Exit::Limit)
                }
                () = at(wall), if !ending => self.limits.wall.map(LimitHit::WallTime).map(Exit::Limit),
            };
            if let (Some(cause), None) = (cause, &seen.cause) {
                seen.cause = Some(cause);
                let family = self.family.clone();
                let killed = spawn_blocking(move || family.kill()).await.unwrap_or_default();
                seen.known.extend(killed.iter().map(|process| process.identity()));
                let _ = self.child.start_kill();
            }
        };
        self.leash.release();
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
        let (family, known) = (self.family.clone(), std::mem::take(&mut seen.known));
        let _ = spawn_blocking(move || family.vanish(&known)).await;
        drop(connection);
        self.conclude(seen, status).await
    }

    /// Sends the plan, and takes the control socket apart.
    fn talk(&mut self, control: UnixStream) -> (Reports, mpsc::Sender<Vec<u8>>, JoinHandle<()>) {
        let (sender, messages) = mpsc::channel(MESSAGES);
        let plan = std::mem::take(&mut self.plan);
        if self.connect.is_some() {
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

    /// Connects the sandbox's network and lets the helper go on, or tells it why not, which it says and ends.
    async fn connect(&mut self, messages: &mpsc::Sender<Vec<u8>>) -> Option<Connection> {
        match self.connect.as_ref()?.run(&self.helper).await {
            Ok(connection) => {
                let _ = messages.try_send(vec![GO]);
                let _ = messages.try_send(std::mem::take(&mut self.plan));
                Some(connection)
            }
            Err(error) => {
                tracing::warn!(%error, "a sandbox's network could not be connected");
                let _ = messages.try_send(format!("{NO_NETWORK}{error}\n").into_bytes());
                None
            }
        }
    }

    fn look(&self, age: Duration) -> JoinHandle<Sample> {
        let (family, level, memory) = (self.family.clone(), self.level, self.limits.memory);
        spawn_blocking(move || look(&family, level, memory, age))
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

    /// Decides how the command ended, and removes what the sandbox was made of.
    async fn conclude(self, seen: Seen, status: Option<ExitStatus>) -> Exit {
        let Self { limits, writable, family, work, .. } = self;
        let clean_up = move || {
            let exit = seen.cause.unwrap_or_else(|| judge_end(seen.end, status, &limits, &writable, &family.group));
            work.remove();
            family.group.remove();
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
    // Whoever leaves this many behind, or was refused this many, is a fork bomb, also when its first process ended well.
    let refusals = group.process_refusals();
    if (failed && refusals > 0) || refusals >= BOMB || full(u64::from(left), limits.processes) {
        return Exit::Limit(LimitHit::Processes(limits.processes));
    }
    exit
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
