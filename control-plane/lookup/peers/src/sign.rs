//! Zones signed by BIND's tools.

use std::{path::PathBuf, process::Command};

use anyhow::Context;
use tempfile::TempDir;

/// The keys of one zone.
pub struct Keys {
    folder: TempDir,
    origin: String,
}

/// From when to when signatures hold.
#[derive(Clone, Copy, Debug)]
pub enum Lifetime {
    /// Since an hour, for weeks.
    Now,
    /// For a day of the year 2020.
    Past,
    /// For a day of the year 2080.
    Future,
}

impl Keys {
    /// Makes one key that signs everything, ECDSA P-256.
    ///
    /// # Errors
    /// When `dnssec-keygen` is not there or fails.
    pub fn generate(origin: &str) -> anyhow::Result<Self> {
        let keys = Self { folder: tempfile::tempdir()?, origin: origin.to_owned() };
        keys.run("dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", origin])?;
        Ok(keys)
    }

    /// The DNSKEY record, as a trust anchor has it.
    ///
    /// # Errors
    /// When the key's file cannot be read.
    pub fn dnskey(&self) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(self.file()?)?;
        let line = text.lines().find(|line| !line.starts_with(';')).context("a key file without a key")?;
        Ok(line.to_owned())
    }

    /// The DS record for the parent.
    ///
    /// # Errors
    /// When `dnssec-dsfromkey` fails.
    pub fn ds(&self) -> anyhow::Result<String> {
        let file = self.file()?;
        self.run("dnssec-dsfromkey", &["-2", &file.to_string_lossy()])
    }

    /// The zone's text with all keys and signatures.
    ///
    /// # Errors
    /// When `dnssec-signzone` refuses it.
    pub fn sign(&self, zone: &str, lifetime: Lifetime) -> anyhow::Result<String> {
        let text = format!("$ORIGIN {}\n{zone}\n{}\n", self.origin, self.dnskey()?);
        std::fs::write(self.folder.path().join("zone"), text)?;
        let (begin, end) = match lifetime {
            Lifetime::Now => ("now-3600", "now+2000000"),
            Lifetime::Past => ("20200101000000", "20200102000000"),
            Lifetime::Future => ("20800101000000", "20800102000000"),
        };
        let words = ["-q", "-P", "-z", "-s", begin, "-e", end, "-o", &self.origin, "-f", "signed", "zone"];
        self.run("dnssec-signzone", &words)?;
        Ok(std::fs::read_to_string(self.folder.path().join("signed"))?)
    }

    fn file(&self) -> anyhow::Result<PathBuf> {
        let files = std::fs::read_dir(self.folder.path())?;
        let mut paths = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        paths.find(|path| path.extension().is_some_and(|ending| ending == "key")).context("no key file")
    }

    fn run(&self, program: &str, words: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(program)
            .args(words)
            .current_dir(self.folder.path())
            .output()
            .with_context(|| format!("{program} does not start: is it installed?"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        anyhow::ensure!(output.status.success(), "{program}: {text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(text.trim().to_owned())
    }
}
