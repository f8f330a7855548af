//! This machine's copy of what is not archived yet: numbers, lines, and how far each partition was read, changed
//! together. It may be deleted: what it held is read from Kafka and from the archive again.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::time::Duration;

use common::api::LogKind;
use common::bus::{Line, MAX_READ, Record, Topic};
use common::time::Timestamp;
use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};

use crate::message::Message;
use crate::state::{Cut, LogState};

/// By kind and partition: the next offset, and the hash of the message before it.
const POSITIONS: TableDefinition<'static, (&str, u32), (u64, u64)> = TableDefinition::new("positions");
/// By kind, partition and producer: its last message's count, and when that came (milliseconds since the Unix epoch).
const PRODUCERS: TableDefinition<'static, (&str, u32, &str), (u64, i64)> = TableDefinition::new("producers");
/// By topic: its [`LogState`] as JSON.
const LOGS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("logs");
/// By topic and number of the first of them: lines as JSON.
const LINES: TableDefinition<'static, (&str, u64), &[u8]> = TableDefinition::new("lines");
/// Sums.
const SUMS: TableDefinition<'static, &str, u64> = TableDefinition::new("sums");
/// Which cluster's partitions these are, and what its topics' names begin with.
const STREAM: TableDefinition<'static, (), &str> = TableDefinition::new("stream");
/// Bytes of all lines.
const BYTES: &str = "bytes";

/// Producers that were silent, and logs that were removed, are forgotten after this: a machine that was away for longer
/// may repeat what it had sent.
const FORGET: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The copy.
pub(crate) struct Local {
    database: Database,
}

/// A message as it was read.
pub(crate) struct Received {
    /// Which topic of Kafka.
    pub kind: LogKind,
    /// Which partition.
    pub partition: u32,
    /// Where in it.
    pub offset: u64,
    /// Of its bytes.
    pub hash: u64,
    /// Nothing when it can't be understood.
    pub message: Option<Message>,
}

/// Why a partition is read from a place that is not the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    /// It was never read.
    First,
    /// Kafka deleted messages before they were read: only the archive knows how logs went on.
    Lost,
    /// The partition or the cluster was made anew, so offsets begin again; logs go on from what is here.
    Anew,
}

/// What a batch changed.
#[derive(Default)]
pub(crate) struct Changed {
    /// Logs with something new.
    pub topics: HashSet<Topic>,
    /// Logs with something to archive or to delete.
    pub due: HashSet<Topic>,
}

type Result<T> = std::result::Result<T, redb::Error>;

fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(value).map_err(io::Error::from)?)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    Ok(serde_json::from_slice(bytes).map_err(io::Error::from)?)
}

