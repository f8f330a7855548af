//! Projects made in temporary folders, and a table row that says what their plan must be.

use std::fs;
use std::path::Path;

use common::deployment::Kind;
use common::project::Settings;
use detect::{Level, Plan, Refusal, Toolchain, Version};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// The first install step with npm and a lock file.
pub const NPM_CI: &str = "npm ci --include=dev --no-audit --no-fund";
/// The same without a lock file.
pub const NPM_INSTALL: &str = "npm install --include=dev --no-audit --no-fund";
/// The warning that a project without a lock file gets.
pub const NO_LOCK: &str = "There is no lock file";

/// A file of a fixture: path and text.
pub type File = (&'static str, String);
/// Names with values: dependencies or scripts.
pub type Pairs<'a> = &'a [(&'a str, &'a str)];

/// One project and what its plan must be.
pub struct Row {
    pub name: &'static str,
    pub files: Vec<File>,
    pub settings: Settings,
    pub toolchain: Toolchain,
    pub framework: &'static str,
    pub kind: Kind,
    /// The first install step; empty when nothing is installed.
    pub install: &'static str,
    /// Empty when nothing is built.
    pub build: &'static str,
    /// The likeliest output folder; empty for a server.
    pub output: &'static str,
    /// Empty for a site.
    pub start: &'static str,
    pub single_page: bool,
    /// Parts of information notes that must be there.
    pub notes: &'static [&'static str],
    /// Parts of the warnings, one for each and in their order.
    pub warnings: &'static [&'static str],
}

impl Default for Row {
    fn default() -> Self {
        Self {
            name: "",
            files: Vec::new(),
            settings: Settings::default(),
            toolchain: host(),
            framework: "",
            kind: Kind::Static,
            install: NPM_CI,
            build: "npm run build",
            output: "dist",
            start: "",
            single_page: false,
            notes: &[],
            warnings: &[],
        }
    }
}

impl Row {
    /// Makes the project, plans it and compares.
    pub fn check(&self) -> Plan {
        let name = self.name;
        let folder = project(&self.files);
        let plan = detect::plan(folder.path(), &self.settings, &self.toolchain)
            .unwrap_or_else(|refusal| panic!("{name}: refused: {refusal}"));
        assert_eq!(plan.framework.slug(), self.framework, "{name}: framework");
        assert_eq!(plan.kind, self.kind, "{name}: kind");
        assert_eq!(plan.install.first().map_or("", |step| step.command.as_str()), self.install, "{name}: install");
        assert_eq!(plan.build.as_deref().unwrap_or_default(), self.build, "{name}: build");
        let output = plan.output.first().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        assert_eq!(output, self.output, "{name}: output");
        assert_eq!(plan.start.as_deref().unwrap_or_default(), self.start, "{name}: start");
        assert_eq!(plan.single_page, self.single_page, "{name}: single page");
        let texts =
            |level| plan.notes.iter().filter(|note| note.level == level).map(|note| note.text.as_str()).collect();
        let infos: Vec<&str> = texts(Level::Info);
        for part in self.notes {
            assert!(infos.iter().any(|text| text.contains(part)), "{name}: no note has {part:?}: {infos:#?}");
        }
        let warnings: Vec<&str> = texts(Level::Warning);
        assert_eq!(warnings.len(), self.warnings.len(), "{name}: warnings: {warnings:#?}");
        for (text, part) in warnings.iter().zip(self.warnings) {
            assert!(text.contains(part), "{name}: {text:?} should have {part:?}");
        }
        assert!(plan.env.iter().all(|(key, _)| key != "CI"), "{name}: CI must not be set");
        plan
    }
}

/// A host with Node 20 that can fetch others.
pub fn host() -> Toolchain {
    Toolchain { node: Some(Version::new(20, 20, 2)), can_fetch: true }
}

/// A host with Node 20 and no way to others.
pub fn closed_host() -> Toolchain {
    Toolchain { can_fetch: false, ..host() }
}

/// Writes the files into a new folder.
pub fn project(files: &[File]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    folder
}

pub fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Plans the project of these files on the usual host.
pub fn plan(files: &[File]) -> Result<Plan, Refusal> {
    detect::plan(project(files).path(), &Settings::default(), &host())
}

/// The refusal of the project of these files.
pub fn refusal(files: &[File], settings: &Settings, toolchain: &Toolchain) -> Refusal {
    detect::plan(project(files).path(), settings, toolchain).unwrap_err()
}

/// A file with nothing in it.
pub fn empty(path: &'static str) -> File {
    (path, String::new())
}

/// A file with this text.
pub fn text(path: &'static str, text: &str) -> File {
    (path, text.to_owned())
}

fn object(pairs: Pairs<'_>) -> Value {
    Value::Object(pairs.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Map<_, _>>())
}

/// A package.json at `path`.
pub fn package(path: &'static str, dependencies: Pairs<'_>, scripts: Pairs<'_>) -> File {
    package_with(path, dependencies, scripts, json!({}))
}

/// A package.json at `path` with more fields.
pub fn package_with(path: &'static str, dependencies: Pairs<'_>, scripts: Pairs<'_>, more: Value) -> File {
    let mut value = json!({ "name": "app", "dependencies": object(dependencies), "scripts": object(scripts) });
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    (path, value.to_string())
}

/// A package-lock.json at `path` that has these dependencies.
pub fn npm_lock(path: &'static str, dependencies: Pairs<'_>) -> File {
    let mut packages = Map::new();
    packages.insert(String::new(), json!({ "dependencies": object(dependencies) }));
    for (name, specifier) in dependencies {
        let version = specifier.trim_start_matches(['^', '~', '>', '=']);
        packages.insert(format!("node_modules/{name}"), json!({ "version": version }));
    }
    (path, json!({ "lockfileVersion": 3, "packages": packages }).to_string())
}

/// A pnpm-lock.yaml of format 9 at `path` that has these dependencies.
pub fn pnpm_lock(path: &'static str, dependencies: Pairs<'_>) -> File {
    let mut lines = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n".to_owned();
    for (name, specifier) in dependencies {
        let version = specifier.trim_start_matches(['^', '~']);
        lines += &format!("      {name}:\n        specifier: {specifier}\n        version: {version}\n");
    }
    (path, lines)
}

/// A yarn.lock of Yarn 1 at `path` that has these dependencies.
pub fn yarn_lock(path: &'static str, dependencies: Pairs<'_>) -> File {
    let mut lines = "# yarn lockfile v1\n\n".to_owned();
    for (name, specifier) in dependencies {
        let version = specifier.trim_start_matches(['^', '~']);
        lines += &format!("\"{name}@{specifier}\":\n  version \"{version}\"\n  resolved \"https://example.org/x\"\n\n");
    }
    (path, lines)
}

/// A package.json and a package-lock.json that agree.
pub fn npm_app(dependencies: Pairs<'_>, scripts: Pairs<'_>) -> Vec<File> {
    vec![package("package.json", dependencies, scripts), npm_lock("package-lock.json", dependencies)]
}
