//! Where a build is ended.

use std::time::Duration;

use logs::Bounds;

/// Bytes of a KiB, for `/proc/meminfo`.
const KIB: u64 = 1 << 10;
/// Bytes of a GiB.
const GIB: u64 = 1 << 30;

/// What one build may use. Each is a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for install and build together.
    pub wall: Duration,
    /// Bytes of memory, of all processes together.
    pub memory: u64,
    /// Processes and threads at one time.
    pub processes: u32,
    /// Bytes of any one file.
    pub file_size: u64,
    /// Bytes on disk: source, dependencies, download cache and output together.
    pub disk: u64,
    /// Open files of any one process.
    pub open_files: u64,
    /// What install and build may print.
    pub output: Bounds,
    /// Bytes of a project's download cache that are kept from one build to the next; a larger one is emptied.
    pub downloads: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twice the slowest build of a large Angular workspace on two cores.
            wall: Duration::from_secs(20 * 60),
            // What large webpack builds need, and always a quarter of the machine left for sites and platform.
            memory: (machine_memory() / 4 * 3).min(4 * GIB),
            processes: processes(),
            // Far above any bundle or image, far below what fills a disk.
            file_size: 2 * GIB,
            // Large workspaces have 3 GiB of dependencies.
            disk: 8 * GIB,
            // Watchers and bundlers open a file for each module; this is four times a large one's.
            open_files: 65_536,
            // The noisiest honest builds print some thousands of lines.
            output: Bounds { lines: 200_000, bytes: 64 << 20 },
            // The archives of a large workspace's dependencies have about 1 GiB.
            downloads: 2 * GIB,
        }
    }
}

impl Limits {
    /// As the sandbox takes them, with the time that is left.
    pub(crate) fn for_command(&self, left: Duration) -> sandbox::Limits {
        sandbox::Limits {
            wall: Some(left),
            memory: self.memory,
            processes: self.processes,
            file_size: self.file_size,
            disk: Some(self.disk),
            open_files: self.open_files,
        }
    }
}

/// A Node process has eleven threads, native bundlers one for each core, and webpack and Next start a Node process for
/// each core: 64 for each core is several times what they use.
fn processes() -> u32 {
    const LEAST: u32 = 1024;
    const EACH_CORE: u32 = 64;
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX));
    cores.saturating_mul(EACH_CORE).max(LEAST)
}

/// Bytes of memory that this machine, or the container around the platform, has.
fn machine_memory() -> u64 {
    /// When the system does not say: the smallest machine that builds anything.
    const UNKNOWN: u64 = 2 * GIB;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok())
        .min();
    let total = total.map_or(UNKNOWN, |kib: u64| kib.saturating_mul(KIB));
    group.map_or(total, |group| group.min(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_never_gets_all_of_the_machines_memory() {
        let limits = Limits::default();
        assert!(limits.memory > 0 && limits.memory <= 4 * GIB && limits.memory < machine_memory());
        assert!(limits.processes >= 1024);
    }
}
