//! On what was measured.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, as far as results depend on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory_mb: u64,
    pub kernel: String,
    /// Load average over one minute when the measurement began: others' work makes results wider.
    pub load_at_start: f64,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let after = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory_kb = after(&read("/proc/meminfo"), "MemTotal").and_then(|m| m.split(' ').next()?.parse().ok());
        Self {
            cpu: after(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mb: memory_kb.unwrap_or(0_u64) / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_at_start: read("/proc/loadavg").split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// The first line with a digit that a program says about its version; the others are decoration.
pub fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "unknown".into() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit())).unwrap_or("unknown");
    line.trim().chars().take(80).collect()
}
