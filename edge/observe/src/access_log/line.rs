//! How a line is written: without allocating, because it is written for every request.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::record::Record;

/// Bytes of a host, path or user agent that are logged: what is longer is a visitor's mischief.
const MAX_TEXT: usize = 512;

/// The time as text, made anew once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    /// As in `2026-01-31T12:00:00`.
    text: String,
}

/// A moment as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    text: &'a str,
    millis: u32,
}

impl Clock {
    pub(super) fn now(&mut self) -> Moment<'_> {
        // A clock before 1970 is set wrong; the lines then say 1970.
        self.at(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn at(&mut self, since_epoch: Duration) -> Moment<'_> {
        let second = since_epoch.as_secs();
        if self.second != second || self.text.is_empty() {
            let time = i64::try_from(second).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
            self.text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = second;
        }
        Moment { text: &self.text, millis: since_epoch.subsec_millis() }
    }
}

/// Adds a request's line. Fields that do not apply are absent.
pub(super) fn write(line: &mut Vec<u8>, now: Moment<'_>, record: &Record<'_>) {
    line.extend_from_slice(b"{\"time\":\"");
    line.extend_from_slice(now.text.as_bytes());
    line.push(b'.');
    padded(line, now.millis.into());
    line.extend_from_slice(b"Z\"");
    text(line, ",\"host\":", record.host.as_bytes());
    optional(line, ",\"project\":", record.project);
    optional(line, ",\"deployment\":", record.deployment);
    text(line, ",\"method\":", record.method.as_bytes());
    text(line, ",\"path\":", record.path.as_bytes());
    if let Some(status) = record.status {
        number(line, ",\"status\":", status.into());
    }
    number(line, ",\"bytes_in\":", record.bytes_in);
    number(line, ",\"bytes_out\":", record.bytes_out);
    duration(line, ",\"duration_ms\":", record.duration);
    if let Some(first) = record.first_byte {
        duration(line, ",\"first_byte_ms\":", first);
    }
    optional(line, ",\"cache\":", record.cache.map(|cache| cache.as_str()));
    if let Some(upstream) = record.upstream {
        shown(line, ",\"upstream\":", format_args!("{upstream}"));
    }
    if !record.request_id.is_empty() {
        text(line, ",\"request_id\":", record.request_id.as_bytes());
    }
    if let Some(trace) = record.trace {
        shown(line, ",\"trace_id\":", format_args!("{:032x}", trace.trace_id));
    }
    if let Some(client) = record.client {
        shown(line, ",\"client\":", format_args!("{client}"));
    }
    text(line, ",\"scheme\":", record.scheme().as_bytes());
    text(line, ",\"protocol\":", record.protocol.as_str().as_bytes());
    optional(line, ",\"tls\":", record.tls);
    if !record.user_agent.is_empty() {
        text(line, ",\"user_agent\":", record.user_agent);
    }
    optional(line, ",\"refused\":", record.refused);
    for (i, rule) in record.rules.iter().enumerate() {
        text(line, if i == 0 { ",\"rules\":[" } else { "," }, rule.as_bytes());
    }
    line.extend_from_slice(if record.rules.is_empty() { b"}\n" } else { b"]}\n" });
}

fn optional(line: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(line, name, value.as_bytes());
    }
}

