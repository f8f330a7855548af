//! Which Node a project gets.

use common::project::Settings;
use detect::{Range, Toolchain, Version};
use serde_json::{Value, json};

use crate::fixture::*;

fn app(more: Value, files: &[File]) -> Vec<File> {
    let dependencies: Pairs<'_> = &[("react-scripts", "5.0.1")];
    let mut all = vec![
        package_with("package.json", dependencies, &[("build", "react-scripts build")], more),
        npm_lock("package-lock.json", dependencies),
    ];
    all.extend(files.iter().cloned());
    all
}

#[test]
fn the_project_s_wish_for_a_node_is_honoured() {
    let table: &[(Value, &[File], &str, bool)] = &[
        (json!({}), &[], "20.20.2", true),
        (json!({ "engines": { "node": ">=18" } }), &[], "20.20.2", true),
        (json!({ "engines": { "node": "20.x" } }), &[], "20.20.2", true),
        (json!({ "engines": { "node": "22.x" } }), &[], "22", false),
        (json!({ "engines": { "node": "^14.17.0" } }), &[], ">=14.17.0 <15.0.0", false),
        (json!({ "engines": { "node": ">=16 <19" } }), &[], "18", false),
        (json!({}), &[text(".nvmrc", "v18.20.4\n")], "18.20.4", false),
        (json!({}), &[text(".nvmrc", "lts/jod")], "22", false),
        (json!({}), &[text(".nvmrc", "lts/*")], "20.20.2", true),
        (json!({}), &[text(".node-version", "22.11.0")], "22.11.0", false),
        (json!({}), &[text(".tool-versions", "python 3.12\nnodejs 22.4.1\n")], "22.4.1", false),
        (json!({ "volta": { "node": "18.20.4" } }), &[], "18.20.4", false),
        (json!({ "engines": { "node": ">=18" } }), &[text(".nvmrc", "22")], "22", false),
    ];
    for (more, files, want, use_host) in table {
        let node = plan(&app(more.clone(), files)).unwrap().node.unwrap();
        assert_eq!((node.want.as_str(), node.use_host), (*want, *use_host), "{more} {files:?}: {}", node.reason);
        assert!(!node.reason.is_empty() && Range::parse(&node.want).is_some());
    }
}

#[test]
fn a_wish_that_cannot_be_met_is_refused_with_the_reason() {
    let table: &[(Value, &[File], Toolchain, &str, &str)] = &[
        (
            json!({ "engines": { "node": "14.x" } }),
            &[],
            closed_host(),
            "node_unavailable",
            "engines.node in package.json asks for Node \"14.x\", this host has 20.20.2",
        ),
        (json!({ "engines": { "node": "0.10" } }), &[], host(), "no_such_node", "\"0.10\""),
        (json!({ "engines": { "node": ">=99" } }), &[], host(), "no_such_node", ">=99"),
        (json!({}), &[text(".nvmrc", "banana")], host(), "bad_node_version", ".nvmrc asks for Node \"banana\""),
        (json!({}), &[text(".nvmrc", "18")], Toolchain::default(), "node_unavailable", "this host has none"),
    ];
    for (more, files, toolchain, code, part) in table {
        let refusal = refusal(&app(more.clone(), files), &Settings::default(), toolchain);
        assert_eq!(refusal.code(), *code);
        assert!(refusal.to_string().contains(part), "{refusal}");
    }
}

#[test]
fn contradicting_wishes_are_told() {
    let plan = plan(&app(json!({ "engines": { "node": ">=20" } }), &[text(".nvmrc", "16")])).unwrap();
    assert!(plan.node.unwrap().use_host);
    assert!(plan.notes.iter().any(|note| note.text.contains("contradict each other: .nvmrc is ignored")));
}

#[test]
fn dependencies_have_a_say_when_the_project_has_none() {
    let with_engines = |name: &str, engines: &str| {
        let lock = json!({ "lockfileVersion": 3, "packages": {
            "": { "dependencies": { name: "1.0.0" } },
            format!("node_modules/{name}"): { "version": "1.0.0", "engines": { "node": engines } },
        } });
        let files = [
            package("package.json", &[(name, "1.0.0")], &[("build", "node x.js")]),
            ("package-lock.json", lock.to_string()),
        ];
        plan(&files).unwrap().node.unwrap()
    };
    // Too old a host is a real obstacle; an upper end is only the newest that the author knew.
    assert_eq!(with_engines("modern", ">=22.12.0").want, ">=22.12.0 <23.0.0");
    assert_eq!(with_engines("modern", "^20.19.0 || >=22.12.0").want, "20.20.2");
    assert!(with_engines("ancient", "^8.16.0 || 10.* || ^12").use_host);
    assert!(with_engines("ancient", "<=14").use_host);
    // Native code that does not compile on newer versions is an obstacle too.
    let sass =
        plan(&npm_app(&[("node-sass", "^4.14.0"), ("react-scripts", "3.4.0")], &[("build", "react-scripts build")]))
            .unwrap();
    assert_eq!(sass.node.unwrap().want, "14");
}

#[test]
fn a_host_without_node_gets_one() {
    let toolchain = Toolchain { node: None, can_fetch: true };
    let folder = project(&app(json!({}), &[]));
    let node = detect::plan(folder.path(), &Settings::default(), &toolchain).unwrap().node.unwrap();
    assert_eq!((node.want.as_str(), node.use_host), ("22", false));
    assert!(Range::parse(&node.want).unwrap().contains(Version::new(22, 11, 0)));
}
