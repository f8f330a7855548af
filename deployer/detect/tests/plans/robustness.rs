//! Whatever the files hold, planning ends with a plan or a refusal.

use common::project::Settings;
use proptest::prelude::*;

use crate::fixture::*;

/// Files whose text detection reads.
const READ: [&str; 20] = [
    "package.json",
    "package-lock.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "pnpm-workspace.yaml",
    "lerna.json",
    "angular.json",
    "vite.config.ts",
    "svelte.config.js",
    "astro.config.mjs",
    "next.config.js",
    "vue.config.js",
    ".eleventy.js",
    ".nvmrc",
    ".tool-versions",
    ".yarnrc.yml",
    "Procfile",
    "index.html",
];
/// Pieces of what such files hold, so that random texts get past the first check.
const PIECES: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "'",
    "`",
    "\n",
    "  ",
    "    ",
    "- ",
    "\\",
    "/*",
    "//",
    "é",
    "\u{feff}",
    "outDir",
    "output",
    "root",
    "fallback",
    "path.resolve(",
    ")",
    "packages",
    "importers",
    "lockfileVersion: '9.0'",
    "__metadata:",
    "version \"1\"",
    "dependencies",
    "vite@^7",
    "node_modules/vite",
    "**",
    "^",
    "||",
    "web: ",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60).prop_map(|pieces| pieces.concat())
}

/// Any JSON of a few levels, with the names that package.json and the lock files use.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::sample::select(vec![
            "vite build",
            "node x.js",
            "^1.0.0",
            "~*",
            ">=99999999999999999999",
            "../..",
            "/etc",
            "pnpm@9",
            "yarn@",
            "workspace:*",
            "a && (b || 'c",
            "npm run build",
            "",
            "x".repeat(9_000).leak(),
        ])
        .prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    let names = prop::sample::select(vec![
        "name",
        "scripts",
        "build",
        "start",
        "dependencies",
        "devDependencies",
        "engines",
        "node",
        "packageManager",
        "workspaces",
        "packages",
        "",
        "node_modules/vite",
        "vite",
        "next",
        "react-scripts",
        "@angular/core",
        "@sveltejs/kit",
        "astro",
        "express",
        "projects",
        "architect",
        "options",
        "outputPath",
        "version",
        "lockfileVersion",
        "main",
        "exports",
        "volta",
        "resolutions",
    ]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::Array),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(|pairs| serde_json::Value::Object(
                pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}

/// Plans on hosts of all kinds; what matters is that it ends.
fn survives(folder: &std::path::Path) {
    for toolchain in [host(), closed_host(), detect::Toolchain::default()] {
        match detect::plan(folder, &Settings::default(), &toolchain) {
            Ok(plan) => {
                let _ = detect::resolve_output(&folder.join(&plan.app_dir), &plan);
            }
            Err(refusal) => assert!(!refusal.to_string().is_empty()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn any_bytes_are_survived(files in prop::collection::vec((prop::sample::select(&READ[..]), prop::collection::vec(any::<u8>(), 0..200)), 1..6)) {
        let folder = project(&npm_app(&[("vite", "^7.0.0")], &[("build", "vite build")]));
        for (name, bytes) in &files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        survives(folder.path());
    }

    #[test]
    fn torn_configurations_are_survived(
        framework in prop::sample::select(vec!["vite", "next", "astro", "@sveltejs/kit", "@vue/cli-service", "@11ty/eleventy", "@angular/core", "nuxt", "vitepress"]),
        files in prop::collection::vec((prop::sample::select(&READ[1..]), soup()), 1..8),
    ) {
        let folder = project(&[package("package.json", &[(framework, "^3.0.0"), ("@angular/cli", "*")], &[("build", "x build")])]);
        for (name, text) in &files {
            write(folder.path(), name, text);
        }
        survives(folder.path());
    }

    #[test]
    fn any_json_is_survived(package in any_json(), lock in any_json(), angular in any_json()) {
        let folder = tempfile::tempdir().unwrap();
        for (name, value) in [("package.json", package), ("package-lock.json", lock.clone()), ("bun.lock", lock), ("angular.json", angular)] {
            write(folder.path(), name, &value.to_string());
        }
        survives(folder.path());
    }

    #[test]
    fn any_setting_is_survived(root_dir in soup(), output_dir in soup(), build in soup(), start in prop::option::of(soup())) {
        let folder = project(&npm_app(&[("vite", "^7.0.0")], &[("build", "vite build")]));
        let settings = Settings { root_dir: Some(root_dir), output_dir: Some(output_dir), build_command: Some(build), start_command: start, ..Settings::default() };
        let _ = detect::plan(folder.path(), &settings, &host());
    }

    #[test]
    fn any_range_is_survived_and_reads_back_as_itself(text in "[0-9.x*^~<>=| v-]{0,24}") {
        if let Some(range) = detect::Range::parse(&text) {
            let printed = range.to_string();
            if !printed.is_empty() {
                prop_assert_eq!(detect::Range::parse(&printed), Some(range));
            }
        }
    }
}

#[test]
fn a_pathological_package_json_ends_soon() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let chained: Vec<(String, String)> =
        (0..2_000).map(|i| (format!("s{i}"), format!("npm run s{} && npm run s{}", i + 1, i + 2))).collect();
    let chained: Vec<(&str, &str)> =
        chained.iter().map(|(a, b)| (a.as_str(), b.as_str())).chain([("build", "npm run s0")]).collect();
    for file in [("package.json", deep), package("package.json", &[("vite", "*")], &chained)] {
        survives(project(&[file]).path());
    }
}

#[cfg(unix)]
#[test]
fn special_files_are_not_waited_for() {
    let folder = project(&[empty("index.html")]);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("package.json")).status().unwrap();
    assert!(made.success());
    let refusal = detect::plan(folder.path(), &Settings::default(), &host()).unwrap_err();
    assert_eq!(refusal.code(), "file_outside");
}
