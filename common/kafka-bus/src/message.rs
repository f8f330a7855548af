//! What is written to Kafka: lines of one log, or a mark in it. One JSON object a message, without line breaks.

use common::api::LogKind;
use common::bus::{Line, Topic};
use common::id::DeploymentId;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

/// About how many bytes of lines are in one message, bytes: brokers take 1 MB by default, and JSON may double it.
const MOST: usize = 256 << 10;
/// Bytes that a line needs beside its text.
const BESIDE: usize = 80;

/// One message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Who wrote it: a process, anew each time that it starts.
    pub producer: String,
    /// Its messages are counted from 1: a repeated one is known by that.
    pub n: u64,
    /// Whose log.
    pub deployment: DeploymentId,
    /// Which log.
    pub kind: LogKind,
    /// When it was written.
    pub time: Timestamp,
    /// Lines, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<Line>,
    /// A mark instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// What is said about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// No line will follow.
    Finish,
    /// That is taken back.
    Reopen,
    /// The deployment is deleted, and its logs with it.
    Remove,
}

/// What a message is about, without its lines.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    /// Whose log.
    pub deployment: DeploymentId,
    /// Which log.
    pub kind: LogKind,
}

impl Message {
    /// The log that it is part of.
    pub fn topic(&self) -> Topic {
        Topic { deployment: self.deployment.clone(), kind: self.kind }
    }
}

/// The partition of a deployment's logs. It never changes, so that order holds; therefore the number of partitions is
/// a setting, not what the cluster has.
pub(crate) fn partition(deployment: &DeploymentId, partitions: u32) -> u32 {
    let hash = blake3::hash(deployment.as_str().as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]) % partitions
}

/// Cuts lines into what is one message each. A line that is longer goes on in the next one.
pub(crate) fn cut(lines: Vec<Line>) -> Vec<Vec<Line>> {
    let mut messages = Vec::new();
    let mut open = Vec::new();
    let mut bytes = 0;
    for line in lines.into_iter().flat_map(shorten) {
        let more = line.text.len() + BESIDE;
        if bytes + more > MOST && !open.is_empty() {
            messages.push(std::mem::take(&mut open));
            bytes = 0;
        }
        bytes += more;
        open.push(line);
    }
    if !open.is_empty() {
        messages.push(open);
    }
    messages
}

fn shorten(mut line: Line) -> Vec<Line> {
    let mut pieces = Vec::new();
    while line.text.len() > MOST - BESIDE {
        let at = (0..=MOST - BESIDE).rev().find(|at| line.text.is_char_boundary(*at)).unwrap_or(0);
        let rest = Line { text: line.text.split_off(at), ..line };
        pieces.push(std::mem::replace(&mut line, rest));
    }
    pieces.push(line);
    pieces
}

#[cfg(test)]
mod tests {
    use common::bus::StreamName;

    use super::*;

    fn line(text: String) -> Line {
        Line { time: Timestamp::from_millis(0), stream: StreamName::Stdout, text }
    }

    #[test]
    fn messages_are_bounded_and_nothing_is_lost() {
        let lines: Vec<Line> = (0..20_000).map(|n| line(format!("{n}"))).chain([line("ü".repeat(MOST))]).collect();
        let whole: String = lines.iter().map(|l| l.text.as_str()).collect();
        let messages = cut(lines);
        assert!(messages.len() > 5);
        let size = |m: &Vec<Line>| m.iter().map(|l| l.text.len() + BESIDE).sum::<usize>();
        assert!(messages.iter().all(|m| size(m) <= MOST));
        assert_eq!(messages.iter().flatten().map(|l| l.text.as_str()).collect::<String>(), whole);
        assert!(cut(Vec::new()).is_empty());
    }

    #[test]
    fn deployments_spread_over_all_partitions() {
        let mut seen = [0; 8];
        for _ in 0..800 {
            seen[partition(&DeploymentId::new(), 8) as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 40), "{seen:?}");
    }
}
