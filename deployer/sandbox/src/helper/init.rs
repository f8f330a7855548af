//! The second stage: the first process of the sandbox, or, without a process namespace, the one that orphans fall to.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::{Doing, Problem, SELF, VERB, control, namespaces, outer, report};
use crate::Level;
use crate::procs::{self, Process};
use crate::view::{DEVICES, readable};
use crate::wire::{Landlock, Last, Paths, Plan, Report, TERMINATE};

/// How long processes that were killed get to vanish: they may be in the middle of a slow write. Whatever is left
/// then, the platform looks for.
const VANISHING: Duration = Duration::from_secs(5);

/// The pause between two looks at whether they have vanished.
const LOOK: Duration = Duration::from_millis(5);

/// In the process that was `outer`.
pub(super) fn run_first(control: File) -> Result<ExitCode, Problem> {
    run(control, false)
}

/// In a process of its own.
pub(super) fn run_second(staged: bool) -> Result<ExitCode, Problem> {
    run(control()?, staged)
}

fn run(mut control: File, staged: bool) -> Result<ExitCode, Problem> {
    let mut plan = Plan::read(&mut control).doing(|| "read the plan".into())?;
    if staged {
        outer::use_staged(&mut plan);
    }
    if plan.level == Level::Namespaces {
        namespaces::enter(&plan)?;
    }
    if !plan.level.remaps() {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own)).doing(|| "adopt the sandbox's orphans".into())?;
    }
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block().doing(|| "wait for signals".into())?;
    let signals = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .doing(|| "wait for signals".into())?;

    // The command, which may be of the user that owns the platform's executable, must not reach it through us.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(|| "protect the sandbox's first process".into())?;
    let command = start(plan)?;
    report(Report::Started);
    let mut init = Init { control, signals, command };
    let end = init.wait();
    if let Some(end) = end {
        report(end);
    }
    // In a process namespace the kernel ends all others with us; elsewhere we have to.
    if getpid() != Pid::from_raw(1) {
        end_all();
    }
    Ok(match end {
        Some(Report::Code { code, .. }) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        _ => ExitCode::FAILURE,
    })
}

/// Starts the last stage, which becomes the command. Its plan goes through a pipe: arguments are for all to read, and
/// a variable like `LD_PRELOAD` must not work on that stage itself.
fn start(plan: Plan) -> Result<Pid, Problem> {
    let what = || "start the command".to_owned();
    let landlock = match plan.level {
        Level::Bubblewrap => Landlock::Scope,
        Level::Namespaces => Landlock::Paths(allowed(&plan)),
        Level::Landlock => Landlock::PathsOrNothing(allowed(&plan)),
        Level::None => Landlock::Nothing,
    };
    let last = Last { argv: plan.argv, cwd: plan.cwd, env: plan.env, rlimits: plan.rlimits, landlock };
    let last = last.encode().doing(what)?;
    let mut command = Command::new(SELF);
    command.args([VERB, "command"]).env_clear().stdin(Stdio::piped());
    let mut child = command.spawn().doing(what)?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(&last).doing(what)?;
    }
    Ok(Pid::from_raw(i32::try_from(child.id()).doing(what)?))
}

fn allowed(plan: &Plan) -> Paths {
    let mut paths = Paths::default();
    if plan.level.remaps() {
        paths.read.push("/".into());
        paths.write.extend(["/tmp", "/dev", "/proc"].map(Into::into));
    } else {
        paths.read.extend(readable());
        paths.write.extend(DEVICES.map(Into::into));
        paths.write.extend(plan.private_tmp.clone());
    }
    for mount in &plan.mounts {
        let path = if plan.level.remaps() { &mount.target } else { &mount.source };
        let list = if mount.writable { &mut paths.write } else { &mut paths.read };
        list.push(path.clone());
    }
    paths
}

struct Init {
    control: File,
    signals: SignalFd,
    command: Pid,
}

impl Init {
    /// Waits for the command's end. Nothing if the platform has gone.
    fn wait(&mut self) -> Option<Report> {
        loop {
            if let Some(end) = self.reap() {
                return Some(end);
            }
            let mut wanted = [
                PollFd::new(self.control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let _ = poll(&mut wanted, PollTimeout::NONE);
            let [asked, signalled] = wanted.map(|fd| fd.any().unwrap_or_default());
            if signalled {
                while let Ok(Some(_)) = self.signals.read_signal() {}
            }
            if asked {
                let mut byte = [0];
                match self.control.read(&mut byte) {
                    Ok(1) if byte == [TERMINATE] => self.terminate(),
                    Ok(1) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    _ => return None,
                }
            }
        }
    }

    /// To the command's whole process group: a shell or `npm` in front of a server does not pass a signal on.
    fn terminate(&self) {
        if killpg(self.command, Signal::SIGTERM).is_err() {
            // It has not yet made its group.
            let _ = kill(self.command, Signal::SIGTERM);
        }
    }

    /// Takes notice of every process that has ended.
    fn reap(&self) -> Option<Report> {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.command => {
                    return Some(Report::Code { code, left: left() });
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == self.command => {
                    return Some(Report::Signal { signal: signal as i32, left: left() });
                }
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return None,
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(_) => return None,
            }
        }
    }
}

/// The processes below this one that have not ended.
fn below() -> Vec<Process> {
    let all = procs::descendants(&procs::all(), getpid().as_raw());
    all.into_iter().filter(|process| !process.ended).collect()
}

/// Processes and threads that the command left behind.
fn left() -> u32 {
    below().iter().fold(0, |sum, process| sum.saturating_add(process.threads))
}

/// Kills everything below this process, also what is born meanwhile.
fn end_all() {
    let begin = Instant::now();
    while begin.elapsed() < VANISHING {
        let left = below();
        if left.is_empty() {
            return;
        }
        procs::kill_all(&left);
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        std::thread::sleep(LOOK);
    }
}
