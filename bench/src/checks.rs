//! Tables of targets, each with what was measured.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::machine::Machine;

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub what: String,
    pub target: String,
    pub measured: String,
    pub met: bool,
    /// The command that measured it, and when, in a table that is joined of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A table of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checks {
    when: String,
    machine: Machine,
    pub checks: Vec<Check>,
}

impl Checks {
    /// An empty table.
    pub fn new() -> Self {
        Self { when: Timestamp::now().to_string(), machine: Machine::here(), checks: Vec::new() }
    }

    /// Adds a row and prints it. A measurement that failed is a target that was not met.
    pub fn add(&mut self, what: &str, target: &str, found: anyhow::Result<(String, bool)>) {
        let (measured, met) = found.unwrap_or_else(|e| (format!("failed: {e:#}"), false));
        println!("{} {what}: {measured} (target: {target})", if met { "met    " } else { "NOT MET" });
        self.checks.push(Check { what: what.into(), target: target.into(), measured, met, by: None });
    }

    /// Writes `NAME.json` and `NAME.md` into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join(format!("{name}.md")), self.markdown())?;
        Ok(())
    }

    /// One table of several, each with its command's name; of the machine on which the first was measured.
    pub fn joined(tables: Vec<(&str, Self)>) -> Self {
        let mut joined = Self::new();
        for (name, table) in tables {
            joined.machine = table.machine;
            let by = format!("{name}, {}", table.when);
            joined.checks.extend(table.checks.into_iter().map(|check| Check { by: Some(by.clone()), ..check }));
        }
        joined
    }

    /// How many are not met.
    pub fn unmet(&self) -> usize {
        self.checks.iter().filter(|check| !check.met).count()
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("{}: {}, {} cores\n\n", self.when, self.machine.cpu, self.machine.cores);
        text.push_str("| what | target | measured | |\n|---|---|---|---|\n");
        for check in &self.checks {
            let met = if check.met { "met" } else { "**not met**" };
            let measured = check.measured.replace('|', "\\|").replace('\n', " ");
            let _ = writeln!(text, "| {} | {} | {measured} | {met} |", check.what, check.target);
        }
        text
    }
}

/// The table that a command wrote into a folder.
///
/// # Errors
/// When there is none, or none that this version wrote.
pub fn read<'a>(folder: &Path, name: &'a str) -> anyhow::Result<(&'a str, Checks)> {
    let path = folder.join(format!("{name}.json"));
    let text =
        std::fs::read(&path).with_context(|| format!("{} is missing: run `bench {name}` first", path.display()))?;
    let table = serde_json::from_slice(&text).with_context(|| format!("{} can't be read", path.display()))?;
    Ok((name, table))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tables_of_several_commands_are_one() {
        let folder = tempfile::tempdir().unwrap();
        for (name, met) in [("scale", true), ("faults", false)] {
            let mut checks = Checks::new();
            checks.add(name, "a target", Ok(("seen".into(), met)));
            checks.write(folder.path(), name).unwrap();
        }
        let joined = Checks::joined(["scale", "faults"].map(|name| read(folder.path(), name).unwrap()).into());
        assert_eq!(joined.unmet(), 1);
        let by: Vec<_> = joined.checks.iter().map(|check| check.by.as_deref().unwrap()).collect();
        assert!(by[0].starts_with("scale, ") && by[1].starts_with("faults, "), "{by:?}");
        let text = read(folder.path(), "absent").unwrap_err().to_string();
        assert!(text.contains("run `bench absent` first"), "{text}");
    }

    #[test]
    fn a_failed_measurement_is_a_target_not_met() {
        let mut checks = Checks::new();
        checks.add("memory", "below 60 MB", Ok(("40 MB".into(), true)));
        checks.add("restart", "below 300 ms", Err(anyhow::anyhow!("it does not start")));
        let text = checks.markdown();
        assert!(text.contains("| memory | below 60 MB | 40 MB | met |"), "{text}");
        assert!(text.contains("| restart | below 300 ms | failed: it does not start | **not met** |"), "{text}");
    }
}
