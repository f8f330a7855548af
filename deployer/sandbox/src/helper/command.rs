//! The last stage: takes every restriction upon itself and becomes the untrusted command.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::SigSet;
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{Doing, NOT_FOUND, NOT_RUNNABLE, Problem, control, filter, restrict};
use crate::wire::{Last, Rlimits};

/// The kernel's scale for which process to end first when the host is out of memory; this is its end.
const ENDED_FIRST: &str = "1000";

/// Never returns if all goes well.
pub(super) fn run() -> Result<ExitCode, Problem> {
    let plan = Last::read(&mut control()?).doing(|| "read the plan".into())?;
    nix::unistd::setsid().doing(|| "leave the platform's session".into())?;
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "tie the command to the sandbox".into())?;
    // Those before us block signals, and a shell that inherits that waits for its children in vain.
    SigSet::empty().thread_set_mask().doing(|| "let signals through".into())?;
    // Where the host keeps no memory limit for us, the platform outlives its commands at least. Not everywhere allowed.
    let _ = std::fs::write("/proc/self/oom_score_adj", ENDED_FIRST);
    limit(&plan.rlimits)?;
    stand_back(plan.rlimits.nice)?;
    std::env::set_current_dir(&plan.cwd).doing(|| format!("enter {}", plan.cwd.display()))?;
    rustix::thread::set_no_new_privs(true).doing(|| "renounce new rights".into())?;
    restrict::restrict(&plan.landlock)?;
    filter::apply()?;
    let Some((program, args)) = plan.argv.split_first() else {
        return Err(Problem("there is no command to run".into()));
    };
    let mut command = Command::new(program);
    command.args(args).env_clear().envs(plan.env).stdin(Stdio::null());
    let error = command.exec();
    eprintln!("sandbox: cannot run {program}: {error}");
    let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE };
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Takes this nice value, unless the platform itself stands back further: only root may come forward again.
fn stand_back(nice: i32) -> Result<(), Problem> {
    let what = || "stand back for others".to_owned();
    if rustix::process::getpriority_process(None).doing(what)? < nice {
        rustix::process::setpriority_process(None, nice).doing(what)?;
    }
    Ok(())
}

fn limit(limits: &Rlimits) -> Result<(), Problem> {
    let wanted = [
        (Resource::RLIMIT_CORE, Some(0), "core files"),
        (Resource::RLIMIT_NPROC, limits.processes, "processes"),
        (Resource::RLIMIT_FSIZE, Some(limits.file_size), "file size"),
        (Resource::RLIMIT_NOFILE, Some(limits.open_files), "open files"),
    ];
    for (resource, value, name) in wanted {
        let Some(value) = value else { continue };
        // Nobody but root may go above what the platform itself was given.
        let (_, most) = getrlimit(resource).doing(|| format!("limit {name}"))?;
        let value = value.min(most);
        setrlimit(resource, value, value).doing(|| format!("limit {name}"))?;
    }
    Ok(())
}
