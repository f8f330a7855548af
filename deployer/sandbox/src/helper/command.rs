//! The last stage: takes every restriction upon itself and becomes the untrusted command.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::{Doing, NOT_FOUND, NOT_RUNNABLE, Problem, control, filter, restrict};
use crate::wire::{Last, Rlimits};

/// Never returns if all goes well.
pub(super) fn run() -> Result<ExitCode, Problem> {
    let plan = Last::read(&mut control()?).doing(|| "read the plan".into())?;
    nix::unistd::setsid().doing(|| "leave the platform's session".into())?;
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "tie the command to the sandbox".into())?;
    limit(&plan.rlimits)?;
    std::env::set_current_dir(&plan.cwd).doing(|| format!("enter {}", plan.cwd.display()))?;
    rustix::thread::set_no_new_privs(true).doing(|| "renounce new rights".into())?;
    if let Some(paths) = &plan.landlock {
        restrict::restrict(paths)?;
    }
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

fn limit(limits: &Rlimits) -> Result<(), Problem> {
    let wanted = [
        (Resource::RLIMIT_CORE, 0, "core files"),
        (Resource::RLIMIT_NPROC, limits.processes, "processes"),
        (Resource::RLIMIT_FSIZE, limits.file_size, "file size"),
        (Resource::RLIMIT_NOFILE, limits.open_files, "open files"),
    ];
    for (resource, value, name) in wanted {
        // Nobody but root may go above what the platform itself was given.
        let (_, most) = getrlimit(resource).doing(|| format!("limit {name}"))?;
        let value = value.min(most);
        setrlimit(resource, value, value).doing(|| format!("limit {name}"))?;
    }
    Ok(())
}
