//! Bytes into lines.

/// Longest line, bytes; what is longer goes on in the next one.
const MAX_LINE: usize = 16 << 10;

/// Splits a stream of bytes into lines. A carriage return within a line begins it anew, as on a terminal,
/// so a progress bar leaves its last state only.
#[derive(Default)]
pub(crate) struct Lines {
    open: Vec<u8>,
    /// The last byte was a carriage return whose meaning the next byte tells.
    returned: bool,
}

impl Lines {
    /// The lines that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut done = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => done.push(self.take()),
                b'\r' => self.returned = true,
                _ => {
                    if self.returned {
                        self.open.clear();
                        self.returned = false;
                    }
                    self.open.push(byte);
                    if self.open.len() >= MAX_LINE {
                        done.extend(self.cut());
                    }
                }
            }
        }
        done
    }

    /// What came after the last line end.
    pub(crate) fn rest(&mut self) -> Option<String> {
        (!self.open.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        self.returned = false;
        clean(&std::mem::take(&mut self.open))
    }

    /// Cuts a line that is too long, not within a character.
    fn cut(&mut self) -> Option<String> {
        let whole = match std::str::from_utf8(&self.open) {
            Err(e) if e.error_len().is_none() => e.valid_up_to(),
            _ => self.open.len(),
        };
        let rest = self.open.split_off(whole);
        let text = clean(&std::mem::replace(&mut self.open, rest));
        (!text.is_empty()).then_some(text)
    }
}

/// Text without escape sequences and control characters: a log is shown on terminals and pages that must
/// not obey it.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

/// Skips the rest of an escape sequence (ECMA-48: CSI ends with `@` to `~`, OSC with BEL or ST).
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_every_kind_of_line_end_wherever_the_pieces_end() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\r"), [] as [&str; 0]);
        assert_eq!(lines.push(b"\nb"), ["a"]);
        assert_eq!(lines.push(b" 10%\rb 100%\r\n\n"), ["b 100%", ""]);
        assert_eq!(lines.push(b"end"), [] as [&str; 0]);
        assert_eq!(lines.rest().as_deref(), Some("end"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn colours_titles_and_control_characters_do_not_pass() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"\x1b[1;32mok\x1b[0m\x1b]0;title\x07!\x08\tx\n"), ["ok!\tx"]);
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let mut lines = Lines::default();
        let text = "ä".repeat(MAX_LINE);
        let mut all = lines.push(text.as_bytes());
        all.extend(lines.rest());
        assert!(all.len() > 1 && all.iter().all(|l| l.len() <= MAX_LINE));
        assert_eq!(all.concat(), text);
    }
}
