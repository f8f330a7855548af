//! The first stage, still on the host and perhaps still root.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::{Doing, Problem, control, report};
use crate::walk::{is_dir, is_file, walk};
use crate::wire::{GO, Plan, Report};
use crate::{Level, Mount};

/// Size of the file system that holds nothing but mount points.
const MOUNT_POINTS: &std::ffi::CStr = c"mode=755,size=1m,nr_inodes=10000";

/// The longest reason for a missing network that is read, in bytes: a line of an error message.
const REASON_BYTES: u64 = 1024;

pub(super) fn run() -> Result<ExitCode, Problem> {
    let mut control = control()?;
    let mut plan = Plan::read(&mut control).doing(|| "read the plan".into())?;
    for door in &plan.cgroups {
        fs::write(door, "0").doing(|| format!("join the control group {}", door.display()))?;
    }
    // Whatever the platform keeps from others, the unprivileged user has to pass through what we make; and a build's
    // output must not depend on it.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let mut staged = false;
    if let Some((uid, gid)) = plan.run_as {
        let writable = plan.mounts.iter().filter(|mount| mount.writable).map(|mount| &mount.source);
        for root in writable.chain(&plan.private_tmp) {
            give(root, uid, gid)?;
        }
        for output in [std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
            // For those that open `/dev/stdout`; a pipe belongs to whoever made it.
            let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(output, Some(user), Some(group)).doing(|| "hand over the output".into())?;
        }
        // The unprivileged user may not be able to reach the mounts, which can lie below a private folder.
        staged = plan.level.remaps() && stage(&mut plan);
        become_user(uid, gid)?;
        // The change of user has made our own files in /proc root's, and one of them is to be written.
        set_dumpable_behavior(DumpableBehavior::Dumpable).doing(|| "own the own process".into())?;
    }
    if plan.own_network {
        own_network(&plan)?;
        report(Report::NetworkMade);
        wait_for_network(&mut control)?;
    }
    match plan.level {
        Level::Bubblewrap => super::bubblewrap::run(&plan, control),
        Level::Namespaces => super::namespaces::run(&plan, control, staged),
        Level::Landlock | Level::None => super::init::run_first(control),
    }
}

/// For good: nothing of root's rights is left.
pub(super) fn become_user(uid: u32, gid: u32) -> Result<(), Problem> {
    setgroups(&[]).doing(|| "give up root's groups".into())?;
    setgid(Gid::from_raw(gid)).doing(|| format!("become group {gid}"))?;
    setuid(Uid::from_raw(uid)).doing(|| format!("become user {uid}"))
}

/// Gives everything below `root` to the unprivileged user, without following links. A file with several names that
/// belongs to somebody else is left alone: its other name may be anywhere.
fn give(root: &Path, uid: u32, gid: u32) -> Result<(), Problem> {
    let mut failed = None;
    let walked = walk(root, &mut |entry| {
        let stat = &entry.stat;
        let shared = is_file(stat) && stat.st_nlink > 1;
        if (stat.st_uid, stat.st_gid) == (uid, gid) || shared {
            return;
        }
        let (user, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        let given = rustix::fs::chownat(entry.parent, entry.name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW);
        if let Err(error) = given
            && error != rustix::io::Errno::NOENT
        {
            failed.get_or_insert(error);
        }
    });
    walked.map_err(|stop| Problem(format!("cannot prepare {}: {stop:?}", root.display())))?;
    failed.map_or(Ok(()), Err).doing(|| format!("give {} to user {uid}", root.display()))
}

/// Binds every mount below the staging folder, in a mount namespace of our own, and changes the plan accordingly.
/// Says whether it worked: root in a container may lack the right.
fn stage(plan: &mut Plan) -> bool {
    let place = || -> rustix::io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|_| rustix::io::Errno::PERM)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        // Opened in the new namespace, which binds only what is its own, and before the staging folder may hide them.
        let open =
            |mount: &Mount| rustix::fs::openat(CWD, &mount.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let sources = plan.mounts.iter().map(open).collect::<Result<Vec<OwnedFd>, _>>()?;
        mount("tmpfs", &plan.staging, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, MOUNT_POINTS)?;
        rustix::fs::mkdir(root_below(&plan.staging), Mode::from_raw_mode(0o755))?;
        for (index, source) in sources.iter().enumerate() {
            let target = staged_path(&plan.staging, index);
            if is_dir(&rustix::fs::fstat(source)?) {
                rustix::fs::mkdir(&target, Mode::from_raw_mode(0o755))?;
            } else {
                rustix::fs::open(&target, OFlags::CREATE | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))?;
            }
            mount_bind_recursive(format!("/proc/self/fd/{}", source.as_raw_fd()), &target)?;
        }
        Ok(())
    };
    let placed = place().is_ok();
    if placed {
        use_staged(plan);
    }
    placed
}

/// Changes the plan's sources to where [`stage`] has put them.
pub(super) fn use_staged(plan: &mut Plan) {
    let staging = &plan.staging;
    for (index, mount) in plan.mounts.iter_mut().enumerate() {
        mount.source = staged_path(staging, index);
    }
}

/// Where the view is built: below the staging folder, which also holds the staged mounts.
pub(crate) fn root_below(staging: &Path) -> std::path::PathBuf {
    staging.join("root")
}

fn staged_path(staging: &Path, index: usize) -> std::path::PathBuf {
    staging.join(format!("mount-{index}"))
}

fn wait_for_network(control: &mut File) -> Result<(), Problem> {
    let mut answer = [0];
    control.read_exact(&mut answer).doing(|| "wait for the network".into())?;
    if answer == [GO] {
        return Ok(());
    }
    let mut reason = String::new();
    let _ = BufReader::new(control).take(REASON_BYTES).read_line(&mut reason);
    Err(Problem(format!("cannot connect the network: {}", reason.trim_end())))
}

/// A network namespace, with a user namespace that owns it, so that the platform can connect it without being root.
fn own_network(plan: &Plan) -> Result<(), Problem> {
    let mut flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET;
    if plan.level == Level::Namespaces {
        flags |= super::namespaces::FLAGS;
    }
    super::namespaces::unshare_as_user(flags)
}
