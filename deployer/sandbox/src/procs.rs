//! The host's processes, from `/proc`.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// The variable that marks every process of a sandbox that has no process namespace to tell them by.
pub(crate) const MARKER: &str = "ASTROCLOUD_SANDBOX";

/// One process at the moment of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    pub parent: i32,
    /// Whether it has ended and only waits for its parent to notice.
    pub ended: bool,
    pub threads: u32,
    /// Resident memory in pages.
    pub pages: u64,
    /// Ticks from boot to its start; with the pid, this names a process for good.
    pub started: u64,
}

impl Process {
    /// Parses a line of `/proc/PID/stat`. The name in it may contain anything, also `)` and spaces.
    fn parse(line: &str) -> Option<Self> {
        let pid = line.split(' ').next()?.parse().ok()?;
        let rest = line.get(line.rfind(')')? + 2..)?;
        let words: Vec<_> = rest.split_ascii_whitespace().collect();
        // Fields as proc_pid_stat(5) numbers them; the third is the first after the name.
        let field = |number: usize| words.get(number - 3).copied();
        Some(Self {
            pid,
            parent: field(4)?.parse().ok()?,
            ended: matches!(field(3)?, "Z" | "X"),
            threads: field(20)?.parse().ok()?,
            pages: field(24)?.parse().unwrap_or_default(),
            started: field(22)?.parse().ok()?,
        })
    }

    /// What tells this process from any other, also when its pid is used again.
    pub(crate) fn identity(self) -> (i32, u64) {
        (self.pid, self.started)
    }
}

/// Reads one process. Nothing if there is none of that pid.
pub(crate) fn read(pid: i32) -> Option<Process> {
    // A name may be any bytes.
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    Process::parse(&String::from_utf8_lossy(&line))
}

/// Every process that is visible from here.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(read).collect()
}

/// Every process as it was at most `age` ago. All sandboxes share what is read, so that watching many services costs
/// little more than watching one.
pub(crate) fn recent(age: Duration) -> Arc<Vec<Process>> {
    static LAST: Mutex<Option<(Instant, Arc<Vec<Process>>)>> = Mutex::new(None);
    // Held while reading: who comes meanwhile takes what is read.
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, all)) = &*last
        && at.elapsed() < age
    {
        return all.clone();
    }
    let read = (Instant::now(), Arc::new(all()));
    last.insert(read).1.clone()
}

/// The processes of `all` that descend from `root`, without `root`.
pub(crate) fn descendants(all: &[Process], root: i32) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([root]);
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(*child);
                next.push(child.pid);
            }
        }
    }
    found
}

/// The processes of `all` that were started with the marker's `value` in their environment.
pub(crate) fn marked(all: &[Process], value: &str) -> Vec<Process> {
    let wanted = format!("{MARKER}={value}").into_bytes();
    let has_it = |process: &&Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
    };
    all.iter().filter(has_it).copied().collect()
}

/// The memory of a process in bytes, with each shared page divided among those that share it. Dearer than
/// [`Process::pages`]. Nothing if the kernel does not tell.
pub(crate) fn proportional_memory(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Kills these processes at once.
pub(crate) fn kill_all(processes: &[Process]) {
    for process in processes {
        kill(process.pid);
    }
}

/// Kills one process at once.
pub(crate) fn kill(pid: i32) {
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let line = "42 (a) R 9 (x) S 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 11 0 5555 1000 321 0 0\n";
        let process = Process::parse(line).unwrap();
        let wanted = Process { pid: 42, parent: 7, ended: false, threads: 11, pages: 321, started: 5555 };
        assert_eq!(process, wanted);
    }

    #[test]
    fn descendants_are_found_over_generations_and_the_root_is_left_out() {
        let process = |pid, parent| Process { pid, parent, ended: false, threads: 1, pages: 1, started: 1 };
        let all = [process(1, 0), process(5, 1), process(9, 7), process(7, 5), process(8, 1)];
        let mut pids: Vec<_> = descendants(&all, 5).iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [7, 9]);
    }

    #[test]
    fn what_was_read_is_shared_until_it_is_too_old() {
        let long = Duration::from_secs(60);
        let first = recent(Duration::ZERO);
        assert!(Arc::ptr_eq(&first, &recent(long)));
        let fresh = recent(Duration::ZERO);
        assert!(!Arc::ptr_eq(&first, &fresh) && Arc::ptr_eq(&fresh, &recent(long)));
    }

    #[test]
    fn this_process_is_among_all() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().iter().any(|process| process.pid == own));
    }
}