/// Adds a string, cut, with what JSON can't hold escaped (RFC 8259 section 7).
fn text(line: &mut Vec<u8>, name: &str, value: &[u8]) {
    line.extend_from_slice(name.as_bytes());
    line.push(b'"');
    let value = &value[..value.len().min(MAX_TEXT)];
    if value.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\')) {
        line.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            chunk.valid().chars().for_each(|c| escaped(line, c));
            if !chunk.invalid().is_empty() {
                line.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
    line.push(b'"');
}

fn escaped(line: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => line.extend_from_slice(&[b'\\', c as u8]),
        // Also what a terminal or an editor would take for the end of a line.
        '\0'..='\x1F' | '\x7F'..='\u{9F}' | '\u{2028}' | '\u{2029}' => {
            // Writing to memory can't fail.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        }
        c => line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Adds what needs no escape.
fn shown(line: &mut Vec<u8>, name: &str, value: std::fmt::Arguments<'_>) {
    // Writing to memory can't fail.
    let _ = write!(line, "{name}\"{value}\"");
}

fn number(line: &mut Vec<u8>, name: &str, value: u64) {
    line.extend_from_slice(name.as_bytes());
    digits(line, value);
}

/// Milliseconds with three digits behind the point.
fn duration(line: &mut Vec<u8>, name: &str, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(line, name, micros / 1000);
    line.push(b'.');
    padded(line, micros % 1000);
}

/// Three digits.
fn padded(line: &mut Vec<u8>, value: u64) {
    for unit in [100, 10, 1] {
        // A remainder by ten is a digit.
        line.push(b'0' + u8::try_from(value / unit % 10).unwrap_or_default());
    }
}

fn digits(line: &mut Vec<u8>, mut value: u64) {
    /// Digits of the largest number.
    const MOST: usize = 20;
    let mut text = [b'0'; MOST];
    let mut at = MOST - 1;
    while value > 9 {
        text[at] += u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        at -= 1;
    }
    text[at] += u8::try_from(value).unwrap_or_default();
    line.extend_from_slice(&text[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{CacheResult, Protocol, Trace};

    fn written(record: &Record<'_>) -> String {
        let mut line = Vec::new();
        let mut clock = Clock::default();
        write(&mut line, clock.at(Duration::from_millis(1_769_860_800_042)), record);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_has_what_is_known_of_a_request() {
        let rules = ["watch".into(), "office".into()];
        let record = Record {
            project: Some("shop"),
            deployment: Some("dep_1"),
            host: "shop.example",
            method: "GET",
            path: "/cart",
            status: Some(200),
            bytes_in: 0,
            bytes_out: 12_345_678_901,
            duration: Duration::from_micros(12_034),
            first_byte: Some(Duration::from_micros(999)),
            cache: Some(CacheResult::Miss),
            upstream: Some("127.0.0.1:3000".parse().unwrap()),
            request_id: "r1",
            trace: Some(Trace { trace_id: 0xABC, span_id: 1, parent: None, sampled: true }),
            client: Some("2001:db8::1".parse().unwrap()),
            tls: Some("TLSv1.3"),
            protocol: Protocol::H2,
            user_agent: b"curl/8",
            rules: &rules,
            refused: None,
        };
        let expected = concat!(
            r#"{"time":"2026-01-31T12:00:00.042Z","host":"shop.example","project":"shop","deployment":"dep_1","#,
            r#""method":"GET","path":"/cart","status":200,"bytes_in":0,"bytes_out":12345678901,"#,
            r#""duration_ms":12.034,"first_byte_ms":0.999,"cache":"miss","upstream":"127.0.0.1:3000","#,
            r#""request_id":"r1","trace_id":"00000000000000000000000000000abc","client":"2001:db8::1","#,
            r#""scheme":"https","protocol":"2","tls":"TLSv1.3","user_agent":"curl/8","rules":["watch","office"]}"#,
            "\n"
        );
        assert_eq!(written(&record), expected);
    }

    #[test]
    fn what_a_visitor_writes_stays_within_its_field_and_its_line() {
        let evil = "/\"},{\"x\":\"\\ \n\r\t\u{1b}[2J\u{85}\u{2028}é";
        let line = written(&Record { path: evil, user_agent: b"\xff\xfe ok", host: "\"", ..Record::default() });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.chars().all(|c| c == '\n' || !c.is_control()), "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["path"], evil);
        assert_eq!(read["user_agent"], "\u{FFFD}\u{FFFD} ok");
        assert!(read.get("x").is_none() && read.get("status").is_none());
        let long = "é".repeat(MAX_TEXT);
        let read: serde_json::Value =
            serde_json::from_str(&written(&Record { path: &long, ..Record::default() })).unwrap();
        assert_eq!(read["path"].as_str().unwrap().len(), MAX_TEXT);
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut line = Vec::new();
            digits(&mut line, value);
            assert_eq!(String::from_utf8(line).unwrap(), value.to_string());
        }
    }
}
