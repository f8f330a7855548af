//! Lines of a container's log as the cluster tells them, each with its time, and which of them were told before.

use std::collections::HashMap;

use common::bus::{Bus, BusError, MAX_READ, Record, StreamName, Topic};
use common::time::Timestamp;

/// Records of the bus that are compared with what the cluster tells once more.
const REMEMBERED: u64 = 5000;
/// How much before the newest of them a line may have been said that is not among them: several instances' lines come
/// by several ways. Milliseconds.
const OVERLAP: i64 = 10_000;

/// A line's time and text (`timestamps=true` of the log API: RFC 3339 with nanoseconds, a space, the text).
pub(crate) fn parse(line: &str) -> Option<(jiff::Timestamp, &str)> {
    let (time, text) = line.split_once(' ').unwrap_or((line, ""));
    Some((time.parse().ok()?, text))
}

/// How far the log of one container was read. Its lines are in the order of their times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    last: Option<jiff::Timestamp>,
    /// Lines of that time that were read.
    same: usize,
    /// Of those, how many this reading has passed.
    passed: usize,
}

impl Position {
    /// The log is read once more, from a time that is not after this position.
    pub(crate) fn rewind(&mut self) {
        self.passed = 0;
    }

    /// From when it is to be read: the API takes whole seconds.
    pub(crate) fn since(&self) -> Option<jiff::Timestamp> {
        self.last.and_then(|last| jiff::Timestamp::from_second(last.as_second()).ok())
    }

    /// Whether the next line is one that was not read before.
    pub(crate) fn advances(&mut self, time: jiff::Timestamp) -> bool {
        match self.last {
            Some(last) if time < last => false,
            Some(last) if time == last => {
                self.passed += 1;
                let new = self.passed > self.same;
                self.same = self.same.max(self.passed);
                new
            }
            _ => {
                *self = Self { last: Some(time), same: 1, passed: 1 };
                true
            }
        }
    }
}

/// What of an app's log is on the bus already, for a deployer that takes it over.
#[derive(Debug, Default)]
pub(crate) struct Told {
    lines: HashMap<(i64, String), usize>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Told {
    /// Reads the end of a log on the bus.
    pub(crate) async fn read(bus: &Bus, topic: &Topic) -> Result<Self, BusError> {
        let end = end(bus, topic).await?;
        let mut told = Self::default();
        let mut after = end.saturating_sub(REMEMBERED);
        loop {
            let records = bus.read(topic, after).await?.records;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in records.into_iter().filter(|record| record.stream != StreamName::System) {
                told.add(record);
            }
        }
        told.since = told.until.map(|until| Timestamp::from_millis(until.as_millis() - OVERLAP));
        Ok(told)
    }

    fn add(&mut self, record: Record) {
        self.until = self.until.max(Some(record.time));
        *self.lines.entry((record.time.as_millis(), record.text)).or_default() += 1;
    }

    /// From when the cluster is to tell its lines: what is older was told.
    pub(crate) fn since(&self) -> Option<jiff::Timestamp> {
        self.since.and_then(|since| jiff::Timestamp::from_millisecond(since.as_millis()).ok())
    }

    /// Whether this line, masked, is not on the bus.
    pub(crate) fn is_new(&mut self, time: Timestamp, text: &str) -> bool {
        if self.since.is_some_and(|since| time < since) {
            return false;
        }
        if self.lines.is_empty() || self.until.is_none_or(|until| time > until) {
            return true;
        }
        match self.lines.get_mut(&(time.as_millis(), text.to_owned())) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        }
    }
}

/// The number of a log's last record, found by looking ever farther and then in between.
async fn end(bus: &Bus, topic: &Topic) -> Result<u64, BusError> {
    let (mut below, mut step) = (0, MAX_READ as u64);
    // A record after `below` is there, or there is none at all.
    while let Some(last) = bus.read(topic, below + step).await?.records.last() {
        below = last.seq;
        step *= 2;
    }
    while step > 0 {
        match bus.read(topic, below + step).await?.records.last() {
            Some(last) => below = last.seq,
            None => step /= 2,
        }
    }
    Ok(bus.read(topic, below).await?.records.last().map_or(below, |last| last.seq))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use common::bus::Line;
    use common::bus::file::FileBus;
    use common::id::DeploymentId;

    use super::*;

    fn at(nanos: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(1_700_000_000_000_000_000 + i128::from(nanos)).unwrap()
    }

    #[test]
    fn a_line_has_a_time_and_a_text_that_may_be_empty() {
        let (time, text) = parse("2026-11-25T17:00:00.000000001Z  two spaces").unwrap();
        assert_eq!((time.subsec_nanosecond(), text), (1, " two spaces"));
        assert_eq!(parse("2026-11-25T17:00:00Z").unwrap().1, "");
        assert_eq!(parse("unable to retrieve container logs"), None);
    }

    #[test]
    fn a_log_that_is_read_again_goes_on_where_it_was_also_among_lines_of_one_time() {
        let mut position = Position::default();
        assert!([0, 5, 5].map(at).into_iter().all(|time| position.advances(time)));
        position.rewind();
        let again: Vec<bool> = [0, 5, 5, 5, 9].map(at).map(|time| position.advances(time)).into();
        assert_eq!(again, [false, false, false, true, true]);
        position.rewind();
        assert!(!position.advances(at(9)) && position.advances(at(9)));
    }

    #[tokio::test]
    async fn what_is_on_the_bus_is_not_told_again_however_long_the_log_is() {
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        for count in [0_i64, 1, 999, 1000, 1001, 7003] {
            let topic = Topic::runtime(DeploymentId::new());
            let line = |n: i64| Line {
                time: Timestamp::from_millis(1_700_000_000_000 + n),
                stream: StreamName::Stdout,
                text: format!("line {n}"),
            };
            for chunk in (0..count).map(line).collect::<Vec<_>>().chunks(500) {
                bus.append(&topic, chunk.to_vec()).await.unwrap();
            }
            assert_eq!(end(&bus, &topic).await.unwrap(), u64::try_from(count).unwrap());
            let mut told = Told::read(&bus, &topic).await.unwrap();
            let first = (count - 100).max(0);
            let mut is_new = |n: i64| told.is_new(line(n).time, &line(n).text);
            assert!((first..count).all(|n| !is_new(n)), "{count}");
            assert!(is_new(count), "{count}");
        }
    }
}
