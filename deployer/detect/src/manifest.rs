//! package.json, read leniently: a field of the wrong type counts as missing, invalid JSON does not.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::refusal::Refusal;
use crate::tree::{Tree, show};

/// The dependency fields whose packages an install brings, in the order in which they win.
const DEPENDENCY_FIELDS: [&str; 3] = ["dependencies", "devDependencies", "optionalDependencies"];
/// Scripts that an install runs by itself.
const LIFECYCLE: [&str; 4] = ["preinstall", "install", "postinstall", "prepare"];
/// Fields of package.json that decide what an install produces.
const INSTALL_FIELDS: [&str; 13] = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "bundledDependencies",
    "bundleDependencies",
    "overrides",
    "resolutions",
    "pnpm",
    "packageManager",
    "workspaces",
    "trustedDependencies",
];

/// One package.json.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manifest {
    /// Relative to the source, for messages.
    pub(crate) path: String,
    pub(crate) name: Option<String>,
    pub(crate) scripts: BTreeMap<String, String>,
    /// Name to specifier, over all dependency fields.
    pub(crate) dependencies: BTreeMap<String, String>,
    value: Value,
}

impl Manifest {
    /// Reads `dir/package.json`; `Ok(None)` when there is none.
    pub(crate) fn read(tree: &Tree, dir: &Path) -> Result<Option<Self>, Refusal> {
        let rel = dir.join("package.json");
        let Some(text) = tree.strict(&rel)? else { return Ok(None) };
        Self::parse(&text, show(&rel)).map(Some)
    }

    /// For a folder without one.
    pub(crate) fn absent(dir: &Path) -> Self {
        Self { path: show(&dir.join("package.json")), ..Self::default() }
    }

    /// Does an install have anything to do?
    pub(crate) fn installs(&self) -> bool {
        let peers = self.field("peerDependencies").and_then(Value::as_object).is_some_and(|peers| !peers.is_empty());
        !self.dependencies.is_empty() || peers || !self.lifecycle().is_empty()
    }

    pub(crate) fn parse(text: &str, path: String) -> Result<Self, Refusal> {
        let value = json(text, &path)?;
        if !value.is_object() {
            let message = "a package.json holds one object, { … }".to_owned();
            return Err(Refusal::InvalidJson { path, line: 1, column: 1, message });
        }
        let mut dependencies = BTreeMap::new();
        for field in DEPENDENCY_FIELDS {
            for (name, spec) in strings(value.get(field)) {
                dependencies.entry(name).or_insert(spec);
            }
        }
        Ok(Self {
            path,
            name: value.get("name").and_then(Value::as_str).map(str::to_owned),
            scripts: strings(value.get("scripts")),
            dependencies,
            value,
        })
    }

    pub(crate) fn has(&self, package: &str) -> bool {
        self.dependencies.contains_key(package)
    }

    pub(crate) fn has_any(&self, packages: &[&str]) -> bool {
        packages.iter().any(|package| self.has(package))
    }

    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.value.get(field).and_then(Value::as_str)
    }

    /// A string one level down, such as `engines.node`.
    pub(crate) fn text_in(&self, object: &str, field: &str) -> Option<&str> {
        self.value.get(object)?.get(field)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.value.get(name)
    }

    /// A script with something in it.
    pub(crate) fn script(&self, name: &str) -> Option<&str> {
        self.scripts.get(name).map(|script| script.trim()).filter(|script| !script.is_empty())
    }

    pub(crate) fn lifecycle(&self) -> Vec<String> {
        LIFECYCLE.iter().filter(|name| self.script(name).is_some()).map(|name| (*name).to_owned()).collect()
    }

    /// The globs of `workspaces`, in either notation.
    pub(crate) fn workspace_globs(&self) -> Vec<String> {
        let field = match self.value.get("workspaces") {
            Some(Value::Object(object)) => object.get("packages"),
            other => other,
        };
        match field {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Hashes the fields that decide an install.
    pub(crate) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        part(&self.path);
        for field in INSTALL_FIELDS {
            if let Some(value) = self.value.get(field) {
                part(field);
                part(&value.to_string());
            }
        }
        for name in self.lifecycle() {
            part(&name);
            part(self.script(&name).unwrap_or_default());
        }
    }
}

/// Parses JSON and says where it went wrong.
pub(crate) fn json(text: &str, path: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let mut message = error.to_string();
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        if text.contains("<<<<<<<") {
            message.push_str(" (the file has merge conflict markers; resolve them)");
        }
        Refusal::InvalidJson { path: path.to_owned(), line: error.line(), column: error.column(), message }
    })
}

/// The string members of an object.
pub(crate) fn strings(value: Option<&Value>) -> BTreeMap<String, String> {
    value
        .and_then(Value::as_object)
        .map(|object| {
            object.iter().filter_map(|(key, value)| value.as_str().map(|text| (key.clone(), text.to_owned()))).collect()
        })
        .unwrap_or_default()
}
