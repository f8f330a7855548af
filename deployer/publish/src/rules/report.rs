//! Tells the developer what of a file of rules is not honoured.

use crate::error::shown;

/// Lines that are told one by one; a file with more faults is of another kind altogether.
const MAX_TOLD: usize = 500;

/// Sentences about one file.
pub struct Report {
    file: &'static str,
    told: Vec<String>,
    more: usize,
}

impl Report {
    pub const fn new(file: &'static str) -> Self {
        Self { file, told: Vec::new(), more: 0 }
    }

    pub const fn file(&self) -> &'static str {
        self.file
    }

    /// None of the file is honoured.
    pub fn file_ignored(&mut self, why: &str) {
        let sentence = format!("{} is not honoured: {why}.", self.file);
        self.tell(sentence);
    }

    /// A line, counted from 1, that is not honoured.
    pub fn ignored(&mut self, line: usize, text: &str, why: &str) {
        let sentence = format!("{} line {line} is not honoured: {why}. It says: {}", self.file, shown(text.trim()));
        self.tell(sentence);
    }

    /// A line that is not honoured and whose text may be secret.
    pub fn ignored_secret(&mut self, line: usize, why: &str) {
        let sentence = format!("{} line {line} is not honoured: {why}.", self.file);
        self.tell(sentence);
    }

    /// A line that is honoured, but not as its author may think.
    pub fn noted(&mut self, line: usize, note: &str) {
        let sentence = format!("{} line {line}: {note}.", self.file);
        self.tell(sentence);
    }

    fn tell(&mut self, sentence: String) {
        if self.told.len() < MAX_TOLD {
            self.told.push(sentence);
        } else {
            self.more += 1;
        }
    }

    /// All of them, in order.
    pub fn sentences(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("{} has {} more lines like these.", self.file, self.more));
        }
        self.told
    }
}
