//! The same view as bubblewrap's, made by ourselves.

use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, mount_remount, unmount,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, capabilities, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use super::outer::root_below;
use super::{Doing, Problem, SELF, STAGED, VERB};
use crate::view::{DEVICES, HOSTNAME, INSIDE_ID, Item, items};
use crate::wire::Plan;

/// The namespaces of this level, besides the user namespace that allows them.
pub(super) const FLAGS: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS);

/// What `init` needs to build the view. All of it is given up before the command starts.
const BUILDING: [CapabilitySet; 3] = [CapabilitySet::SYS_ADMIN, CapabilitySet::SETPCAP, CapabilitySet::SYS_CHROOT];

/// The root of the view is itself small: it holds mount points and the few made files.
const ROOT: &std::ffi::CStr = c"mode=755,size=4m,nr_inodes=20000";

/// Makes the namespaces, starts `init` in them as process 1, and waits for its end.
pub(super) fn run(plan: &Plan, control: File, staged: bool) -> Result<ExitCode, Problem> {
    drop(control);
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "tie the sandbox to the platform".into())?;
    if !plan.own_network {
        unshare_as_user(CloneFlags::CLONE_NEWUSER | FLAGS)?;
    }
    // A program start as a user other than 0 loses its rights, except those marked as ambient.
    let mut own = capabilities(None).doing(|| "read the own rights".into())?;
    own.inheritable = own.permitted;
    set_capabilities(None, own).doing(|| "pass the rights on".into())?;
    for capability in BUILDING {
        configure_capability_in_ambient_set(capability, true).doing(|| "pass the rights on".into())?;
    }
    let mut init = Command::new(SELF);
    init.args([VERB, "init"]).args(staged.then_some(STAGED)).env_clear();
    let mut init = init.spawn().doing(|| "start the sandbox's first process".into())?;
    let status = init.wait().doing(|| "wait for the sandbox's first process".into())?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Makes namespaces with a user namespace that knows one user: ours, under the number it has inside.
pub(super) fn unshare_as_user(flags: CloneFlags) -> Result<(), Problem> {
    let (uid, gid) = (getuid(), getgid());
    unshare(flags).doing(|| "make namespaces".into())?;
    // In this order: the kernel lets an unprivileged user map groups only after renouncing `setgroups`.
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{INSIDE_ID} {uid} 1")),
        ("gid_map", format!("{INSIDE_ID} {gid} 1")),
    ];
    for (file, text) in maps {
        fs::write(format!("/proc/self/{file}"), text).doing(|| format!("write the namespace's {file}"))?;
    }
    Ok(())
}

/// Builds the view and moves into it. For process 1 of the namespaces.
pub(super) fn enter(plan: &Plan) -> Result<(), Problem> {
    set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "tie the sandbox to the platform".into())?;
    nix::unistd::sethostname(HOSTNAME).doing(|| "set the host name".into())?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .doing(|| "separate the mounts from the host's".into())?;
    let view = View { root: root_below(&plan.staging) };
    view.tmpfs(Path::new("/"), ROOT)?;
    for item in items(&plan.resolv_conf) {
        match item {
            Item::Host { source, target } => view.bind(&source, &target, Access::Read)?,
            Item::Link { to, target } => view.link(&to, &target)?,
            Item::File { contents, target } => view.file(&contents, &target)?,
        }
    }
    let proc = view.folder(Path::new("/proc"))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", &proc, "proc", flags, None).doing(|| "mount /proc".into())?;
    view.devices(plan.tmp_bytes)?;
    view.tmpfs(Path::new("/tmp"), &tmp_options(plan.tmp_bytes)?)?;
    let mut mounts: Vec<_> = plan.mounts.iter().collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        view.bind(&mount.source, &mount.target, if mount.writable { Access::Write } else { Access::Read })?;
    }
    view.enter()?;
    for path in ["/dev", "/"] {
        read_only(Path::new(path), MountFlags::empty()).doing(|| format!("make {path} read-only"))?;
    }
    drop_rights().doing(|| "give up the right to mount".into())
}

fn drop_rights() -> rustix::io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        // Unknown to an older kernel.
        let _ = remove_capability_from_bounding_set(capability);
    }
    clear_ambient_capability_set()?;
    let mut own = capabilities(None)?;
    own.effective = CapabilitySet::empty();
    own.permitted = CapabilitySet::empty();
    own.inheritable = CapabilitySet::empty();
    set_capabilities(None, own)
}

fn tmp_options(bytes: u64) -> Result<std::ffi::CString, Problem> {
    // One inode for each 4 KiB: as many files as there are pages.
    std::ffi::CString::new(format!("mode=1777,size={bytes},nr_inodes={}", bytes / 4096 + 16))
        .doing(|| "size /tmp".into())
}

/// What a command may do with a part of the view.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    Device,
}

