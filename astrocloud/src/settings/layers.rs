//! Defaults, file and environment, laid over one another.

use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

use super::Settings;
use crate::config::{API_VARIABLE, TOKEN_VARIABLE};
use crate::exit::Usage;

const PREFIX: &str = "ASTROCLOUD_";
/// From this similarity on (Jaro and Winkler, 0 to 1) a name is taken for a misspelt other one.
const SIMILAR: f64 = 0.9;

/// Settings, and what was doubtful about where they came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Sentences for people.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The settings from an optional file and the environment.
    ///
    /// # Errors
    /// When the file can't be read, a value is wrong, or a key of the file is unknown.
    pub fn load(file: Option<&Path>, variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<Loaded> {
        let mut settings = match file {
            Some(path) => from_file(path)?,
            None => Self::default(),
        };
        let mut warnings = Vec::new();
        let known = leaves(&table(&Self::default())?);
        for (name, text) in variables.filter(|(name, _)| name.starts_with(PREFIX)) {
            match known.iter().find(|(key, _)| variable(key) == name) {
                Some((key, default)) => settings = settings.with(key, default, &name, &text)?,
                // Others may use the prefix for what is none of our business.
                None if [API_VARIABLE, TOKEN_VARIABLE].contains(&name.as_str()) => {}
                None => {
                    let names = known.iter().map(|(key, _)| variable(key));
                    if let Some(right) = nearest(&name, names).filter(|(similarity, _)| *similarity >= SIMILAR) {
                        warnings.push(format!("the variable {name} sets nothing: did you mean {}?", right.1));
                    }
                }
            }
        }
        Ok(Loaded { settings, warnings })
    }

    /// These settings with one changed by a variable.
    fn with(&self, key: &str, default: &Value, name: &str, text: &str) -> anyhow::Result<Self> {
        let value = match default {
            Value::Integer(_) => text.parse().map(Value::Integer).ok(),
            Value::Float(_) => text.parse().map(Value::Float).ok(),
            Value::Boolean(_) => text.parse().map(Value::Boolean).ok(),
            Value::Array(_) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
            _ => Some(Value::String(text.to_owned())),
        };
        let value = value.ok_or_else(|| Usage::new(format!("{name}: `{text}` is no {}", default.type_str())))?;
        let mut changed = table(self)?;
        put(&mut changed, key, value);
        changed.try_into().map_err(|e: toml::de::Error| Usage::new(format!("{name}: {}", e.message())).into())
    }
}

fn from_file(path: &Path) -> anyhow::Result<Settings> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("the settings file {} can't be read", path.display()))?;
    let wrong = |what: String| Usage::new(format!("the settings file {} is wrong: {what}", path.display()));
    let settings: Settings = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let given: Table = text.parse().map_err(|e: toml::de::Error| wrong(e.to_string()))?;
    let known = leaves(&table(&Settings::default())?);
    for (key, _) in leaves(&given) {
        if !known.iter().any(|(name, _)| *name == key) {
            let right = nearest(&key, known.iter().map(|(name, _)| name.clone()));
            let hint = right.map(|(_, name)| format!(": did you mean `{name}`?")).unwrap_or_default();
            return Err(wrong(format!("there is no setting `{key}`{hint} `astrocloud config` prints all")).into());
        }
    }
    Ok(settings)
}

fn nearest(name: &str, others: impl Iterator<Item = String>) -> Option<(f64, String)> {
    others.map(|other| (strsim::jaro_winkler(name, &other), other)).max_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// The settings as TOML.
pub fn table(settings: &Settings) -> anyhow::Result<Table> {
    Ok(Table::try_from(settings)?)
}

/// Dotted keys and values of everything that is no table: first the top's own, as TOML wants them.
pub fn leaves(table: &Table) -> Vec<(String, Value)> {
    let (tables, own): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
    let below = tables
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_table()?)))
        .flat_map(|(key, inner)| leaves(inner).into_iter().map(move |(name, value)| (format!("{key}.{name}"), value)));
    own.into_iter().map(|(key, value)| (key.clone(), value.clone())).chain(below).collect()
}

fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        Some((first, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                put(inner, rest, value);
            }
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

/// The variable that sets a key.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::settings::Bytes;

    fn load(text: &str, variables: &[(&str, &str)]) -> anyhow::Result<Loaded> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(file.path()), variables)
    }

    fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
        let error = load(text, variables).unwrap_err();
        assert!(error.is::<Usage>());
        error.to_string()
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
        let file = "base_domain = \"apps.example\"\n[builds]\nwall = \"90s\"\nmemory = \"1 GiB\"\n";
        let variables = [
            ("ASTROCLOUD_BUILDS_WALL", "5m"),
            ("ASTROCLOUD_BUILDS_CONCURRENCY", "4"),
            ("ASTROCLOUD_SANDBOX_FORBID", "bubblewrap, namespaces"),
            ("ASTROCLOUD_LOG_FORMAT", "json"),
            ("ASTROCLOUD_LISTEN_HTTP", "0.0.0.0:80"),
            ("PATH", "/bin"),
        ];
        let loaded = load(file, &variables).unwrap();
        let settings = loaded.settings;
        assert_eq!(settings.base_domain, "apps.example");
        assert_eq!(settings.builds.memory, Bytes(1 << 30));
        assert_eq!(settings.builds.wall, Duration::from_secs(300));
        assert_eq!(settings.builds.concurrency.get(), 4);
        assert_eq!(settings.sandbox.forbid, [sandbox::Level::Bubblewrap, sandbox::Level::Namespaces]);
        assert_eq!(settings.log.format, crate::settings::LogFormat::Json);
        assert_eq!(settings.listen.http.port(), 80);
        assert_eq!(settings.sites, Settings::default().sites);
        assert!(loaded.warnings.is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        let message = refusal("[builds]\nconcurency = 3\n", &[]);
        assert!(message.contains("`builds.concurency`") && message.contains("`builds.concurrency`"), "{message}");
        let message = refusal("bas_domain = \"x\"\n", &[]);
        assert!(message.contains("`base_domain`"), "{message}");
    }

    #[test]
    fn a_wrong_value_is_refused_where_it_stands() {
        for (file, hint) in [
            ("[builds]\nmemory = \"lots\"\n", "512 MiB"),
            ("[builds]\nconcurrency = 0\n", "concurrency"),
            ("[sandbox]\nforbid = [\"jail\"]\n", "bubblewrap"),
            ("builds = 3\n", "line 1"),
            ("[builds\n", "line 1"),
        ] {
            let message = refusal(file, &[]);
            assert!(message.contains(hint), "{message}");
        }
        for (name, value) in [("ASTROCLOUD_BUILDS_WALL", "soon"), ("ASTROCLOUD_BUILDS_PROCESSES", "many")] {
            assert!(refusal("", &[(name, value)]).contains(name));
        }
    }

    #[test]
    fn a_misspelt_variable_is_told_and_a_foreign_one_is_left_alone() {
        let variables = [
            ("ASTROCLOUD_BUILD_WALL", "5m"),
            ("ASTROCLOUD_API", "http://127.0.0.1:1"),
            ("ASTROCLOUD_TOKEN", "x"),
            ("ASTROCLOUD_MY_OWN_SCRIPTS_7", "1"),
        ];
        let warnings = load("", &variables).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("ASTROCLOUD_BUILDS_WALL"), "{warnings:?}");
    }
}
