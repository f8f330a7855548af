//! What the developer sets wins.

use common::deployment::Kind;
use common::project::Settings;

use crate::fixture::*;

fn vite() -> Vec<File> {
    let mut files =
        npm_app(&[("react", "^19.0.0"), ("vite", "^7.0.0")], &[("build", "vite build"), ("preview", "vite preview")]);
    files.push(empty("index.html"));
    files
}

fn set(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn every_setting_replaces_what_was_detected() {
    let row = |name, settings| Row {
        name,
        files: vite(),
        settings,
        framework: "vite-react",
        single_page: true,
        ..Row::default()
    };
    let plan =
        Row { install: "npm i", ..row("install", Settings { install_command: set("npm i"), ..Settings::default() }) }
            .check();
    assert_eq!(plan.install.len(), 1, "an install of one's own has no ladder");
    let plan =
        Row { install: "", ..row("no install", Settings { install_command: set(" "), ..Settings::default() }) }.check();
    assert_eq!(plan.cache_key, None);
    Row { build: "make site", ..row("build", Settings { build_command: set("make site"), ..Settings::default() }) }
        .check();
    let plan =
        Row { output: "web/site", ..row("output", Settings { output_dir: set("./web/site/"), ..Settings::default() }) }
            .check();
    assert!(plan.output_is_explicit && plan.output.len() == 1);
    row(
        "blank means not given",
        Settings { output_dir: set(""), start_command: set(" "), root_dir: set(""), ..Settings::default() },
    )
    .check();
    Row {
        kind: Kind::Node,
        output: "",
        start: "npm run preview",
        single_page: false,
        ..row(
            "a start command makes a server",
            Settings { start_command: set("npm run preview"), ..Settings::default() },
        )
    }
    .check();
}

#[test]
fn a_skipped_build_publishes_what_is_there() {
    let mut files = vite();
    files.push(empty("site/index.html"));
    let settings = Settings { build_command: set(""), output_dir: set("site"), ..Settings::default() };
    Row {
        name: "skipped",
        files: files.clone(),
        settings,
        framework: "vite-react",
        install: "",
        build: "",
        output: "site",
        single_page: true,
        ..Row::default()
    }
    .check();
    let settings = Settings { build_command: set(""), output_dir: set("nowhere"), ..Settings::default() };
    let refusal = refusal(&files, &settings, &host());
    assert_eq!(refusal.code(), "output_dir_missing");
    assert!(refusal.to_string().contains("its folders are site"), "{refusal}");
}

#[test]
fn a_static_type_publishes_a_folder_without_a_page() {
    let settings = Settings { kind: Some(Kind::Static), ..Settings::default() };
    Row {
        name: "no index.html",
        files: vec![empty("data/a.json"), empty("b.txt")],
        settings,
        framework: "html",
        install: "",
        build: "",
        output: ".",
        warnings: &["no index.html"],
        ..Row::default()
    }
    .check();
}

#[test]
fn a_static_type_turns_a_server_s_start_script_down() {
    let mut files = npm_app(
        &[("express", "^5.0.0"), ("sass", "^1.0.0")],
        &[("build", "node build.js"), ("start", "node server.js")],
    );
    files.push(empty("server.js"));
    let settings = Settings { kind: Some(Kind::Static), ..Settings::default() };
    Row { name: "static", files, settings, framework: "static-build", ..Row::default() }.check();
}

#[test]
fn a_build_of_another_kind_needs_only_a_command_and_an_output() {
    let settings = Settings { build_command: set("make"), output_dir: set("out"), ..Settings::default() };
    let row = Row {
        name: "make",
        files: vec![empty("Makefile")],
        settings,
        framework: "static-build",
        install: "",
        build: "make",
        output: "out",
        ..Row::default()
    };
    assert!(row.check().node.is_some(), "builds find Node even when only a command is known");
}

#[test]
fn naming_the_output_overrules_a_refusal_about_the_framework() {
    let files = npm_app(&[("next", "^15.0.0"), ("react", "^19.0.0")], &[("build", "next build && node flatten.js")]);
    let settings = Settings { kind: Some(Kind::Static), output_dir: set("flat"), ..Settings::default() };
    Row {
        name: "next",
        files,
        settings,
        framework: "static-build",
        output: "flat",
        warnings: &["Going on as the settings say"],
        ..Row::default()
    }
    .check();
}