/// The view while it is being built.
struct View {
    root: PathBuf,
}

impl View {
    /// Where the path `inside` is for now.
    fn at(&self, inside: &Path) -> PathBuf {
        self.root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    fn folder(&self, inside: &Path) -> Result<PathBuf, Problem> {
        let path = self.at(inside);
        fs::create_dir_all(&path).doing(|| format!("make {}", inside.display()))?;
        Ok(path)
    }

    /// A place that a file can be put at.
    fn place(&self, inside: &Path) -> Result<PathBuf, Problem> {
        if let Some(parent) = inside.parent() {
            self.folder(parent)?;
        }
        Ok(self.at(inside))
    }

    fn link(&self, to: &Path, inside: &Path) -> Result<(), Problem> {
        symlink(to, self.place(inside)?).doing(|| format!("make {}", inside.display()))
    }

    fn file(&self, contents: &[u8], inside: &Path) -> Result<(), Problem> {
        fs::write(self.place(inside)?, contents).doing(|| format!("make {}", inside.display()))
    }

    fn tmpfs(&self, inside: &Path, options: &std::ffi::CStr) -> Result<(), Problem> {
        let path = self.folder(inside)?;
        mount("tmpfs", &path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)
            .doing(|| format!("mount {}", inside.display()))
    }

    fn bind(&self, source: &Path, inside: &Path, access: Access) -> Result<(), Problem> {
        let target = if source.is_dir() { self.folder(inside)? } else { self.place(inside)? };
        if !target.exists() {
            let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(&target);
            made.doing(|| format!("make {}", inside.display()))?;
        }
        mount_bind_recursive(source, &target).doing(|| format!("show {}", source.display()))?;
        let mut flags = MountFlags::NOSUID;
        if access != Access::Device {
            flags |= MountFlags::NODEV;
        }
        let what = || format!("protect {}", inside.display());
        for point in mount_points(&target).doing(what)? {
            let set = if access == Access::Read { read_only(&point, flags) } else { change(&point, flags) };
            set.doing(what)?;
        }
        Ok(())
    }

    fn devices(&self, tmp_bytes: u64) -> Result<(), Problem> {
        self.tmpfs(Path::new("/dev"), c"mode=755,size=1m,nr_inodes=1000")?;
        for device in DEVICES.map(Path::new) {
            if device.exists() {
                self.bind(device, device, Access::Device)?;
            }
        }
        let links =
            [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")];
        for (name, to) in links {
            self.link(Path::new(to), &Path::new("/dev").join(name))?;
        }
        self.tmpfs(Path::new("/dev/shm"), &tmp_options(tmp_bytes)?)?;
        let terminals = self.folder(Path::new("/dev/pts"))?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("devpts", &terminals, "devpts", flags, c"newinstance,ptmxmode=0666,mode=620")
            .doing(|| "mount /dev/pts".into())
    }

    /// Makes the view the root, and lets go of the host's files.
    fn enter(&self) -> Result<(), Problem> {
        let what = || "move into the sandbox's files".to_owned();
        rustix::process::chdir(&self.root).doing(what)?;
        // Both in one place: the old root ends up on top of the new one, and is taken off.
        rustix::process::pivot_root(".", ".").doing(what)?;
        unmount(".", UnmountFlags::DETACH).doing(what)?;
        rustix::process::chdir("/").doing(what)
    }
}

/// The mounts at and below `path`: a bind takes those along, and each has its own flags.
fn mount_points(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let path = path.canonicalize()?;
    let text = fs::read("/proc/self/mountinfo")?;
    let mut points = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(point) = line.split(|byte| *byte == b' ').nth(4) else { continue };
        let point = PathBuf::from(std::ffi::OsString::from_vec(unescape(point)));
        if point.starts_with(&path) && !points.contains(&point) {
            points.push(point);
        }
    }
    Ok(points)
}

/// Undoes the kernel's `\040` for characters that would break its table.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(byte);
            rest = &after[3..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

fn read_only(path: &Path, flags: MountFlags) -> rustix::io::Result<()> {
    change(path, flags | MountFlags::RDONLY)
}

/// Adds flags to a mount. Those that it has stay: the kernel refuses to take them away in a user namespace.
fn change(path: &Path, flags: MountFlags) -> rustix::io::Result<()> {
    let has = rustix::fs::statvfs(path)?.f_flag;
    let pairs = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ];
    let kept = pairs.iter().filter(|(has_it, _)| has.contains(*has_it)).map(|(_, flag)| *flag);
    let flags = kept.fold(flags | MountFlags::BIND, |all, flag| all | flag);
    mount_remount(path, flags, c"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_mount_points_are_read_as_the_paths_they_are() {
        assert_eq!(unescape(br"/a\040b\134c"), b"/a b\\c");
        assert_eq!(unescape(br"/end\04"), br"/end\04");
    }
}
