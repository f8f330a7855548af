//! The packages in an image, as a CycloneDX bill of materials (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! They are those of npm's lock file, which knows where each came from and its checksum; without one, those that are
//! installed. Crates for CycloneDX model the whole standard for the dozen fields that are said here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::{NewImage, RegistryError};
use super::document::hex;
use super::tree::{Part, Tree};

/// Lock files of npm, the one that counts first.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
const MODULES: &str = "node_modules";
/// Largest lock file that is read, bytes; those of very large workspaces have some ten million.
const MAX_LOCK: u64 = 64 << 20;
/// Largest package.json, bytes.
const MAX_MANIFEST: u64 = 4 << 20;
/// Nesting of version 1 of the lock file that is followed.
const DEPTH: usize = 64;

/// Packages by what names them, so that each is listed once.
type Found = BTreeMap<String, Value>;

/// The bill of an image.
pub(super) fn of(image: &NewImage<'_>, tree: &Tree) -> Result<Vec<u8>, RegistryError> {
    let mut found = Found::new();
    match lock(image) {
        Some((folder, lock)) => locked(&folder, &lock, &mut found),
        None => installed(tree, &mut found),
    }
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": { "type": "application", "bom-ref": image.name, "name": image.name } },
        "components": found.into_values().collect::<Vec<_>>(),
    });
    Ok(serde_json::to_vec(&bill).map_err(std::io::Error::other)?)
}

/// The lock file nearest to the app, and its folder.
fn lock(image: &NewImage<'_>) -> Option<(PathBuf, Value)> {
    let folders = Path::new(&image.start.working_dir).ancestors().filter(|folder| !folder.as_os_str().is_empty());
    folders.flat_map(|folder| LOCKS.map(|name| (image.root.join(folder), name))).find_map(|(folder, name)| {
        let value = read(&folder.join(name), MAX_LOCK)?;
        Some((folder, value))
    })
}

/// A JSON file of the project's: no link, for it could lead anywhere.
fn read(path: &Path, max: u64) -> Option<Value> {
    let data = std::fs::symlink_metadata(path).ok()?;
    let text = (data.is_file() && data.len() <= max).then(|| std::fs::read(path).ok()).flatten()?;
    serde_json::from_slice(&text).ok()
}

fn locked(folder: &Path, lock: &Value, found: &mut Found) {
    if let Some(packages) = lock.get("packages").and_then(Value::as_object) {
        for (path, entry) in packages {
            // The project itself, and its workspaces.
            let Some((_, name)) = path.rsplit_once("node_modules/") else { continue };
            let is_link = entry.get("link").and_then(Value::as_bool) == Some(true);
            if !is_link {
                let name = text(entry, "name").unwrap_or(name);
                add(name, entry, folder.join(path).is_dir(), found);
            }
        }
    } else if let Some(dependencies) = lock.get("dependencies").and_then(Value::as_object) {
        nested(&folder.join(MODULES), dependencies, DEPTH, found);
    }
}

/// Version 1 of the lock file: packages within packages.
fn nested(modules: &Path, dependencies: &Map<String, Value>, depth: usize, found: &mut Found) {
    for (name, entry) in dependencies {
        let folder = modules.join(name);
        add(name, entry, folder.is_dir(), found);
        if let Some(below) = entry.get("dependencies").and_then(Value::as_object).filter(|_| depth > 0) {
            nested(&folder.join(MODULES), below, depth - 1, found);
        }
    }
}

