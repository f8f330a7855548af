//! Tables of targets, each with what was measured.

use std::fmt::Write as _;
use std::path::Path;

use common::time::Timestamp;
use serde::Serialize;

use crate::machine::Machine;

/// One target.
#[derive(Debug, Serialize)]
pub struct Check {
    pub what: String,
    pub target: String,
    pub measured: String,
    pub met: bool,
}

/// A table of them.
#[derive(Debug, Serialize)]
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
        self.checks.push(Check { what: what.into(), target: target.into(), measured, met });
    }

    /// Writes `NAME.json` and `NAME.md` into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("{name}.json")), serde_json::to_vec_pretty(self)?)?;
        std::fs::write(folder.join(format!("{name}.md")), self.markdown())?;
        Ok(())
    }

    fn markdown(&self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

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
