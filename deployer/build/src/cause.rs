//! The line that says why a command failed, out of all that it said.

use std::collections::BTreeMap;

use common::secret::Secret;
use logs::Mask;

/// Longest line that is quoted, in characters.
const QUOTED: usize = 200;
/// What stands in a line that names the cause, the plainest first. Only what no tool says of a success.
const MARKS: [&str; 15] = [
    "JavaScript heap out of memory",
    ": not found",
    ": command not found",
    "is not in this registry",
    "could not be found or you do not have permission",
    "No matching version found for",
    "Unsupported engine",
    "Missing script:",
    "Failed to resolve ",
    "Module not found:",
    "Can't resolve '",
    "Could not resolve ",
    "Cannot find module '",
    "Cannot find package '",
    ": error TS",
];

/// The first line with the plainest mark, without decoration and secrets.
pub(crate) fn cause(said: &str, env: &BTreeMap<String, Secret>) -> Option<String> {
    let line = MARKS.iter().find_map(|mark| said.lines().find(|line| line.contains(mark)))?;
    let mut line = line.trim();
    for decoration in ["npm error", "npm ERR!", "404", "error"] {
        line = line.strip_prefix(decoration).unwrap_or(line).trim_start();
    }
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = Mask::new(env.values()).apply(line.trim_end_matches('.')).into_owned();
    Some(match line.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_names_the_cause_is_found_without_decoration_and_secrets() {
        let env = BTreeMap::from([("TOKEN".to_owned(), Secret::new("hunter22"))]);
        let cause = |said| cause(said, &env);
        assert_eq!(cause("> build\n> next build\nsh: 1: next: not found\n").as_deref(), Some("sh: 1: next: not found"));
        let npm = "npm error code E404\nnpm error 404  The requested resource 'x@1.0.0' could not be found or you do not have permission to access it.\n";
        assert_eq!(
            cause(npm).as_deref(),
            Some("The requested resource 'x@1.0.0' could not be found or you do not have permission to access it")
        );
        let line = "Error: Can't resolve './hunter22/a' in '/app/src'";
        assert_eq!(cause(line).as_deref(), Some("Error: Can't resolve './***/a' in '/app/src'"));
        assert_eq!(cause("something else"), None);
        assert!(cause(&format!("{} : not found", "é".repeat(900))).is_some_and(|line| line.ends_with('…')));
    }
}
