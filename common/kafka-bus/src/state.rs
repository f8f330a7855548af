//! What one log is after a message: the same for everybody who reads the same partition.
//!
//! Records get their numbers here, by their place in the partition, and not from who writes them. So two writers never
//! clash, a writer needs to know nothing, and a log goes on counting whoever continues it.

use std::time::Duration;

use common::bus::Line;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::message::{Mark, Message};

/// Text of a log that is archived together, bytes.
pub(crate) const SEGMENT: u64 = 4 << 20;
/// Lines that were said before the end may come after it, when their writer's broker was away. The clocks of the two
/// machines may differ by this.
const CLOCKS: Duration = Duration::from_secs(5);

/// One log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    /// The partition that it is in.
    pub partition: u32,
    /// Offset after the last message that counted.
    pub offset: u64,
    /// Number of the next record.
    pub next: u64,
    /// When it was finished, if it is.
    pub finished_at: Option<Timestamp>,
    /// Its deployment was deleted. The state stays, so that late messages do not bring it back.
    pub removed: bool,
    /// The archive has nothing of a removed log any more.
    pub purged: bool,
    /// Records up to this number are archived.
    pub archived: u64,
    /// Text since the last cut, bytes.
    pub bytes: u64,
    /// When the first line since the last cut came; of a removed log, when that was.
    pub since: Option<Timestamp>,
    /// Ends of what is to be archived, in order.
    pub cuts: Vec<Cut>,
}

/// The end of what is archived together, and what the log was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cut {
    /// Offset after the last message.
    pub offset: u64,
    /// Number of the next record.
    pub next: u64,
    /// When the log was finished, if it was.
    pub finished_at: Option<Timestamp>,
}

impl LogState {
    /// A log without records.
    pub const fn new(partition: u32) -> Self {
        Self {
            partition,
            offset: 0,
            next: 1,
            finished_at: None,
            removed: false,
            purged: false,
            archived: 0,
            bytes: 0,
            since: None,
            cuts: Vec::new(),
        }
    }

    /// A log of which everything before is archived.
    pub fn after(partition: u32, cut: &Cut) -> Self {
        let Cut { offset, next, finished_at } = *cut;
        Self { offset, next, finished_at, archived: next - 1, ..Self::new(partition) }
    }

    /// Takes a message and returns the lines that are new, whose numbers begin with what [`Self::next`] was.
    pub fn apply(&mut self, message: Message, offset: u64, now: Timestamp) -> Vec<Line> {
        if offset < self.offset || self.removed {
            return Vec::new();
        }
        self.offset = offset + 1;
        match message.mark {
            Some(Mark::Remove) => {
                self.removed = true;
                self.since = Some(now);
                self.cuts.clear();
                return Vec::new();
            }
            Some(Mark::Finish) if self.finished_at.is_none() => {
                self.finished_at = Some(message.time);
                self.cut();
            }
            Some(Mark::Reopen) => self.finished_at = None,
            Some(Mark::Finish) | None => {}
        }
        let mut lines = message.lines;
        if let Some(end) = self.finished_at {
            lines.retain(|line| line.time <= end.after(CLOCKS));
        }
        if lines.is_empty() {
            return lines;
        }
        self.next += lines.len() as u64;
        self.bytes += lines.iter().map(|line| line.text.len() as u64).sum::<u64>();
        self.since.get_or_insert(now);
        if self.bytes >= SEGMENT || self.finished_at.is_some() {
            self.cut();
        }
        lines
    }

    /// Whether no record follows number `last`.
    pub fn is_over(&self, last: u64) -> bool {
        self.finished_at.is_some() && last >= self.next - 1
    }

    /// What came since the last cut is to be archived.
    pub fn cut(&mut self) {
        self.cuts.push(Cut { offset: self.offset, next: self.next, finished_at: self.finished_at });
        self.bytes = 0;
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use common::api::LogKind;
    use common::bus::StreamName;
    use common::id::DeploymentId;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    fn message(at: i64, texts: &[&str], mark: Option<Mark>) -> Message {
        let time = Timestamp::from_millis(at);
        let line = |text: &&str| Line { time, stream: StreamName::Stdout, text: (*text).to_owned() };
        let lines = texts.iter().map(line).collect();
        let deployment = DeploymentId::new();
        Message { producer: "p".to_owned(), n: 1, deployment, kind: LogKind::Build, time, lines, mark }
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_said_before_the_end_count_and_later_ones_do_not() {
        let mut log = LogState::new(0);
        log.apply(message(0, &["a"], None), 4, NOW);
        log.apply(message(1_000, &[], Some(Mark::Finish)), 5, NOW);
        assert_eq!(texts(log.apply(message(900, &["late"], None), 6, NOW)), ["late"]);
        assert!(log.apply(message(60_000, &["canceled"], None), 7, NOW).is_empty());
        assert_eq!((log.next, log.finished_at), (3, Some(Timestamp::from_millis(1_000))));
        // The end, and what came after it, are both archived.
        assert_eq!(log.cuts.iter().map(|cut| cut.next).collect::<Vec<_>>(), [2, 3]);
        log.apply(message(70_000, &[], Some(Mark::Reopen)), 8, NOW);
        assert_eq!(texts(log.apply(message(70_000, &["again"], None), 9, NOW)), ["again"]);
        assert_eq!((log.next, log.finished_at), (4, None));
    }

    #[test]
    fn what_the_archive_has_does_not_count_again() {
        let mut log = LogState::new(0);
        log.apply(message(0, &["a", "b"], None), 10, NOW);
        log.apply(message(0, &[], Some(Mark::Finish)), 11, NOW);
        let mut fresh = LogState::after(0, &log.cuts[0]);
        assert!(fresh.apply(message(0, &["a", "b"], None), 10, NOW).is_empty());
        fresh.apply(message(0, &[], Some(Mark::Finish)), 11, NOW);
        assert_eq!((fresh.next, fresh.archived, fresh.cuts.len()), (3, 2, 0));
        assert_eq!(fresh.finished_at, log.finished_at);
    }

    #[test]
    fn a_long_log_is_cut_where_everybody_cuts_it() {
        let long = "x".repeat(1 << 20);
        let mut log = LogState::new(0);
        for offset in 0..9 {
            log.apply(message(0, &[&long], None), offset, NOW);
        }
        assert_eq!(log.cuts.iter().map(|cut| cut.next).collect::<Vec<_>>(), [5, 9]);
        assert_eq!(log.bytes, 1 << 20);
    }

    #[test]
    fn nothing_comes_after_the_removal() {
        let mut log = LogState::new(0);
        log.apply(message(0, &["a"], None), 0, NOW);
        log.apply(message(0, &[], Some(Mark::Remove)), 1, NOW);
        assert!(log.apply(message(0, &["b"], None), 2, NOW).is_empty());
        assert!(log.removed && log.cuts.is_empty());
    }
}
