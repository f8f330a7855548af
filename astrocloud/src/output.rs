//! What is shown: results on stdout, everything said along the way on stderr.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use common::bus::{Record, StreamName};
use common::time::Timestamp;
use console::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// How often a progress bar is drawn, times a second.
const DRAWS: u8 = 10;

/// How a command shows its result.
#[derive(Args, Clone, Copy, Debug)]
pub struct Format {
    /// Print the result as JSON on stdout; everything else goes to stderr
    #[arg(long)]
    pub json: bool,
}

/// Prints a line of the result.
pub fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints a result as indented JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string_pretty(value)?)?)
}

/// Says something along the way. That nobody reads it is no reason to stop.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says what went wrong.
pub fn error(text: &str) {
    say(&format!("{} {text}", bad().apply_to("error:")));
}

/// Says what is doubtful.
pub fn warning(text: &str) {
    say(&format!("{} {text}", doubtful().apply_to("warning:")));
}

/// For what is good, on stderr.
pub const fn good() -> Style {
    Style::new().green().bold().for_stderr()
}

/// For what is bad, on stderr.
pub const fn bad() -> Style {
    Style::new().red().bold().for_stderr()
}

/// For what is doubtful, on stderr.
pub const fn doubtful() -> Style {
    Style::new().yellow().bold().for_stderr()
}

/// For what matters less, on stderr.
pub const fn faint() -> Style {
    Style::new().dim().for_stderr()
}

/// Facts of one thing: a name and a value a line.
pub fn facts<N: AsRef<str>, V: AsRef<str>>(facts: impl IntoIterator<Item = (N, V)>) -> io::Result<()> {
    facts.into_iter().try_for_each(|(name, value)| line(&format!("{:<12}{}", name.as_ref(), value.as_ref())))
}

/// Rows under a heading, each column as wide as its widest cell.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> io::Result<()> {
    let mut widths = heading.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let show = |row: [&str; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    line(&Style::new().dim().apply_to(show(heading)).to_string())?;
    rows.iter().try_for_each(|row| line(&show(std::array::from_fn(|i| row[i].as_str()))))
}

/// A log record for people. What the platform itself says stands out.
pub fn record(record: &Record, with_time: bool, to_stderr: bool) -> String {
    let colours = if to_stderr { console::colors_enabled_stderr() } else { console::colors_enabled() };
    let style = |style: Style| if to_stderr { style.for_stderr() } else { style.for_stdout() };
    let text = printable(&record.text, colours);
    let text = match record.stream {
        StreamName::System => style(Style::new().cyan()).apply_to(text).to_string(),
        StreamName::Stdout | StreamName::Stderr => text.into_owned(),
    };
    if with_time { format!("{} {text}", style(Style::new().dim()).apply_to(record.time)) } else { text }
}

/// Text that can't move the cursor or set the terminal's title. Colours stay if they are wanted.
fn printable(text: &str, colours: bool) -> Cow<'_, str> {
    let harmless = |c: char| c == '\t' || !c.is_control();
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut coloured = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if harmless(c) {
            kept.push(c);
        } else if c == '\u{1b}' {
            let sequence = rest.as_str();
            let Some(parameters) = sequence.strip_prefix('[') else { continue };
            let length = parameters.bytes().take_while(|b| (0x20..0x40).contains(b)).count();
            let (parameters, after) = parameters.split_at(length);
            let last = after.chars().next();
            if colours && last == Some('m') {
                kept.push_str(&format!("\u{1b}[{parameters}m"));
                coloured = true;
            }
            let skipped = 1 + length + last.map_or(0, char::len_utf8);
            rest = sequence[skipped..].chars();
        }
    }
    if coloured {
        kept.push_str("\u{1b}[0m");
    }
    Cow::Owned(kept)
}

/// A progress bar on stderr, over bytes when `total` is known; nothing where stderr is no terminal.
pub fn progress(what: &'static str, total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}"),
        None => (ProgressBar::new_spinner(), "{prefix} {spinner} {pos} files"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(DRAWS));
    // The templates are constants; a wrong one would show the default bar.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(what)
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A duration for people.
pub fn duration(duration: Duration) -> String {
    match duration {
        d if d < Duration::from_secs(1) => format!("{} ms", d.as_millis()),
        d if d < Duration::from_secs(60) => format!("{:.1} s", d.as_secs_f64()),
        d => format!("{} min {} s", d.as_secs() / 60, d.as_secs() % 60),
    }
}

/// How long ago a time was, in its largest unit.
pub fn ago(time: Timestamp) -> String {
    let seconds = Timestamp::now().since(time).as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_drive_the_terminal() {
        assert_eq!(printable("plain\ttext ü", true), "plain\ttext ü");
        assert_eq!(printable("\u{1b}[31mred\u{1b}[0m", false), "red");
        assert_eq!(printable("\u{1b}[31mred", true), "\u{1b}[31mred\u{1b}[0m");
        assert_eq!(printable("a\u{1b}[2Jb\u{1b}[1;1Hc\rd\u{7}", true), "abcd");
        assert_eq!(printable("\u{1b}]0;title\u{7}x\u{1b}[", true), "]0;titlex");
    }

    #[test]
    fn durations_are_told_in_fitting_units() {
        assert_eq!(duration(Duration::from_millis(812)), "812 ms");
        assert_eq!(duration(Duration::from_millis(1340)), "1.3 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
    }
}
