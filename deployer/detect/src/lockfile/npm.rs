//! package-lock.json and npm-shrinkwrap.json, format versions 1 to 3.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Facts, satisfied};
use crate::manifest::{Manifest, strings};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    lockfile_version: Value,
    #[serde(default)]
    packages: Option<HashMap<String, Entry>>,
    #[serde(default)]
    dependencies: Option<HashMap<String, Old>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    dependencies: Option<Value>,
    #[serde(default)]
    dev_dependencies: Option<Value>,
    #[serde(default)]
    optional_dependencies: Option<Value>,
    #[serde(default)]
    engines: Option<Value>,
}

#[derive(Deserialize)]
struct Old {
    #[serde(default)]
    version: Option<String>,
}

pub(super) fn parse(text: &str, importer: &str, app: &Manifest) -> Option<Facts> {
    let file: File = serde_json::from_str(text).ok()?;
    let mut facts =
        Facts { format: file.lockfile_version.as_u64().map(|version| version.to_string()), ..Facts::default() };
    if let Some(packages) = &file.packages {
        let mut specifiers = std::collections::BTreeMap::new();
        // A lock file without the workspace's entry knows nothing of its dependencies.
        if let Some(entry) = packages.get(importer) {
            for field in [&entry.dependencies, &entry.dev_dependencies, &entry.optional_dependencies] {
                specifiers.extend(strings(field.as_ref()));
            }
        }
        for name in app.dependencies.keys() {
            let nested =
                if importer.is_empty() { None } else { packages.get(&format!("{importer}/node_modules/{name}")) };
            let Some(entry) = nested.or_else(|| packages.get(&format!("node_modules/{name}"))) else { continue };
            facts.versions.extend(entry.version.clone().map(|version| (name.clone(), version)));
            let engine = entry.engines.as_ref().and_then(|engines| engines.get("node")).and_then(Value::as_str);
            facts.engines.extend(engine.map(|range| (name.clone(), range.to_owned())));
        }
        facts.specifiers = Some(specifiers);
        facts.missing_platform = missing_platform(packages);
    } else {
        let old = file.dependencies.unwrap_or_default();
        for (name, asked) in &app.dependencies {
            match old.get(name).and_then(|entry| entry.version.as_ref()) {
                Some(version) => {
                    if !satisfied(asked, version) {
                        facts.missing.push(name.clone());
                    }
                    facts.versions.insert(name.clone(), version.clone());
                }
                None => facts.missing.push(name.clone()),
            }
        }
    }
    Some(facts)
}

/// npm sometimes writes only the author's platform of an optional native package into the lock file;
/// an install elsewhere then lacks it, and the build fails. Names the first such package.
fn missing_platform(packages: &HashMap<String, Entry>) -> Option<String> {
    let arch = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "x64",
    };
    let marks = [format!("-linux-{arch}-gnu"), format!("/linux-{arch}"), format!("-linux-{arch}")];
    let mut missing: Vec<&String> = packages
        .iter()
        .filter_map(|(path, entry)| {
            let optional = entry.optional_dependencies.as_ref()?.as_object()?;
            let ours = optional.keys().find(|name| marks.iter().any(|mark| name.ends_with(mark.as_str())))?;
            let has = |name: &str| {
                packages.contains_key(&format!("{path}/node_modules/{name}"))
                    || packages.contains_key(&format!("node_modules/{name}"))
            };
            // Only when another platform is there: else the whole set was left out on purpose.
            (!path.is_empty() && !has(ours) && optional.keys().any(|name| has(name))).then_some(ours)
        })
        .collect();
    missing.sort();
    missing.first().map(|name| (*name).clone())
}
