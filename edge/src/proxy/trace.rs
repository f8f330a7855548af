//! W3C Trace Context: a request's place in a trace, continued or begun.

use http::HeaderName;
use observe::Observer;

/// Names the trace and the caller's part of it.
pub(crate) const PARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems add to it.
pub(super) const STATE: HeaderName = HeaderName::from_static("tracestate");
/// Length of a `traceparent` of version 00.
const LEN: usize = 55;
/// The caller records this trace.
const SAMPLED: u8 = 1;

/// A request's place in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The trace's id; not zero once the request is known.
    pub(crate) id: u128,
    /// The caller's span, where there is one.
    pub(crate) parent: Option<u64>,
    /// The edge's own span, which is the app's parent.
    pub(crate) span: u64,
    /// Trace flags; bit 0 says that the trace is recorded. A stranger can't ask for that.
    pub(crate) flags: u8,
}

impl Trace {
    /// Continues the trace that the request names, or begins one; `parents` are the values of its fields [`PARENT`].
    pub(super) fn of<'a>(parents: impl Iterator<Item = &'a [u8]>, is_trusted: bool, observer: &Observer) -> Self {
        Self::continued(parents, is_trusted).decided(is_trusted, observer)
    }

    /// Like [`Trace::of`], for a stranger.
    pub(crate) fn of_stranger<'a>(parents: impl Iterator<Item = &'a [u8]>, observer: &Observer) -> Self {
        Self::of(parents, false, observer)
    }

    fn continued<'a>(mut parents: impl Iterator<Item = &'a [u8]>, is_trusted: bool) -> Self {
        let told = parents.next().filter(|_| parents.next().is_none());
        let span = rand::random::<u64>().max(1);
        match told.and_then(parse) {
            Some((id, parent, flags)) => {
                let flags = if is_trusted { flags } else { flags & !SAMPLED };
                Self { id, parent: Some(parent), span, flags }
            }
            None => Self { id: rand::random::<u128>().max(1), parent: None, span, flags: 0 },
        }
    }

    /// Decides whether the trace is recorded, unless a trusted proxy has.
    fn decided(mut self, is_trusted: bool, observer: &Observer) -> Self {
        if !is_trusted || self.parent.is_none() {
            // A stranger may name a trace, but not have it recorded: then a number that it can't choose decides.
            let decides = if self.parent.is_none() { self.id } else { self.span.into() };
            if observer.samples(decides) {
                self.flags |= SAMPLED;
            }
        }
        self
    }

    /// What is told of it; `None` as long as the request is not known.
    pub(crate) fn told(&self) -> Option<observe::Trace> {
        let Self { id, parent, span, flags } = *self;
        let told = observe::Trace { trace_id: id, span_id: span, parent, sampled: flags & SAMPLED != 0 };
        (id != 0).then_some(told)
    }
}

impl Trace {
    /// As in the field for the app, whose parent is the edge's span.
    pub(super) fn text(&self) -> [u8; LEN] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.id.to_be_bytes());
        write_hex(&mut text[36..52], &self.span.to_be_bytes());
        write_hex(&mut text[53..], &[self.flags]);
        text
    }
}

/// Looked up, because every request of an app comes by here.
fn write_hex(to: &mut [u8], bytes: &[u8]) {
    let (places, _) = to.as_chunks_mut::<2>();
    for (place, byte) in places.iter_mut().zip(bytes) {
        *place = HEX[usize::from(*byte)];
    }
}

/// Each byte in hexadecimal digits.
static HEX: [[u8; 2]; 256] = hex_table();

const fn hex_table() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
}

/// The parts of a `traceparent`. Of later versions, what version 00 has is read.
fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (first, rest) = text.split_at_checked(LEN)?;
    let mut parts = first.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let lengths = (version.len(), id.len(), parent.len(), flags.len());
    let ends = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    if lengths != (2, 32, 16, 2) || parts.next().is_some() || version == "ff" || !ends {
        return None;
    }
    if ![version, id, parent, flags].into_iter().all(is_hex) {
        return None;
    }
    let id = u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)?;
    let parent = u64::from_str_radix(parent, 16).ok().filter(|id| *id != 0)?;
    Some((id, parent, u8::from_str_radix(flags, 16).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_continued_and_only_a_trusted_proxy_has_it_recorded() {
        let trace = Trace::continued([GOOD.as_bytes()].into_iter(), true);
        assert_eq!((trace.id, trace.parent), (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, Some(0x00f0_67aa_0ba9_02b7)));
        assert_eq!(trace.flags, 1);
        let field = trace.text();
        let field = std::str::from_utf8(&field).unwrap();
        assert!(field.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert_ne!(field, GOOD, "the app's parent is the edge's span");
        assert_eq!(parse(field.as_bytes()).unwrap().1, trace.span);
        assert_eq!(Trace::continued([GOOD.as_bytes()].into_iter(), false).flags, 0);
    }

    #[test]
    fn what_is_no_trace_begins_one() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert!(parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later".as_bytes()).is_some());
        let begun = Trace::continued(std::iter::empty(), false);
        assert!(begun.id != 0 && begun.span != 0 && begun.parent.is_none());
        assert_ne!(begun.id, Trace::continued(std::iter::empty(), false).id);
    }
}
