//! How a command ended.

use std::fmt;
use std::time::Duration;

/// How a command ended. When this is known, every process of its sandbox is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command's own exit code, or [`SET_UP_FAILED`](crate::SET_UP_FAILED) and its neighbours with the reason
    /// on stderr when it could not be started.
    Code(i32),
    /// A signal that did not come from here ended the command.
    Signal(i32),
    /// A limit was reached, and everything was killed.
    Limit(LimitHit),
    /// [`kill`](crate::Running::kill) was called, or the handle dropped.
    Killed,
}

impl Exit {
    /// Whether the command ended by itself with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(out, "it ended with exit code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => write!(out, "it was ended by signal {name}"),
                Err(_) => write!(out, "it was ended by signal {signal}"),
            },
            Self::Limit(hit) => hit.fmt(out),
            Self::Killed => out.write_str("it was stopped"),
        }
    }
}

/// The limit that ended a command, with the limit's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitHit {
    /// It ran longer than this.
    WallTime(Duration),
    /// It used more than this many bytes of memory.
    Memory(u64),
    /// It tried to have more than this many processes and threads at one time.
    Processes(u32),
    /// It put more than this many bytes on disk.
    Disk(u64),
    /// It tried to write a file of more than this many bytes.
    FileSize(u64),
}

impl fmt::Display for LimitHit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WallTime(limit) => write!(out, "it ran longer than {}", Span(*limit)),
            Self::Memory(limit) => write!(out, "it used more than {} of memory", Bytes(*limit)),
            Self::Processes(limit) => write!(out, "it started more than {limit} processes at one time"),
            Self::Disk(limit) => write!(out, "it wrote more than {} to disk", Bytes(*limit)),
            Self::FileSize(limit) => write!(out, "it wrote a file of more than {}", Bytes(*limit)),
        }
    }
}

/// A number of bytes for people: whole units where they are exact, one decimal otherwise.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1_u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit {
                let (whole, rest) = (self.0 / unit, self.0 % unit);
                return match rest * 10 / unit {
                    0 => write!(out, "{whole} {name}"),
                    tenth => write!(out, "{whole}.{tenth} {name}"),
                };
            }
        }
        write!(out, "{} bytes", self.0)
    }
}

/// A length of time for people.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match (seconds / 60, seconds % 60) {
            (0, 0) => write!(out, "{} milliseconds", self.0.as_millis()),
            (0, 1) => out.write_str("1 second"),
            (0, some) => write!(out, "{some} seconds"),
            (1, 0) => out.write_str("1 minute"),
            (minutes, 0) => write!(out, "{minutes} minutes"),
            (minutes, some) => write!(out, "{minutes} min {some} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_named_in_units_that_people_use() {
        let said = |hit: LimitHit| hit.to_string();
        assert_eq!(said(LimitHit::Memory(2 << 30)), "it used more than 2 GiB of memory");
        assert_eq!(said(LimitHit::Memory((3 << 30) / 2)), "it used more than 1.5 GiB of memory");
        assert_eq!(said(LimitHit::WallTime(Duration::from_secs(1200))), "it ran longer than 20 minutes");
        assert_eq!(said(LimitHit::WallTime(Duration::from_millis(500))), "it ran longer than 500 milliseconds");
        assert_eq!(said(LimitHit::Processes(64)), "it started more than 64 processes at one time");
        assert_eq!(said(LimitHit::Disk(1000)), "it wrote more than 1000 bytes to disk");
    }
}
