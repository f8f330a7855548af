//! From a version range to the newest version that satisfies it, as the registry knows it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use detect::Version;
use serde::{Deserialize, Serialize};

use crate::ToolError;
use crate::npm::{Failed, Npm, QUESTION};

/// How long an answer counts, in seconds: new versions come out every few days.
const FRESH: u64 = 3600;
/// Answers remembered. Projects ask for some tens of different ranges; the oldest answers go first.
const MOST: usize = 500;
/// Longest range that is passed to npm, in bytes.
const LONGEST: usize = 200;

/// Asks the registry, and remembers the answers also across restarts: an older answer is better than none when the
/// registry is away.
#[derive(Debug)]
pub(crate) struct Resolver {
    file: PathBuf,
    answers: Mutex<BTreeMap<String, Answer>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    version: String,
    /// Seconds since 1970.
    at: u64,
}

impl Resolver {
    pub(crate) fn open(file: PathBuf) -> Self {
        // A file that is not there or not readable only means asking again.
        let answers = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, answers: Mutex::new(answers.unwrap_or_default()) }
    }

    /// The newest version of `package` within `wanted`, which is a version, a range or a tag.
    pub(crate) async fn version(&self, npm: &Npm, package: &str, wanted: &str) -> Result<String, ToolError> {
        let wanted = wanted.trim();
        if let Some(exact) = exact(wanted) {
            return Ok(exact);
        }
        if !is_range(wanted) {
            return Err(ToolError::BadVersion {
                tool: package.to_owned(),
                wanted: wanted.chars().take(LONGEST).collect(),
            });
        }
        let spec = format!("{package}@{wanted}");
        let known = self.lock().get(&spec).cloned();
        if let Some(answer) = known.as_ref().filter(|answer| now().saturating_sub(answer.at) < FRESH) {
            return Ok(answer.version.clone());
        }
        let folder = self.file.parent().unwrap_or(&self.file);
        let absent = || ToolError::NoSuchVersion { package: package.to_owned(), wanted: wanted.to_owned() };
        match npm.run(folder, &["view", &spec, "version", "--json"], QUESTION).await {
            Ok(text) => {
                let version = newest(&text).ok_or_else(absent)?;
                self.remember(spec, &version);
                Ok(version)
            }
            Err(Failed::Absent) => Err(absent()),
            Err(Failed::Otherwise(detail)) => match known {
                Some(answer) => {
                    tracing::warn!(spec, detail, version = answer.version, "using an older answer of the registry");
                    Ok(answer.version)
                }
                None => Err(ToolError::Fetch { package: package.to_owned(), wanted: wanted.to_owned(), detail }),
            },
        }
    }

    fn remember(&self, spec: String, version: &str) {
        let mut answers = self.lock();
        answers.insert(spec, Answer { version: version.to_owned(), at: now() });
        while answers.len() > MOST {
            let Some(oldest) = answers.iter().min_by_key(|(_, answer)| answer.at).map(|(spec, _)| spec.clone()) else {
                break;
            };
            answers.remove(&oldest);
        }
        let fresh = self.file.with_extension("new");
        let write = || {
            std::fs::write(&fresh, serde_json::to_vec(&*answers)?)?;
            std::fs::rename(&fresh, &self.file)
        };
        if let Err(e) = write() {
            tracing::warn!(path = %self.file.display(), error = %e, "the registry's answers can't be kept");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether npm will take this for a range or a tag, and not for an address or a path that it should fetch.
fn is_range(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " .^~<>=|*-".contains(c);
    !text.is_empty() && text.len() <= LONGEST && text.chars().all(plain)
}

/// The newest of npm's answer, which is one version or several in no useful order. Pre-releases only when there is
/// nothing else.
fn newest(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Versions {
        One(String),
        Many(Vec<String>),
    }
    let all = match serde_json::from_str(json).ok()? {
        Versions::One(version) => vec![version],
        Versions::Many(versions) => versions,
    };
    let rank = |text: &String| Some((!text.contains('-'), text.parse::<Version>().ok()?));
    all.iter().filter_map(exact).max_by_key(rank)
}

/// A version with nothing left open, fit to be the name of a folder; build tags are left out.
pub(crate) fn exact(text: impl AsRef<str>) -> Option<String> {
    let text = text.as_ref().trim().trim_start_matches('v').split('+').next()?;
    let plain = text.len() <= LONGEST && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
    (plain && text.parse::<Version>().is_ok()).then(|| text.to_owned())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_whatever_the_order() {
        assert_eq!(newest(r#"["22.7.0","22.12.0","22.9.0"]"#).as_deref(), Some("22.12.0"));
        assert_eq!(newest(r#"["2.0.0-rc.1","1.9.0"]"#).as_deref(), Some("1.9.0"));
        assert_eq!(newest(r#""1.22.22""#).as_deref(), Some("1.22.22"));
        assert_eq!(newest(""), None);
    }

    #[test]
    fn a_version_is_a_safe_name() {
        assert_eq!(exact("v22.1.0+sha.1").as_deref(), Some("22.1.0"));
        assert_eq!(exact("9.0.0-beta.1").as_deref(), Some("9.0.0-beta.1"));
        for bad in ["22", "1.2.3-../../x", "1.2.3-a b"] {
            assert_eq!(exact(bad), None);
        }
    }

    #[test]
    fn nothing_but_ranges_reaches_npm() {
        assert!(is_range("^20.19.0 || >=22.12.0") && is_range("latest"));
        for bad in ["", "git+ssh://host/x", "file:../x", "npm:other@1", "1; rm", "../x", &"1".repeat(300)] {
            assert!(!is_range(bad), "{bad}");
        }
    }
}
