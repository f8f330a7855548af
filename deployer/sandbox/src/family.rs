//! The processes of one sandbox: how they are found from outside, and ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::Group;
use crate::procs::{self, Process};

/// How often new processes are looked for while killing, at most: those that are born meanwhile are few, and what
/// still is left then, [`Family::vanish`] finds.
const ROUNDS: u32 = 20;

/// How long the last processes are killed again and again until they are gone. A process in the middle of a write to
/// a slow disk takes its time; after this it is reported in the platform's log and left.
const VANISHING: Duration = Duration::from_secs(20);

/// The pause between two looks at whether they are gone.
const VANISHING_LOOK: Duration = Duration::from_millis(5);

/// What tells the processes of one sandbox from all others of the host. Its functions block for some milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    /// The outermost process.
    pub outer: i32,
    pub group: Arc<Group>,
    /// The marker's value in the environment of its processes, where there is no process namespace.
    pub marker: Option<String>,
}

impl Family {
    /// Kills everything below the outermost process, which must not have been waited for yet, and returns what that
    /// was. The outermost itself stays: where there is no process namespace, all orphans fall to it, and so are found.
    pub(crate) fn kill(&self) -> Vec<Process> {
        let mut killed: HashMap<(i32, u64), Process> = HashMap::new();
        for _ in 0..ROUNDS {
            let all = procs::all();
            let mut found = procs::descendants(&all, self.outer);
            found.extend(self.members(&all));
            found.retain(|process| {
                process.pid != self.outer && !process.ended && !killed.contains_key(&process.identity())
            });
            if found.is_empty() {
                break;
            }
            procs::kill_all(&found);
            killed.extend(found.iter().map(|process| (process.identity(), *process)));
        }
        killed.into_values().collect()
    }

    /// Kills what is left until nothing is, once the outermost process is gone; `known` are processes seen before.
    pub(crate) fn vanish(&self, known: &HashMap<i32, u64>) {
        let begin = Instant::now();
        loop {
            let all = procs::all();
            let mut left = self.members(&all);
            left.extend(all.iter().filter(|process| known.get(&process.pid) == Some(&process.started)));
            left.retain(|process| !process.ended);
            if left.is_empty() {
                return;
            }
            if begin.elapsed() > VANISHING {
                tracing::error!(pid = self.outer, left = left.len(), "processes of a sandbox cannot be killed");
                return;
            }
            procs::kill_all(&left);
            std::thread::sleep(VANISHING_LOOK);
        }
    }

    /// The processes of `all` that belong to the sandbox by its groups or its marker.
    fn members(&self, all: &[Process]) -> Vec<Process> {
        let mut found = self.marker.as_deref().map_or_else(Vec::new, |marker| procs::marked(all, marker));
        let pids = self.group.members();
        found.extend(all.iter().filter(|process| pids.contains(&process.pid)));
        found
    }
}

/// Ends the family when dropped, unless it is released: for when the watching itself is cut short, as by the end of the
/// runtime that it runs on.
pub(crate) struct Leash(pub Option<Family>);

impl Leash {
    /// The family is gone, or somebody else sees to it.
    pub(crate) fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(family) = &self.0 {
            family.kill();
            procs::kill(family.outer);
            // Waits for a moment until nothing is left in it.
            family.group.remove();
        }
    }
}
