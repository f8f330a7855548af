//! Reads `_redirects` and `_headers`, the files in which a site says what its addresses do, in the form that Netlify
//! and Cloudflare Pages gave them. What is honoured goes into the manifest; of every line that is not, the
//! developer is told which and why.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use common::site_rules::{HeaderRule, Login, Redirect};

use crate::left_out;
use crate::tree::{Node, Tree};
use crate::walk::Entry;

mod headers;
mod redirects;
mod report;
mod source;

use report::Report;

/// Bytes of one of the files: ten thousand long lines.
const MAX_FILE: u64 = 1 << 20;
/// Bytes of a line. Content security policies are the longest; twice this passes no proxy's limit for a head.
const MAX_LINE: usize = 4096;

/// What a site says of its addresses.
#[derive(Debug, Default)]
pub struct Rules {
    /// In order.
    pub redirects: Vec<Redirect>,
    /// In order.
    pub headers: Vec<HeaderRule>,
    /// In order.
    pub logins: Vec<Login>,
    /// Sentences for the developer.
    pub warnings: Vec<String>,
}

/// Reads both files, those that are there. `files` are all that the site publishes.
pub fn read(tree: &Tree, files: &BTreeMap<String, Entry>) -> Rules {
    let mut rules = Rules::default();
    let mut report = Report::new("_redirects");
    if let Some(text) = text(tree, &mut report) {
        rules.redirects = redirects::parse(&text, |path| exists(files, path), &mut report);
    }
    rules.warnings = report.sentences();
    let mut report = Report::new("_headers");
    if let Some(text) = text(tree, &mut report) {
        (rules.headers, rules.logins) = headers::parse(&text, &mut report);
    }
    rules.warnings.extend(report.sentences());
    rules
}

/// The file's text, when it is there and can be read.
fn text(tree: &Tree, report: &mut Report) -> Option<String> {
    match bytes(tree, report.file()) {
        Ok(None) => None,
        Ok(Some(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
            Err(_) => {
                report.file_ignored("it is no UTF-8 text");
                None
            }
        },
        Err(why) => {
            report.file_ignored(&why);
            None
        }
    }
}

fn bytes(tree: &Tree, name: &str) -> Result<Option<Vec<u8>>, String> {
    let mut path = Path::new(name).to_owned();
    let mut node = match tree.node(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| e.to_string())?,
    };
    if node == Node::Link {
        path = tree.resolve(&path).map_err(|fault| format!("the link {fault}"))?;
        if left_out::hides(&path) {
            return Err("the link points to what is not published".to_owned());
        }
        node = tree.node(&path).map_err(|e| e.to_string())?;
    }
    let Node::File { size } = node else { return Err("it is no file".to_owned()) };
    let too_large = || format!("it is larger than {} KiB", MAX_FILE >> 10);
    if size > MAX_FILE {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = tree.file(&path).map_err(|e| e.to_string())?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_FILE { Err(too_large()) } else { Ok(Some(bytes)) }
}

/// Whether the site has a file at this decoded path, in one of the spellings in which the edge finds it.
fn exists(files: &BTreeMap<String, Entry>, path: &str) -> bool {
    let stem = path.strip_suffix('/').unwrap_or(path);
    files.contains_key(path)
        || files.contains_key(&format!("{stem}/index.html"))
        || (!stem.is_empty() && (files.contains_key(stem) || files.contains_key(&format!("{stem}.html"))))
}
