//! What an app says, on its way into its log: so many lines in one second, and the rest is dropped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use common::bus::StreamName;
use logs::{Log, Rate};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes read at once.
const READ: usize = 16 << 10;
/// Longest line, bytes with its end; what is longer counts as several.
const MAX_LINE: usize = 8 << 10;

/// Passes on both streams of an app to their ends.
pub(crate) async fn capture(
    log: &Log,
    stdout: Option<impl AsyncRead + Unpin>,
    stderr: Option<impl AsyncRead + Unpin>,
    lines_per_second: u32,
) {
    let rate = Rate::new(lines_per_second);
    let pumps = async {
        tokio::join!(pump(log, StreamName::Stdout, stdout, &rate), pump(log, StreamName::Stderr, stderr, &rate));
    };
    tokio::pin!(pumps);
    loop {
        tokio::select! {
            () = &mut pumps => break,
            () = rate.dropped_some() => rate.tell(log).await,
        }
    }
    rate.tell(log).await;
}

async fn pump(log: &Log, stream: StreamName, from: Option<impl AsyncRead + Unpin>, rate: &Rate) {
    if let Some(from) = from {
        log.pump(stream, Throttled::new(from, rate)).await;
    }
}

/// A stream without the lines that the rate does not admit.
struct Throttled<'a, R> {
    inner: R,
    rate: &'a Rate,
    /// The line that is not complete yet.
    open: Vec<u8>,
    /// What may be read now, from `read` on.
    passed: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<'a, R> Throttled<'a, R> {
    fn new(inner: R, rate: &'a Rate) -> Self {
        Self { inner, rate, open: Vec::new(), passed: Vec::new(), read: 0, ended: false }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.open.extend_from_slice(piece);
            while self.open.len() > MAX_LINE {
                let rest = self.open.split_off(whole_characters(&self.open, MAX_LINE - 1));
                self.open.push(b'\n');
                self.pass();
                self.open = rest;
            }
            if self.open.ends_with(b"\n") {
                self.pass();
            }
        }
    }

    fn pass(&mut self) {
        if self.rate.admits() {
            self.passed.append(&mut self.open);
        } else {
            self.open.clear();
        }
    }
}

/// The largest length up to `most` that does not cut a character of UTF-8.
fn whole_characters(bytes: &[u8], most: usize) -> usize {
    let begins = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xC0 != 0x80);
    // A character has four bytes at most; anything else is not UTF-8 and may be cut anywhere.
    (most - 3..=most).rev().find(begins).unwrap_or(most)
}

impl<R: AsyncRead + Unpin> AsyncRead for Throttled<'_, R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.read == this.passed.len() {
            this.passed.clear();
            this.read = 0;
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            let mut chunk = [0; READ];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                this.ended = true;
                if !this.open.is_empty() {
                    this.pass();
                }
            } else {
                this.take_in(chunk.filled());
            }
        }
        let ready = this.passed.get(this.read..).unwrap_or_default();
        let n = ready.len().min(out.remaining());
        out.put_slice(ready.get(..n).unwrap_or_default());
        this.read += n;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use common::bus::file::FileBus;
    use common::bus::{Bus, Topic};
    use common::id::DeploymentId;
    use logs::Mask;
    use tokio::io::{AsyncReadExt as _, Empty};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_beyond_the_rate_are_dropped_and_counted_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let bus: Bus = Arc::new(FileBus::new(folder.path().to_owned()).unwrap());
        let topic = Topic::runtime(DeploymentId::new());
        let log = Log::start(bus.clone(), topic.clone(), Mask::default(), None);
        let said: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        capture(&log, Some(said.as_bytes()), None::<Empty>, 50).await;
        log.flush().await;
        let texts: Vec<String> = bus.read(&topic, 0).await.unwrap().records.into_iter().map(|r| r.text).collect();
        assert_eq!(texts.len(), 51);
        assert_eq!(texts[49], "line 49");
        assert_eq!(texts[50], "950 lines were dropped: an app may log 50 lines per second.");
    }

    #[tokio::test]
    async fn what_passes_is_unchanged_but_for_cuts_of_long_lines() {
        let rate = Rate::new(100);
        let text = format!("a\n\nb\n{}\nend", "é".repeat(MAX_LINE));
        let mut out = String::new();
        Throttled::new(text.as_bytes(), &rate).read_to_string(&mut out).await.unwrap();
        assert!(out.starts_with("a\n\nb\n") && out.ends_with("\nend"));
        assert_eq!(out.replace('\n', ""), text.replace('\n', ""));
        assert!(out.lines().all(|line| line.len() <= MAX_LINE));
    }
}
