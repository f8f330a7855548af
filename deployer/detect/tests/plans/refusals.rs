//! Projects that cannot be deployed as they are, and what their developer is told.

use common::deployment::Kind;
use common::project::Settings;

use crate::fixture::*;

fn root(dir: &str) -> Settings {
    Settings { root_dir: Some(dir.to_owned()), ..Settings::default() }
}

#[test]
fn a_refusal_names_what_is_wrong_and_what_to_do() {
    let none = Settings::default;
    let kit: Pairs<'_> = &[("@sveltejs/kit", "^2.0.0"), ("@sveltejs/adapter-vercel", "^5.0.0")];
    let astro = text("astro.config.mjs", "export default defineConfig({ output: 'server' })");
    let output = Settings { output_dir: Some("../..".to_owned()), ..none() };
    let node = Settings { kind: Some(Kind::Node), ..none() };
    let site = Settings { kind: Some(Kind::Static), ..none() };
    let table: Vec<(&str, Vec<File>, Settings, &str, &str)> = vec![
        (
            "nothing",
            vec![empty("README.md"), empty("notes/a.txt")],
            none(),
            "nothing_to_deploy",
            "its folders are notes",
        ),
        ("no script", vec![package("package.json", &[], &[])], none(), "nothing_to_deploy", "neither a build script"),
        ("broken JSON", vec![text("package.json", "{ \"name\": \"a\",\n}")], none(), "invalid_json", "line 2"),
        ("conflict", vec![text("package.json", "<<<<<<< HEAD\n{}")], none(), "invalid_json", "merge conflict"),
        ("a list", vec![text("package.json", "[]")], none(), "invalid_json", "one object"),
        ("root folder outside", vec![empty("index.html")], root("../x"), "root_dir_outside", "inside"),
        ("absolute root folder", vec![empty("index.html")], root("/etc"), "root_dir_outside", "inside"),
        ("no such root folder", vec![empty("web/index.html")], root("app"), "root_dir_missing", "its folders are web"),
        ("output outside", vec![empty("index.html")], output, "output_dir_outside", "leaves the project"),
        (
            "two apps",
            vec![package("client/package.json", &[], &[]), package("server/package.json", &[], &[])],
            none(),
            "several_apps",
            "client, server",
        ),
        ("adapter", npm_app(kit, &[("build", "vite build")]), none(), "sveltekit_adapter", "adapter-vercel"),
        (
            "no adapter",
            {
                let mut files = npm_app(&[("astro", "^5.0.0")], &[]);
                files.push(astro);
                files
            },
            none(),
            "astro_adapter",
            "astro add node",
        ),
        (
            "a server asked to be a site",
            npm_app(&[("next", "^15.0.0")], &[("build", "next build")]),
            site,
            "builds_server",
            "output: 'export'",
        ),
        ("a site asked to be a server", vec![empty("index.html")], node, "no_start", "start command"),
        (
            "unknown package manager",
            vec![package_with(
                "package.json",
                &[("vite", "^7.0.0")],
                &[("build", "vite build")],
                serde_json::json!({ "packageManager": "cnpm@9.0.0" }),
            )],
            none(),
            "unknown_package_manager",
            "cnpm@9.0.0",
        ),
    ];
    for (name, files, settings, code, part) in table {
        let refusal = refusal(&files, &settings, &host());
        assert_eq!(refusal.code(), code, "{name}: {refusal}");
        assert!(refusal.to_string().contains(part), "{name}: {refusal}");
    }
}

#[cfg(unix)]
#[test]
fn links_out_of_the_source_are_not_followed() {
    use std::os::unix::fs::symlink;
    let outside = project(&npm_app(&[("vite", "^7.0.0")], &[("build", "vite build")]));
    let folder = project(&[empty("README.md")]);
    symlink(outside.path().join("package.json"), folder.path().join("package.json")).unwrap();
    write(folder.path(), "index.html", "");
    let refusal = detect::plan(folder.path(), &Settings::default(), &host()).unwrap_err();
    assert_eq!(refusal.code(), "file_outside");

    let folder = project(&[empty("README.md")]);
    symlink(outside.path(), folder.path().join("app")).unwrap();
    let refusal = detect::plan(folder.path(), &root("app"), &host()).unwrap_err();
    assert_eq!(refusal.code(), "root_dir_outside");
}

#[test]
fn a_source_that_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = detect::plan(&folder.path().join("gone"), &Settings::default(), &host()).unwrap_err();
    assert_eq!(refusal.code(), "source_unreadable");
}
