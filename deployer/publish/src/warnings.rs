//! What the developer is told about a site that is published all the same.

use std::collections::BTreeMap;

use crate::error::shown;
use crate::left_out::Reason;
use crate::walk::Entry;

/// Names that one warning lists.
const EXAMPLES: usize = 5;

/// Some names of many.
#[derive(Default)]
struct Names {
    count: usize,
    first: Vec<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push(shown(name));
        }
    }

    /// The list, when it is not empty.
    fn list(&self) -> Option<String> {
        let list = self.first.join(", ");
        match self.count.saturating_sub(self.first.len()) {
            _ if self.count == 0 => None,
            0 => Some(list),
            more => Some(format!("{list} and {more} more")),
        }
    }
}

/// Gathers what is worth telling while the folder is walked.
#[derive(Default)]
pub struct Warnings {
    secret: Names,
    hidden: Names,
    installed: Names,
    has_redirects: bool,
}

impl Warnings {
    pub fn left_out(&mut self, reason: Reason, path: &str) {
        match reason {
            Reason::Silent => {}
            Reason::Rules => self.has_redirects |= path == "/_redirects",
            Reason::Secret => self.secret.add(path),
            Reason::Hidden => self.hidden.add(path),
            Reason::Installed => self.installed.add(path),
        }
    }

    /// Whether the site has a file of redirects.
    pub const fn has_redirects(&self) -> bool {
        self.has_redirects
    }

    /// What was left out, as an inset of a sentence; empty when nothing was.
    pub fn inset(&self) -> String {
        let all = [&self.secret, &self.hidden, &self.installed];
        let list: Vec<String> = all.into_iter().filter_map(Names::list).collect();
        if list.is_empty() {
            String::new()
        } else {
            format!(" apart from what is never published ({})", list.join(", "))
        }
    }

    /// The sentences, the most serious first.
    pub fn sentences(&self, files: &BTreeMap<String, Entry>) -> Vec<String> {
        let mut told = Vec::new();
        let mut tell = |names: &Names, sentence: &str| told.extend(names.list().map(|l| sentence.replace("{}", &l)));
        tell(
            &self.secret,
            "Left out {}: such files hold secrets. Set variables in the project's settings, and keep the files out of the repository.",
        );
        tell(&self.hidden, "Left out {}: names that begin with a dot are not published, except .well-known.");
        tell(
            &self.installed,
            "Left out {}: installed packages are not published. Copy what pages load into another folder.",
        );
        tell(
            &same_but_for_case(files),
            "Some names differ in upper and lower case only: {}. Each is published under its own address; a wrong link to one shows the other.",
        );
        let has_only_redirects = self.has_redirects && files.is_empty();
        if !files.contains_key("/index.html") && !has_only_redirects {
            told.push(no_index(files));
        }
        told
    }
}

fn same_but_for_case(files: &BTreeMap<String, Entry>) -> Names {
    let mut names = Names::default();
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for path in files.keys() {
        if let Some(other) = seen.insert(path.to_lowercase(), path) {
            names.add(&format!("{other} and {path}"));
        }
    }
    names
}

/// The commonest cause is that the site lies one folder further down.
fn no_index(files: &BTreeMap<String, Entry>) -> String {
    let below = files.keys().filter_map(|p| p.strip_suffix("/index.html"));
    match below.min_by_key(|folder| folder.matches('/').count()) {
        Some(folder) => format!(
            "There is no index.html at the top: / answers 404. The folder {} has one; if the site is there, make that the output directory.",
            shown(folder)
        ),
        None => "There is no index.html: / answers 404.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let mut names = Names::default();
        assert_eq!(names.list(), None);
        (0..7).for_each(|n| names.add(&n.to_string()));
        assert_eq!(names.list().as_deref(), Some("0, 1, 2, 3, 4 and 2 more"));
    }
}
