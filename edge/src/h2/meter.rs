//! Bounds frames that cost the edge work and the visitor nothing: floods of PING, SETTINGS, RST_STREAM, PRIORITY,
//! CONTINUATION, WINDOW_UPDATE and empty DATA frames (RFC 9113 section 10.5; CVE-2019-9511, -9512, -9515, -9518,
//! CVE-2023-44487, CVE-2024-27316). Also notices windows that a visitor opens beyond all bounds.

use tokio::time::Instant;

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
/// Bytes of a WINDOW_UPDATE frame, and of its payload (RFC 9113 section 6.9).
const UPDATE: usize = HEAD + UPDATE_PAYLOAD;
const UPDATE_PAYLOAD: usize = 4;
/// Largest window of a stream (RFC 9113 section 6.9.1).
const MAX_WINDOW: usize = (1 << 31) - 1;
/// Bytes before the first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;

/// What a frame costs that needs an answer or work of its own.
const DEAR: u64 = 8;
/// What a frame costs that a visitor sends all the time who takes a large file.
const CHEAP: u64 = 1;
/// Bytes of answers that allow one more such frame: who makes room for less at a time makes the edge work for nothing.
const BYTES: usize = 512;
/// How many seconds' worth of frames may come at once.
const BURST_S: u64 = 4;

/// Counts the frames of a connection as they are read.
#[derive(Debug)]
pub(super) struct Meter {
    /// The head of a frame, and the payload of one that opens a window.
    frame: [u8; UPDATE],
    /// Bytes of it that have come.
    have: usize,
    /// Whether a window's payload comes next.
    is_update: bool,
    /// Bytes to go before the next head.
    skip: usize,
    budget: Budget,
    opened: Opened,
    /// A stream whose window was opened too far.
    overflown: Option<u32>,
    /// Bytes that were written and have not been counted yet.
    written: usize,
}

/// By how much the window of one stream was opened at least beyond what was sent since. The library below HTTP/2 looks
/// no more at the windows of streams whose answer is complete.
#[derive(Debug, Default)]
struct Opened {
    stream: u32,
    by: usize,
}

impl Opened {
    /// Whether a window can be that large.
    fn add(&mut self, stream: u32, by: usize) -> bool {
        if self.stream != stream {
            *self = Self { stream, by: 0 };
        }
        self.by = self.by.saturating_add(by);
        // Too large a window of the connection, stream 0, is noticed in any case.
        stream == 0 || self.by <= MAX_WINDOW
    }
}

/// What a visitor may spend on frames: so much a second, and for a moment what was not spent in the seconds before.
#[derive(Debug)]
struct Budget {
    per_s: u64,
    left: u64,
    since: Instant,
}

impl Budget {
    fn new(frames_per_s: u32) -> Self {
        let per_s = u64::from(frames_per_s) * DEAR;
        Self { per_s, left: per_s * BURST_S, since: Instant::now() }
    }

    fn add(&mut self, more: u64) {
        self.left = (self.per_s * BURST_S).min(self.left.saturating_add(more));
    }

    fn spend(&mut self, cost: u64) -> bool {
        if self.left < cost {
            // The clock is looked at only when what was there is spent.
            let now = Instant::now();
            let earned = now.duration_since(self.since).as_secs_f64() * self.per_s as f64;
            self.since = now;
            self.add(earned as u64);
        }
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }
}

impl Meter {
    /// Bounds control frames to so many a second.
    pub(super) fn new(frames_per_s: u32) -> Self {
        Self {
            frame: [0; UPDATE],
            have: 0,
            is_update: false,
            skip: PREFACE,
            budget: Budget::new(frames_per_s),
            opened: Opened::default(),
            overflown: None,
            written: 0,
        }
    }

