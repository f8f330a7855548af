//! What the processes of a sandbox use at a moment, and which limit that means.

use std::time::Duration;

use crate::family::Family;
use crate::procs::{self, Process};
use crate::{Level, LimitHit, Limits};

/// Looks in a row at which the process limit must be found reached before it ends a command: a build may touch it for
/// a moment and recover, a fork bomb does not.
const STRIKES: u32 = 3;

/// From this share of the process limit on, in percent, the limit counts as reached: some of the processes end at
/// every moment, so a fork bomb is seldom seen at exactly the limit.
const FULL: u64 = 95;

/// So many refused processes in all are no accident: a build that touches the limit is refused a few and recovers, a
/// bomb that goes off within one look is refused hundreds.
pub(crate) const BOMB: u64 = 64;

/// One look at a sandbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// All of its processes, its own helpers included, the outermost excepted.
    pub processes: Vec<Process>,
    /// Processes and threads of the command.
    tasks: u64,
    /// Bytes of memory; 0 when the kernel keeps the limit.
    memory: u64,
    memory_kills: u64,
    refusals: u64,
}

/// Looks at a sandbox, whose processes may be known from a look at another one, at most `age` ago. Blocking, for a few
/// milliseconds.
pub(crate) fn look(family: &Family, level: Level, memory_limit: u64, age: Duration) -> Sample {
    let processes = procs::descendants(&procs::recent(age), family.outer);
    let group = &family.group;
    let alive = || processes.iter().filter(|process| !process.ended);
    // Where there is a process namespace, one process is its first, which is ours.
    let ours = u64::from(level.remaps());
    let tasks = alive().map(|process| u64::from(process.threads)).sum::<u64>().saturating_sub(ours);
    let memory = if group.keeps_memory() { 0 } else { memory(alive(), memory_limit) };
    Sample { tasks, memory, memory_kills: group.memory_kills(), refusals: group.process_refusals(), processes }
}

/// Resident memory. Pages that processes share are counted for each, which is cheap and too much; so when that is
/// over the limit, they are counted properly.
fn memory<'a>(processes: impl Iterator<Item = &'a Process> + Clone, limit: u64) -> u64 {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let resident = |process: &Process| process.pages * page;
    let rough = processes.clone().map(resident).sum();
    if rough <= limit {
        return rough;
    }
    processes.map(|process| procs::proportional_memory(process.pid).unwrap_or_else(|| resident(process))).sum()
}

/// Judges samples one after another.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    strikes: u32,
    refusals: u64,
}

impl Judge {
    /// The limit that this sample, after those before it, has reached.
    pub(crate) fn judge(&mut self, sample: &Sample, limits: &Limits) -> Option<LimitHit> {
        if sample.memory_kills > 0 || sample.memory > limits.memory {
            return Some(LimitHit::Memory(limits.memory));
        }
        let reached = full(sample.tasks, limits.processes) || sample.refusals > self.refusals;
        self.refusals = sample.refusals;
        self.strikes = if reached { self.strikes + 1 } else { 0 };
        let beyond = sample.tasks > u64::from(limits.processes) || sample.refusals >= BOMB;
        (beyond || self.strikes >= STRIKES).then_some(LimitHit::Processes(limits.processes))
    }
}

/// Whether this many processes and threads are as many as allowed, nearly.
pub(crate) fn full(tasks: u64, limit: u32) -> bool {
    tasks * 100 >= u64::from(limit) * FULL
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { wall: None, memory: 1000, processes: 100, file_size: 1, disk: None, open_files: 1 };

    fn crowd(tasks: u64) -> Sample {
        Sample { tasks, ..Sample::default() }
    }

    #[test]
    fn touching_the_process_limit_is_forgiven_and_staying_there_is_not() {
        let mut judge = Judge::default();
        for _ in 0..10 {
            assert_eq!(judge.judge(&crowd(99), &LIMITS), None);
            assert_eq!(judge.judge(&crowd(96), &LIMITS), None);
            assert_eq!(judge.judge(&crowd(50), &LIMITS), None);
        }
        assert_eq!(judge.judge(&crowd(99), &LIMITS), None);
        assert_eq!(judge.judge(&crowd(99), &LIMITS), None);
        assert_eq!(judge.judge(&crowd(99), &LIMITS), Some(LimitHit::Processes(100)));
    }

    #[test]
    fn going_on_being_refused_processes_reaches_the_limit_also_when_few_are_seen() {
        let mut judge = Judge::default();
        let refused = |refusals| Sample { refusals, ..Sample::default() };
        assert_eq!(judge.judge(&refused(5), &LIMITS), None);
        assert_eq!(judge.judge(&refused(9), &LIMITS), None);
        assert_eq!(judge.judge(&refused(12), &LIMITS), Some(LimitHit::Processes(100)));
    }

    #[test]
    fn a_bomb_that_went_off_between_two_looks_is_noticed() {
        let refused = |refusals| Sample { refusals, ..Sample::default() };
        assert_eq!(Judge::default().judge(&refused(BOMB - 1), &LIMITS), None);
        assert_eq!(Judge::default().judge(&refused(BOMB), &LIMITS), Some(LimitHit::Processes(100)));
    }

    #[test]
    fn memory_beyond_the_limit_and_a_kill_by_the_kernel_both_reach_it() {
        let over = Sample { memory: 1001, ..Sample::default() };
        let killed = Sample { memory_kills: 1, ..Sample::default() };
        for sample in [over, killed] {
            assert_eq!(Judge::default().judge(&sample, &LIMITS), Some(LimitHit::Memory(1000)));
        }
        assert_eq!(Judge::default().judge(&Sample { memory: 1000, ..Sample::default() }, &LIMITS), None);
    }
}