/// What is there, without a lock file of npm's.
fn installed(tree: &Tree, found: &mut Found) {
    for entry in tree.entries(Part::Dependencies) {
        let mut names = entry.path.iter().rev();
        let is_manifest = names.next().is_some_and(|name| name == "package.json");
        let is_package = match (names.next(), names.next(), names.next()) {
            (Some(_), Some(above), _) if above == MODULES => true,
            (Some(_), Some(scope), Some(above)) if above == MODULES => scope.to_string_lossy().starts_with('@'),
            _ => false,
        };
        if is_manifest
            && is_package
            && let Some(manifest) = read(&tree.root.join(&entry.path), MAX_MANIFEST)
            && let Some(name) = text(&manifest, "name")
        {
            add(name, &manifest, true, found);
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// Adds a package. One that is locked and not installed is said to be no part of the image.
fn add(name: &str, entry: &Value, is_there: bool, found: &mut Found) {
    let Some(version) = text(entry, "version") else { return };
    let purl = format!("pkg:npm/{}@{}", name.replace('@', "%40"), version.replace('+', "%2B"));
    let scope = match (is_there, entry.get("optional").and_then(Value::as_bool)) {
        (false, _) => "excluded",
        (true, Some(true)) => "optional",
        (true, _) => "required",
    };
    if scope == "excluded" && found.contains_key(&purl) {
        return;
    }
    let mut component =
        json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "scope": scope });
    if let Some(licence) = text(entry, "license") {
        component["licenses"] = json!([{ "license": { "name": licence } }]);
    }
    let hashes: Vec<Value> =
        text(entry, "integrity").unwrap_or_default().split_ascii_whitespace().filter_map(hash).collect();
    if !hashes.is_empty() {
        component["hashes"] = json!(hashes);
    }
    found.insert(purl, component);
}

/// A checksum as npm writes it (<https://www.w3.org/TR/SRI/>) in CycloneDX's words.
fn hash(integrity: &str) -> Option<Value> {
    let (algorithm, value) = integrity.split_once('-')?;
    let algorithm = match algorithm {
        "sha1" => "SHA-1",
        "sha256" => "SHA-256",
        "sha384" => "SHA-384",
        "sha512" => "SHA-512",
        _ => return None,
    };
    let value = STANDARD.decode(value.split('?').next()?).ok()?;
    Some(json!({ "alg": algorithm, "content": hex(&value) }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::id::DeploymentId;
    use crate::registry::{Origin, Start};

    fn bill(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join("app").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let start = Start { command: "x".to_owned(), working_dir: "app/api".to_owned(), node: "20.1.0".to_owned() };
        let origin = Origin::new(DeploymentId::new());
        let image = NewImage { name: "shop", root: root.path(), start: &start, origin: &origin };
        let bill: Value = serde_json::from_slice(&of(&image, &Tree::read(root.path()).unwrap()).unwrap()).unwrap();
        let word = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
        bill["components"].as_array().unwrap().iter().map(|c| (word(c, "purl"), word(c, "scope"))).collect()
    }

    #[test]
    fn the_lock_files_packages_are_listed_with_what_is_installed_of_them() {
        let lock = r#"{"lockfileVersion":3,"packages":{"":{"name":"shop"},"api":{"version":"1.0.0"},
            "node_modules/api":{"link":true,"resolved":"api"},
            "node_modules/@a/b":{"version":"1.2.3","license":"MIT","integrity":"sha512-AAAA"},
            "node_modules/c":{"version":"2.0.0+x","dev":true}}}"#;
        let found = bill(&[("package-lock.json", lock), ("node_modules/@a/b/package.json", "{}")]);
        let expected = [("pkg:npm/%40a/b@1.2.3", "required"), ("pkg:npm/c@2.0.0%2Bx", "excluded")];
        assert_eq!(found, expected.map(|(purl, scope)| (purl.to_owned(), scope.to_owned())));
    }

    #[test]
    fn without_a_lock_file_what_is_installed_is_listed() {
        let found = bill(&[
            ("node_modules/a/package.json", r#"{"name":"a","version":"1.0.0"}"#),
            ("node_modules/@s/b/package.json", r#"{"name":"@s/b","version":"2.0.0"}"#),
            ("node_modules/a/lib/package.json", r#"{"name":"inner","version":"0.0.0"}"#),
            ("node_modules/broken/package.json", "{"),
        ]);
        let purls: Vec<&str> = found.iter().map(|(purl, _)| purl.as_str()).collect();
        assert_eq!(purls, ["pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.0.0"]);
    }
}