impl Local {
    /// Opens the copy in a folder.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let local = Self { database: Database::create(folder.join("logs.redb"))? };
        let change = local.database.begin_write()?;
        // A table is there for readers once it was opened here.
        change.open_table(POSITIONS)?;
        change.open_table(PRODUCERS)?;
        change.open_table(LOGS)?;
        change.open_table(LINES)?;
        change.open_table(SUMS)?;
        change.open_table(STREAM)?;
        change.commit()?;
        Ok(local)
    }

    /// Which cluster's logs these are, if any.
    pub fn stream(&self) -> Result<Option<String>> {
        let view = self.database.begin_read()?;
        Ok(view.open_table(STREAM)?.get(())?.map(|stream| stream.value().to_owned()))
    }

    /// From now on they are those of this cluster.
    pub fn set_stream(&self, stream: &str) -> Result<()> {
        let change = self.database.begin_write()?;
        change.open_table(STREAM)?.insert((), stream)?;
        change.commit()?;
        Ok(())
    }

    /// The next offset of a partition, and the hash of the message before it; nothing when it was never read.
    pub fn position(&self, kind: LogKind, partition: u32) -> Result<Option<(u64, u64)>> {
        let view = self.database.begin_read()?;
        let found = view.open_table(POSITIONS)?.get((kind.name(), partition))?;
        Ok(found.map(|found| found.value()))
    }

    /// Begins to read a partition at `offset`.
    pub fn begin(&self, kind: LogKind, partition: u32, offset: u64, begin: Begin) -> Result<()> {
        let change = self.database.begin_write()?;
        {
            let mut positions = change.open_table(POSITIONS)?;
            positions.insert((kind.name(), partition), (offset, 0))?;
            let mut logs = change.open_table(LOGS)?;
            let mut lines = change.open_table(LINES)?;
            let mut states = Vec::new();
            for found in logs.iter()? {
                let (name, state) = found?;
                let state: LogState = decode(state.value())?;
                if name.value().ends_with(kind.name()) && state.partition == partition {
                    states.push((name.value().to_owned(), state));
                }
            }
            let mut freed = 0;
            for (name, mut state) in states {
                if matches!(begin, Begin::Lost) {
                    logs.remove(name.as_str())?;
                    freed += drop_lines(&mut lines, &name, u64::MAX)?;
                } else {
                    state.offset = 0;
                    state.cuts.iter_mut().for_each(|cut| cut.offset = 0);
                    logs.insert(name.as_str(), encode(&state)?.as_slice())?;
                }
            }
            take_off(&change, freed)?;
        }
        change.commit()?;
        Ok(())
    }

    /// Logs of a batch that this copy knows nothing of, though they may have begun before it did.
    pub fn unknown(&self, batch: &[Received]) -> Result<HashSet<Topic>> {
        let logs = self.database.begin_read()?.open_table(LOGS)?;
        let mut unknown = HashSet::new();
        for message in batch.iter().filter_map(|received| received.message.as_ref()) {
            let topic = message.topic();
            if !unknown.contains(&topic) && logs.get(&*topic.to_string())?.is_none() {
                unknown.insert(topic);
            }
        }
        Ok(unknown)
    }

    /// Takes what was read, in order. `bases` is what the archive has of unknown logs. Without `durable` a crash may undo
    /// it as a whole, and it is read again.
    pub fn apply(
        &self,
        batch: Vec<Received>,
        mut bases: HashMap<Topic, LogState>,
        now: Timestamp,
        durable: bool,
    ) -> Result<Changed> {
        let mut changed = Changed::default();
        let mut states: HashMap<Topic, LogState> = HashMap::new();
        let mut change = self.database.begin_write()?;
        change.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
        {
            let mut positions = change.open_table(POSITIONS)?;
            let mut producers = change.open_table(PRODUCERS)?;
            let mut logs = change.open_table(LOGS)?;
            let mut lines = change.open_table(LINES)?;
            let mut sums = change.open_table(SUMS)?;
            let mut bytes = sums.get(BYTES)?.map_or(0, |sum| sum.value());
            for Received { kind, partition, offset, hash, message } in batch {
                positions.insert((kind.name(), partition), (offset + 1, hash))?;
                let Some(message) = message else { continue };
                let producer = (kind.name(), partition, message.producer.as_str());
                if producers.get(producer)?.is_some_and(|last| message.n <= last.value().0) {
                    continue;
                }
                producers.insert(producer, (message.n, now.as_millis()))?;
                let topic = message.topic();
                let name = topic.to_string();
                let state = match states.entry(topic.clone()) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::hash_map::Entry::Vacant(place) => {
                        let known = logs.get(name.as_str())?.map(|state| decode(state.value())).transpose()?;
                        place.insert(match known {
                            Some(known) => known,
                            None => bases.remove(&topic).unwrap_or(LogState::new(partition)),
                        })
                    }
                };
                let first = state.next;
                let new = state.apply(message, offset, now);
                if !new.is_empty() {
                    let text = encode(&new)?;
                    bytes += text.len() as u64;
                    lines.insert((name.as_str(), first), text.as_slice())?;
                }
                if state.removed {
                    bytes = bytes.saturating_sub(drop_lines(&mut lines, &name, u64::MAX)?);
                }
                if state.removed || !state.cuts.is_empty() {
                    changed.due.insert(topic.clone());
                }
                changed.topics.insert(topic);
            }
            sums.insert(BYTES, bytes)?;
            for (topic, state) in &states {
                logs.insert(&*topic.to_string(), encode(state)?.as_slice())?;
            }
        }
        change.commit()?;
        Ok(changed)
    }

    /// A log, if anything is known of it.
    pub fn state(&self, topic: &Topic) -> Result<Option<LogState>> {
        let view = self.database.begin_read()?;
        let found = view.open_table(LOGS)?.get(&*topic.to_string())?;
        found.map(|state| decode(state.value())).transpose()
    }

    /// A log, and up to [`MAX_READ`] of the records after `after` that are here.
    pub fn read(&self, topic: &Topic, after: u64) -> Result<Option<(LogState, Vec<Record>)>> {
        let view = self.database.begin_read()?;
        let name = topic.to_string();
        let Some(state) = view.open_table(LOGS)?.get(name.as_str())? else { return Ok(None) };
        let state: LogState = decode(state.value())?;
        let after = after.max(state.archived);
        let mut records = Vec::new();
        if state.removed || after >= state.next - 1 {
            return Ok(Some((state, records)));
        }
        let lines = view.open_table(LINES)?;
        let wanted = (name.as_str(), after + 1);
        // The message that holds the first wanted record may begin before it.
        let begin = lines
            .range((name.as_str(), 0)..=wanted)?
            .next_back()
            .transpose()?
            .map_or(after + 1, |(key, _)| key.value().1);
        for found in lines.range((name.as_str(), begin)..(name.as_str(), u64::MAX))? {
            let (key, text) = found?;
            let numbered = (key.value().1..).zip(decode::<Vec<Line>>(text.value())?);
            records.extend(numbered.filter(|(seq, _)| *seq > after).map(|(seq, line)| record(seq, line)));
            if records.len() >= MAX_READ {
                records.truncate(MAX_READ);
                break;
            }
        }
        Ok(Some((state, records)))
    }

    /// What is to be archived of a log first: its partition, where that ends, and the records; or nothing.
    pub fn to_archive(&self, topic: &Topic) -> Result<Option<(u32, Cut, Vec<Record>)>> {
        let view = self.database.begin_read()?;
        let name = topic.to_string();
        let Some(state) = view.open_table(LOGS)?.get(name.as_str())? else { return Ok(None) };
        let state: LogState = decode(state.value())?;
        let Some(cut) = state.cuts.first().cloned() else { return Ok(None) };
        let mut records = Vec::new();
        for found in view.open_table(LINES)?.range((name.as_str(), state.archived + 1)..(name.as_str(), cut.next))? {
            let (key, text) = found?;
            records
                .extend((key.value().1..).zip(decode::<Vec<Line>>(text.value())?).map(|(seq, line)| record(seq, line)));
        }
        Ok(Some((state.partition, cut, records)))
    }

    /// A cut is archived: its lines are read from there now.
    pub fn archived(&self, topic: &Topic, cut: &Cut) -> Result<()> {
        self.change(topic, |state, lines| {
            if state.cuts.first() != Some(cut) {
                return Ok(0);
            }
            state.cuts.remove(0);
            state.archived = cut.next - 1;
            drop_lines(lines, &topic.to_string(), cut.next)
        })
    }

    /// The archive has nothing of a removed log any more.
    pub fn purged(&self, topic: &Topic) -> Result<()> {
        self.change(topic, |state, _| {
            state.purged = true;
            Ok(0)
        })
    }

    fn change(
        &self,
        topic: &Topic,
        act: impl FnOnce(&mut LogState, &mut redb::Table<'_, (&'static str, u64), &'static [u8]>) -> Result<u64>,
    ) -> Result<()> {
        let name = topic.to_string();
        let change = self.database.begin_write()?;
        {
            let mut logs = change.open_table(LOGS)?;
            let Some(mut state) = logs.get(name.as_str())?.map(|s| decode::<LogState>(s.value())).transpose()? else {
                return Ok(());
            };
            let freed = act(&mut state, &mut change.open_table(LINES)?)?;
            logs.insert(name.as_str(), encode(&state)?.as_slice())?;
            take_off(&change, freed)?;
        }
        change.commit()?;
        Ok(())
    }

    /// Cuts logs whose oldest line that is in no cut came before `before`, and returns all that have something to archive
    /// or to delete. What is known of the past for no use any more is forgotten.
    pub fn due(&self, before: Timestamp, now: Timestamp) -> Result<HashSet<Topic>> {
        let change = self.database.begin_write()?;
        let mut due = HashSet::new();
        let forget = now.before(FORGET);
        change.open_table(PRODUCERS)?.retain(|_, (_, last)| last >= forget.as_millis())?;
        {
            let mut logs = change.open_table(LOGS)?;
            let (mut cut, mut forgotten) = (Vec::new(), Vec::new());
            for found in logs.iter()? {
                let (name, state) = found?;
                let mut state: LogState = decode(state.value())?;
                let Some(topic) = topic(name.value()) else { continue };
                if state.removed {
                    if state.purged && state.since.is_none_or(|since| since < forget) {
                        forgotten.push(name.value().to_owned());
                    }
                } else if state.since.is_some_and(|since| since <= before) {
                    state.cut();
                    cut.push((name.value().to_owned(), encode(&state)?));
                }
                if !state.cuts.is_empty() || (state.removed && !state.purged) {
                    due.insert(topic);
                }
            }
            for name in forgotten {
                logs.remove(name.as_str())?;
            }
            for (name, state) in cut {
                logs.insert(name.as_str(), state.as_slice())?;
            }
        }
        change.commit()?;
        Ok(due)
    }

    /// Bytes of all lines that are here.
    pub fn bytes(&self) -> Result<u64> {
        let view = self.database.begin_read()?;
        Ok(view.open_table(SUMS)?.get(BYTES)?.map_or(0, |sum| sum.value()))
    }
}

fn take_off(change: &WriteTransaction, bytes: u64) -> Result<()> {
    let mut sums = change.open_table(SUMS)?;
    let sum = sums.get(BYTES)?.map_or(0, |sum| sum.value());
    sums.insert(BYTES, sum.saturating_sub(bytes))?;
    Ok(())
}

/// Deletes a log's lines before a number and returns their bytes.
fn drop_lines(lines: &mut redb::Table<'_, (&'static str, u64), &'static [u8]>, name: &str, before: u64) -> Result<u64> {
    let mut freed = 0;
    lines.retain_in((name, 0)..(name, before), |_, text| {
        freed += text.len() as u64;
        false
    })?;
    Ok(freed)
}

fn record(seq: u64, Line { time, stream, text }: Line) -> Record {
    Record { seq, time, stream, text }
}

/// A topic from its name as it is kept.
fn topic(name: &str) -> Option<Topic> {
    let (deployment, kind) = name.split_once('/')?;
    let kind = crate::connect::KINDS.into_iter().find(|known| known.name() == kind)?;
    Some(Topic { deployment: deployment.parse().ok()?, kind })
}
