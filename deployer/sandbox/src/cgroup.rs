//! Control groups: limits that the kernel keeps for a whole sandbox, where the platform may make groups.
//!
//! Version 1 (one hierarchy for memory, one for pids) and version 2 (one for all) both occur, also together. A group
//! is made below the platform's own, so the limits of whoever runs the platform hold for its sandboxes too; in
//! version 2, where that is often impossible, beside it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How the names of our groups begin; the platform's pid and a counter follow.
const PREFIX: &str = "astrocloud-";

/// How often and with which pause removing a group is tried: a killed process stays in it for a moment.
const REMOVE_TRIES: u32 = 40;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// Where groups can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base {
    memory: Option<Place>,
    pids: Option<Place>,
}

/// A folder of a hierarchy, of version 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    folder: PathBuf,
    unified: bool,
}

impl Base {
    /// The platform's own groups, where it can make groups below them, found by making one.
    pub(crate) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let base = Self::parse(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let works = |place: &Place, controller: &str, limit: &str| {
            sweep(&place.folder);
            if place.unified {
                // Refused while the platform itself is in this group, except in the root group.
                let _ = fs::write(place.folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            let trial = place.folder.join(fresh_name());
            if fs::create_dir(&trial).is_err() {
                return false;
            }
            let works = fs::OpenOptions::new().write(true).open(trial.join(limit)).is_ok();
            let _ = fs::remove_dir(&trial);
            works
        };
        let usable = |place: Option<Place>, controller: &str, limit: &str| {
            let own = place?;
            // In version 2 a group with processes cannot have groups with limits; then ours go beside the platform's.
            let beside = own.folder.parent().filter(|_| own.unified).map(Path::to_path_buf);
            let beside = beside.map(|folder| Place { folder, unified: true });
            [Some(own), beside].into_iter().flatten().find(|place| works(place, controller, limit))
        };
        let file = |place: &Option<Place>, one: &'static str, two: &'static str| {
            if place.as_ref().is_some_and(|place| place.unified) { two } else { one }
        };
        let limit = file(&base.memory, "memory.limit_in_bytes", "memory.max");
        Self { memory: usable(base.memory, "memory", limit), pids: usable(base.pids, "pids", "pids.max") }
    }

    /// Reads which group of which mounted hierarchy this process is in.
    fn parse(groups: &str, mounts: &str) -> Self {
        let place = |controller: &str| {
            let mut unified = None;
            for line in groups.lines() {
                let mut parts = line.splitn(3, ':');
                let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
                if controllers.split(',').any(|name| name == controller) {
                    let folder = mounted(mounts, path, |kind, options| {
                        kind == "cgroup" && options.split(',').any(|option| option == controller)
                    })?;
                    return Some(Place { folder, unified: false });
                }
                if controllers.is_empty() {
                    unified = mounted(mounts, path, |kind, _| kind == "cgroup2");
                }
            }
            unified.map(|folder| Place { folder, unified: true })
        };
        Self { memory: place("memory"), pids: place("pids") }
    }

    /// Which limits the kernel keeps: memory, and the number of processes.
    pub(crate) fn keeps(&self) -> (bool, bool) {
        (self.memory.is_some(), self.pids.is_some())
    }

    /// Makes the groups for one sandbox. A limit whose group cannot be made is left to the watching.
    pub(crate) fn make(&self, memory: u64, processes: u64) -> Group {
        let name = fresh_name();
        let mut group = Group::default();
        if let Some(place) = &self.memory
            && let Ok(folder) = make(&place.folder, &name)
        {
            let settings: &[(&str, u64)] = if place.unified {
                &[("memory.swap.max", 0), ("memory.oom.group", 1)]
            } else {
                &[("memory.memsw.limit_in_bytes", memory)]
            };
            let limit = if place.unified { "memory.max" } else { "memory.limit_in_bytes" };
            if set(&folder, limit, memory).is_ok() {
                for (name, value) in settings {
                    // Absent where the kernel does not count swap.
                    let _ = set(&folder, name, *value);
                }
                group.memory = Some(Place { folder, unified: place.unified });
            } else {
                let _ = fs::remove_dir(&folder);
            }
        }
        if let Some(place) = &self.pids
            && let Ok(folder) = make(&place.folder, &name)
        {
            if set(&folder, "pids.max", processes).is_ok() {
                group.pids = Some(Place { folder, unified: place.unified });
            } else if group.memory.as_ref().is_none_or(|memory| memory.folder != folder) {
                let _ = fs::remove_dir(&folder);
            }
        }
        group
    }
}

/// The groups of one sandbox. Removed when dropped, if they are empty by then.
#[derive(Debug, Default)]
pub(crate) struct Group {
    memory: Option<Place>,
    pids: Option<Place>,
}

impl Group {
    fn folders(&self) -> impl Iterator<Item = &Path> {
        let memory = self.memory.as_ref().map(|place| place.folder.as_path());
        let pids = self.pids.as_ref().map(|place| place.folder.as_path());
        memory.into_iter().chain(pids.filter(|folder| memory != Some(folder)))
    }

    /// The files that a process writes `0` to, to join.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        self.folders().map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// Whether the kernel keeps the memory limit.
    pub(crate) fn keeps_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether the kernel keeps the process limit.
    pub(crate) fn keeps_processes(&self) -> bool {
        self.pids.is_some()
    }

    /// The pids of all processes in the groups.
    pub(crate) fn members(&self) -> Vec<i32> {
        let read = |folder: &Path| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        self.folders()
            .map(read)
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// How many processes the kernel has killed for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some(place) = &self.memory else { return 0 };
        let file = if place.unified { "memory.events" } else { "memory.oom_control" };
        field(&place.folder.join(file), "oom_kill")
    }

    /// How many times the kernel has refused a new process.
    pub(crate) fn process_refusals(&self) -> u64 {
        self.pids.as_ref().map_or(0, |place| field(&place.folder.join("pids.events"), "max"))
    }

    /// Removes the groups, once empty. Blocking, for at most [`REMOVE_TRIES`] × [`REMOVE_PAUSE`] each.
    pub(crate) fn remove(&self) {
        for folder in self.folders() {
            for _ in 0..REMOVE_TRIES {
                match fs::remove_dir(folder) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(REMOVE_PAUSE),
                    _ => break,
                }
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn fresh_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Makes the folder, which in version 2 may be there already for the other controller.
fn make(base: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = base.join(name);
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(folder),
    }
}

fn set(folder: &Path, file: &str, value: u64) -> io::Result<()> {
    // Without `create`: a file that is not there means a controller that is not there.
    use io::Write;
    fs::OpenOptions::new().write(true).open(folder.join(file))?.write_all(value.to_string().as_bytes())
}

/// The number after `name` in a file of lines `name number`; 0 if there is none.
fn field(path: &Path, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

/// Where the group `path` is in the file system, given the mounts and which of them to take.
fn mounted(mounts: &str, path: &str, wanted: impl Fn(&str, &str) -> bool) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, point) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        if !wanted(kind, options) {
            return None;
        }
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(point).join(below))
    })
}

/// Removes groups that a platform left behind when it was killed. Only empty groups can be removed, and a group
/// whose platform still runs is left alone.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_in_hybrid_hierarchies() {
        let groups = "8:pids:/\n4:memory:/jobs/a\n0::/\n";
        let mounts = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let place = |folder: &str| Some(Place { folder: folder.into(), unified: false });
        let wanted = Base { memory: place("/sys/fs/cgroup/memory/jobs/a"), pids: place("/sys/fs/cgroup/pids/") };
        assert_eq!(Base::parse(groups, mounts), wanted);
    }

    #[test]
    fn the_own_group_is_found_in_the_unified_hierarchy_also_inside_a_container() {
        let groups = "0::/docker/abc\n";
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let place = Some(Place { folder: "/sys/fs/cgroup/".into(), unified: true });
        assert_eq!(Base::parse(groups, mounts), Base { memory: place.clone(), pids: place });
    }
}
