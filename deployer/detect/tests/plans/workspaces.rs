//! Monorepos.

use std::path::Path;

use common::deployment::Kind;
use common::project::Settings;
use serde_json::json;

use crate::fixture::*;

fn at(root_dir: &str) -> Settings {
    Settings { root_dir: Some(root_dir.to_owned()), ..Settings::default() }
}

const APP: Pairs<'static> = &[("react", "^19.0.0"), ("vite", "^7.0.0"), ("ui", "workspace:*")];
const VITE: Pairs<'static> = &[("build", "vite build")];

fn pnpm_workspace() -> Vec<File> {
    vec![
        package("package.json", &[], &[("build", "turbo build")]),
        text("pnpm-workspace.yaml", "packages:\n  - 'apps/*'\n  - packages/*\n"),
        text(
            "pnpm-lock.yaml",
            "lockfileVersion: '9.0'\nimporters:\n  apps/web:\n    dependencies:\n      react:\n        specifier: ^19.0.0\n        version: 19.0.0\n      vite:\n        specifier: ^7.0.0\n        version: 7.0.0\n      ui:\n        specifier: workspace:*\n        version: link:../../packages/ui\n",
        ),
        package("apps/web/package.json", APP, VITE),
        empty("apps/web/index.html"),
        package_with(
            "packages/ui/package.json",
            &[],
            &[("build", "tsc")],
            json!({ "name": "ui", "main": "./dist/index.js" }),
        ),
    ]
}

fn row(name: &'static str, files: Vec<File>, settings: Settings) -> Row {
    Row {
        name,
        files,
        settings,
        framework: "vite-react",
        install: "pnpm install --frozen-lockfile --prod=false --config.confirmModulesPurge=false",
        build: "(cd ../../packages/ui && pnpm run build) && pnpm run build",
        single_page: true,
        notes: &[
            "apps/web belongs to a workspace: dependencies are installed in its root",
            "Building packages/ui first",
        ],
        ..Row::default()
    }
}

#[test]
fn an_app_of_a_workspace_is_installed_at_the_root() {
    let plan = row("named", pnpm_workspace(), at("apps/web")).check();
    assert_eq!((plan.app_dir.as_path(), plan.install_dir.as_path()), (Path::new("apps/web"), Path::new("")));
    let plan = row("found", pnpm_workspace(), Settings::default()).check();
    assert_eq!(plan.app_dir, Path::new("apps/web"));
    // A library that is used as source needs no build of its own.
    let mut source = pnpm_workspace();
    source.push(empty("packages/ui/dist/index.js"));
    Row { build: "pnpm run build", notes: &[], ..row("library in the source", source, at("./apps/web/")) }.check();
}

#[test]
fn npm_and_yarn_workspaces_are_installed_at_the_root_too() {
    let dependencies: Pairs<'_> = &[("react", "^19.0.0"), ("vite", "^7.0.0")];
    let workspace = |lock: File| {
        vec![
            package_with("package.json", &[], &[], json!({ "workspaces": ["apps/*"] })),
            lock,
            package("apps/web/package.json", dependencies, VITE),
            empty("apps/web/index.html"),
        ]
    };
    let lock = json!({ "lockfileVersion": 3, "packages": {
        "": { "workspaces": ["apps/*"] }, "apps/web": { "dependencies": { "react": "^19.0.0", "vite": "^7.0.0" } },
        "node_modules/react": { "version": "19.0.0" }, "node_modules/vite": { "version": "7.0.0" } } });
    let npm = workspace(("package-lock.json", lock.to_string()));
    let base = |name, files| Row {
        name,
        files,
        settings: at("apps/web"),
        framework: "vite-react",
        single_page: true,
        ..Row::default()
    };
    let plan = base("npm", npm).check();
    assert_eq!(plan.install_dir, Path::new(""));
    Row {
        install: "yarn install --production=false --non-interactive --frozen-lockfile",
        build: "yarn run build",
        ..base("yarn", workspace(yarn_lock("yarn.lock", dependencies)))
    }
    .check();
}

#[test]
fn a_folder_outside_of_every_workspace_stands_alone() {
    let dependencies: Pairs<'_> = &[("react", "^19.0.0"), ("vite", "^7.0.0")];
    let files = vec![
        package_with("package.json", &[], &[], json!({ "workspaces": ["apps/*"] })),
        package("sites/blog/package.json", dependencies, VITE),
        npm_lock("sites/blog/package-lock.json", dependencies),
        empty("sites/blog/index.html"),
    ];
    let plan = Row {
        name: "alone",
        files,
        settings: at("sites/blog"),
        framework: "vite-react",
        single_page: true,
        ..Row::default()
    }
    .check();
    assert_eq!(plan.install_dir, Path::new("sites/blog"));
}

#[test]
fn several_apps_without_a_name_are_refused_by_name() {
    let mut files = pnpm_workspace();
    files.push(package("apps/docs/package.json", &[("astro", "^5.0.0")], &[("build", "astro build")]));
    let refusal = refusal(&files, &Settings::default(), &host());
    assert_eq!(refusal.code(), "several_apps");
    assert!(refusal.to_string().contains("apps/docs, apps/web"), "{refusal}");
}

#[test]
fn a_client_and_a_server_that_start_together_are_one_app() {
    let files = vec![
        package_with(
            "package.json",
            &[],
            &[("build", "yarn workspace client build"), ("start", "yarn workspace server start")],
            json!({ "workspaces": ["client", "server"] }),
        ),
        package("client/package.json", &[("react-scripts", "5.0.1")], &[("build", "react-scripts build")]),
        package("server/package.json", &[("express", "^5.0.0")], &[("start", "node index.js")]),
        yarn_lock("yarn.lock", &[("react-scripts", "5.0.1"), ("express", "^5.0.0")]),
    ];
    Row {
        name: "together",
        files,
        framework: "node",
        kind: Kind::Node,
        install: "yarn install --production=false --non-interactive --frozen-lockfile",
        build: "yarn run build",
        output: "",
        start: "yarn run start",
        ..Row::default()
    }
    .check();
}

#[test]
fn an_output_in_the_workspace_s_own_folder_is_found() {
    let settings = Settings { output_dir: Some("../../dist/web".to_owned()), ..at("apps/web") };
    let plan = Row { output: "../../dist/web", ..row("shared dist", pnpm_workspace(), settings) }.check();
    let folder = project(&pnpm_workspace());
    write(folder.path(), "dist/web/index.html", "");
    let found = detect::resolve_output(&folder.path().join("apps/web"), &plan).unwrap();
    assert!(found.ends_with("dist/web"));
}

#[test]
fn libraries_that_need_each_other_are_built_in_order_and_circles_end() {
    let library = |path, name: &str, needs: &str| {
        let more = json!({ "name": name, "main": "dist/index.js", "devDependencies": { needs: "*" } });
        package_with(path, &[], &[("build", "tsc")], more)
    };
    let files = vec![
        package_with("package.json", &[], &[], json!({ "workspaces": ["*"] })),
        package("web/package.json", &[("vite", "^7.0.0"), ("a", "*")], VITE),
        empty("web/index.html"),
        library("a/package.json", "a", "b"),
        library("b/package.json", "b", "c"),
        library("c/package.json", "c", "a"),
    ];
    Row {
        name: "order",
        files,
        settings: at("web"),
        framework: "vite",
        install: NPM_INSTALL,
        build: "(cd ../c && npm run build) && (cd ../b && npm run build) && (cd ../a && npm run build) && npm run build",
        single_page: true,
        warnings: &[NO_LOCK],
        ..Row::default()
    }
    .check();
}
