//! The folder that a build left.

use std::fs;

use common::project::Settings;

use crate::fixture::*;

fn vite_after_build(files: &[File]) -> (tempfile::TempDir, detect::Plan) {
    let mut all = npm_app(&[("vite", "^7.0.0")], &[("build", "vite build")]);
    all.push(empty("index.html"));
    let folder = project(&all);
    let plan = detect::plan(folder.path(), &Settings::default(), &host()).unwrap();
    for (path, text) in files {
        write(folder.path(), path, text);
    }
    (folder, plan)
}

#[test]
fn the_folder_with_a_page_is_taken() {
    let (folder, plan) = vite_after_build(&[empty("dist/index.html")]);
    let found = detect::resolve_output(folder.path(), &plan).unwrap();
    assert_eq!(found, fs::canonicalize(folder.path().join("dist")).unwrap());
}

#[test]
fn a_build_that_left_nothing_is_told_with_the_folders_that_are_there() {
    let (folder, plan) = vite_after_build(&[empty("elsewhere/index.html")]);
    let refusal = detect::resolve_output(folder.path(), &plan).unwrap_err();
    assert_eq!(refusal.code(), "no_output");
    assert!(refusal.to_string().contains("looked for dist; its folders are elsewhere"), "{refusal}");
}

#[test]
fn angular_s_folder_is_found_in_either_layout() {
    let config =
        r#"{ "projects": { "shop": { "architect": { "build": { "options": { "outputPath": "dist/shop" } } } } } }"#;
    for built in ["dist/shop/browser/index.html", "dist/shop/index.html", "dist/renamed/browser/index.html"] {
        let mut files = npm_app(&[("@angular/core", "^19.0.0"), ("@angular/cli", "^19.0.0")], &[("build", "ng build")]);
        files.push(text("angular.json", config));
        let folder = project(&files);
        let plan = detect::plan(folder.path(), &Settings::default(), &host()).unwrap();
        write(folder.path(), built, "");
        let found = detect::resolve_output(folder.path(), &plan).unwrap();
        assert!(found.join("index.html").is_file(), "{built}");
    }
}

#[cfg(unix)]
#[test]
fn an_output_folder_that_is_a_link_out_of_the_source_is_refused() {
    let (folder, plan) = vite_after_build(&[]);
    let outside = project(&[empty("index.html")]);
    std::os::unix::fs::symlink(outside.path(), folder.path().join("dist")).unwrap();
    assert_eq!(detect::resolve_output(folder.path(), &plan).unwrap_err().code(), "output_outside");
}

#[test]
fn a_plan_survives_being_stored() {
    let (_folder, plan) = vite_after_build(&[]);
    let stored = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<detect::Plan>(&stored).unwrap(), plan);
}