    /// So many bytes were written to the visitor.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.opened.by = self.opened.by.saturating_sub(bytes);
        self.written += bytes;
        let more = u64::try_from(self.written / BYTES).unwrap_or(u64::MAX);
        self.written %= BYTES;
        self.budget.add(more.saturating_mul(CHEAP));
    }

    /// The stream whose window was opened beyond all bounds last, once: whoever opens it so is told by a reset
    /// (RFC 9113 section 6.9.1).
    pub(super) const fn overflown(&mut self) -> Option<u32> {
        self.overflown.take()
    }

    /// Looks at what was read. Returns whether it is within bounds.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let count = self.skip.min(bytes.len());
                self.skip -= count;
                bytes = &bytes[count..];
                continue;
            }
            let wanted = if self.is_update { UPDATE } else { HEAD };
            let count = (wanted - self.have).min(bytes.len());
            self.frame[self.have..self.have + count].copy_from_slice(&bytes[..count]);
            self.have += count;
            bytes = &bytes[count..];
            if self.have < wanted {
                break;
            }
            if self.is_update {
                self.update();
            } else if !self.head() {
                return false;
            }
        }
        true
    }

    /// The head of a frame has come. Returns whether it may.
    fn head(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.frame;
        self.have = 0;
        self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let cost = match kind {
            // These are bounded by the number of streams.
            HEADERS => 0,
            DATA if self.skip > 0 || flags & END_STREAM != 0 => 0,
            WINDOW_UPDATE => CHEAP,
            _ => DEAR,
        };
        if cost > 0 && !self.budget.spend(cost) {
            return false;
        }
        if kind == WINDOW_UPDATE && self.skip == UPDATE_PAYLOAD {
            (self.have, self.skip, self.is_update) = (HEAD, 0, true);
        }
        true
    }

    /// A frame that opens a window has come.
    fn update(&mut self) {
        (self.have, self.is_update) = (0, false);
        let [_, _, _, _, _, s0, s1, s2, s3, i0, i1, i2, i3] = self.frame;
        // The first bits mean nothing.
        let [stream, by] = [[s0, s1, s2, s3], [i0, i1, i2, i3]].map(|bytes| u32::from_be_bytes(bytes) & u32::MAX >> 1);
        if !self.opened.add(stream, by.try_into().unwrap_or(usize::MAX)) {
            self.opened = Opened::default();
            self.overflown = Some(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const FLAGS: usize = 4;

    fn meter() -> Meter {
        Meter::new(100)
    }

    /// A connection's bytes: the preface, then frames of a kind with payloads of this length.
    fn frames(kind: u8, len: u8, count: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, len, kind, 0, 0, 0, 0, 1];
        frame.resize(HEAD + usize::from(len), 0);
        let mut bytes = vec![b'P'; PREFACE];
        bytes.extend(frame.repeat(count));
        bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_noticed_however_it_is_cut_and_requests_are_not_one() {
        for (kind, len, flood) in [
            (PING, 8, true),
            (4, 0, true),
            (3, 4, true),
            (9, 1, true),
            (DATA, 0, true),
            (99, 0, true),
            (DATA, 1, false),
            (HEADERS, 9, false),
        ] {
            let bytes = frames(kind, len, 401);
            for size in [1, 7, 100, bytes.len()] {
                let mut meter = meter();
                let fine = bytes.chunks(size).all(|piece| meter.follow(piece));
                assert_eq!(fine, !flood, "kind {kind} in pieces of {size}");
            }
            assert!(meter().follow(&frames(kind, len, 400)), "kind {kind}");
        }
        assert!(meter().follow(&frames(WINDOW_UPDATE, 4, 3200)));
        assert!(!meter().follow(&frames(WINDOW_UPDATE, 4, 3201)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_at_its_pace_is_never_too_much() {
        let mut meter = meter();
        assert!(meter.follow(&frames(PING, 8, 400)));
        for _ in 0..100 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert!(meter.follow(&frames(PING, 8, 100)[PREFACE..]));
        }
        assert!(!meter.follow(&frames(PING, 8, 1)[PREFACE..]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_much_may_make_room_often() {
        let mut meter = meter();
        assert!(meter.follow(&frames(WINDOW_UPDATE, 4, 3200)));
        for _ in 0..10_000 {
            meter.wrote(300);
            meter.wrote(300);
            assert!(meter.follow(&frames(WINDOW_UPDATE, 4, 1)[PREFACE..]));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_empty_end_of_a_request_is_no_flood() {
        let mut frame = frames(DATA, 0, 1)[PREFACE..].to_vec();
        frame[FLAGS] = END_STREAM;
        let mut meter = meter();
        assert!(meter.follow(&[b'P'; PREFACE]));
        assert!(meter.follow(&frame.repeat(1000)));
    }

    /// Opens a stream's window.
    fn update(stream: u32, by: u32) -> Vec<u8> {
        let mut frame = vec![0, 0, 4, WINDOW_UPDATE, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(by.to_be_bytes());
        frame
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_beyond_all_bounds_is_noticed_however_it_is_cut() {
        const MOST: u32 = u32::MAX >> 1;
        for size in [1, 5, 100] {
            let mut meter = meter();
            let mut overflown = |bytes: &[u8]| {
                assert!(bytes.chunks(size).all(|piece| meter.follow(piece)));
                meter.overflown()
            };
            assert_eq!(overflown(&[b'P'; PREFACE]), None);
            assert_eq!(overflown(&update(1, MOST)), None);
            assert_eq!(overflown(&update(3, MOST)), None, "another stream's is another");
            assert_eq!(overflown(&[update(3, 1), update(5, 1)].concat()), Some(3));
            assert_eq!(overflown(&[update(0, MOST), update(0, MOST)].concat()), None, "the connection's is noticed");
        }
        let mut meter = meter();
        assert!(meter.follow(&[vec![b'P'; PREFACE], update(1, MOST)].concat()));
        meter.wrote(10);
        assert!(meter.follow(&update(1, 10)));
        assert_eq!(meter.overflown(), None, "what was sent may be sent again");
    }
}
