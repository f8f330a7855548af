//! Package managers, lock files and the install ladder.

use detect::{Plan, Tool};
use serde_json::json;

use crate::fixture::*;

const DEPENDENCIES: Pairs<'static> = &[("react", "^19.0.0"), ("vite", "^7.0.0")];
const SCRIPTS: Pairs<'static> = &[("build", "vite build")];

fn app(more: Vec<File>) -> Vec<File> {
    let mut files = vec![package("package.json", DEPENDENCIES, SCRIPTS), empty("index.html")];
    files.extend(more);
    files
}

fn row(name: &'static str, files: Vec<File>) -> Row {
    Row { name, files, framework: "vite-react", single_page: true, ..Row::default() }
}

fn tool(plan: &Plan) -> (Tool, Option<&str>) {
    let manager = plan.package_manager.as_ref().unwrap();
    (manager.tool, manager.version.as_deref())
}

/// The command of the step that follows the first when it printed this.
fn after<'a>(plan: &'a Plan, output: &str) -> &'a str {
    plan.next_install_step(0, output).map_or("", |step| plan.install[step].command.as_str())
}

const BERRY_LOCK: &str = "__metadata:\n  version: 8\n\n\"react@npm:^19.0.0\":\n  version: 19.0.0\n\n\"vite@npm:^7.0.0\":\n  version: 7.0.0\n";
const BUN_LOCK: &str = r#"{ "lockfileVersion": 1, "workspaces": { "": { "name": "app", "dependencies": { "react": "^19.0.0", "vite": "^7.0.0", }, }, },
  "packages": { "react": ["react@19.0.0", ""], "vite": ["vite@7.0.0", ""], } }"#;

#[test]
fn the_lock_file_chooses_the_tool() {
    let plan = row("npm", app(vec![npm_lock("package-lock.json", DEPENDENCIES)])).check();
    assert_eq!(tool(&plan), (Tool::Npm, None));
    let plan = Row {
        install: "pnpm install --frozen-lockfile --prod=false --config.confirmModulesPurge=false",
        build: "pnpm run build",
        ..row("pnpm", app(vec![pnpm_lock("pnpm-lock.yaml", DEPENDENCIES)]))
    }
    .check();
    assert_eq!(tool(&plan), (Tool::Pnpm, Some("10")));
    let plan = Row {
        install: "yarn install --production=false --non-interactive --frozen-lockfile",
        build: "yarn run build",
        ..row("Yarn 1", app(vec![yarn_lock("yarn.lock", DEPENDENCIES)]))
    }
    .check();
    assert_eq!(tool(&plan), (Tool::YarnClassic, Some("1.22.22")));
    let plan = Row {
        install: "yarn install --immutable",
        build: "yarn run build",
        ..row("Yarn 4", app(vec![text("yarn.lock", BERRY_LOCK)]))
    }
    .check();
    assert_eq!(tool(&plan), (Tool::YarnBerry, Some("4")));
    let plan = Row {
        install: "bun install --frozen-lockfile",
        build: "bun run build",
        ..row("Bun", app(vec![text("bun.lock", BUN_LOCK)]))
    }
    .check();
    assert_eq!(tool(&plan), (Tool::Bun, Some("1")));
    let plan = Row { install: NPM_INSTALL, warnings: &[NO_LOCK], ..row("none", app(vec![])) }.check();
    assert_eq!(tool(&plan), (Tool::Npm, None));
}

#[test]
fn package_manager_is_honoured() {
    let named = |value: &str, more: Vec<File>| {
        let mut files = vec![
            package_with("package.json", DEPENDENCIES, SCRIPTS, json!({ "packageManager": value })),
            empty("index.html"),
        ];
        files.extend(more);
        files
    };
    let plan = Row {
        install: "pnpm install --frozen-lockfile --prod=false --config.confirmModulesPurge=false",
        build: "pnpm run build",
        notes: &["because package.json names pnpm; package-lock.json is ignored"],
        ..row(
            "pnpm",
            named(
                "pnpm@9.1.0+sha512.abc",
                vec![pnpm_lock("pnpm-lock.yaml", DEPENDENCIES), npm_lock("package-lock.json", DEPENDENCIES)],
            ),
        )
    }
    .check();
    assert_eq!(tool(&plan), (Tool::Pnpm, Some("9.1.0")));
    assert_eq!(plan.package_manager.unwrap().sha512.as_deref(), Some("abc"));
    let plan = Row {
        install: "yarn install --no-immutable",
        build: "yarn run build",
        warnings: &["no use for package-lock.json"],
        ..row("Yarn 4 with npm's lock file", named("yarn@4.5.0", vec![npm_lock("package-lock.json", DEPENDENCIES)]))
    }
    .check();
    assert_eq!(tool(&plan), (Tool::YarnBerry, Some("4.5.0")));
    let plan = row("npm", named("npm@10.9.0", vec![npm_lock("package-lock.json", DEPENDENCIES)])).check();
    assert_eq!(tool(&plan), (Tool::Npm, Some("10.9.0")));
    let plan = Row {
        install: "pnpm install --frozen-lockfile --prod=false --config.confirmModulesPurge=false",
        build: "pnpm run build",
        notes: &["pnpm 11.2.0 needs"],
        ..row("a tool that needs a newer Node", named("pnpm@11.2.0", vec![pnpm_lock("pnpm-lock.yaml", DEPENDENCIES)]))
    }
    .check();
    assert!(!plan.node.unwrap().use_host);
}

#[test]
fn smaller_signs_choose_where_there_is_no_lock_file() {
    let tool_of = |more: Vec<File>| tool(&plan_of(more)).0;
    assert_eq!(tool_of(vec![text(".yarnrc.yml", "nodeLinker: node-modules\n")]), Tool::YarnBerry);
    assert_eq!(tool_of(vec![text("bunfig.toml", "")]), Tool::Bun);
    let scripts: Pairs<'_> = &[("build", "vite build"), ("preinstall", "npx only-allow pnpm")];
    let files = [package("package.json", DEPENDENCIES, scripts), empty("index.html")];
    assert_eq!(tool(&plan(&files).unwrap()).0, Tool::Pnpm);
}

#[test]
fn a_copy_of_yarn_in_the_project_is_used() {
    let carried = |path: &str| {
        vec![
            text("yarn.lock", BERRY_LOCK),
            (".yarnrc.yml", format!("yarnPath: {path}\n")),
            empty(".yarn/releases/yarn-4.1.0.cjs"),
        ]
    };
    let vendored = |path| plan_of(carried(path)).package_manager.unwrap().vendored;
    assert_eq!(vendored(".yarn/releases/yarn-4.1.0.cjs"), Some(".yarn/releases/yarn-4.1.0.cjs".into()));
    assert_eq!(vendored("../../tmp/yarn.cjs"), None, "a copy outside of the project is not used");
    assert_eq!(vendored(".yarn/releases/gone.cjs"), None);
}

#[test]
fn engines_narrow_the_tool_s_version() {
    let files = vec![
        package_with("package.json", DEPENDENCIES, SCRIPTS, json!({ "engines": { "pnpm": "^9.4.0" } })),
        pnpm_lock("pnpm-lock.yaml", DEPENDENCIES),
        empty("index.html"),
    ];
    assert_eq!(tool(&plan(&files).unwrap()), (Tool::Pnpm, Some(">=9.4.0 <10.0.0")));
}

#[test]
fn of_two_lock_files_the_one_that_agrees_is_taken() {
    let stale: Pairs<'_> = &[("react", "^17.0.0"), ("vite", "^7.0.0"), ("axios", "^1.0.0")];
    let plan = Row {
        warnings: &["yarn.lock is stale"],
        ..row("stale yarn.lock", app(vec![npm_lock("package-lock.json", DEPENDENCIES), yarn_lock("yarn.lock", stale)]))
    }
    .check();
    assert_eq!(tool(&plan).0, Tool::Npm);
    let plan = Row {
        install: "yarn install --production=false --non-interactive --frozen-lockfile",
        build: "yarn run build",
        warnings: &["package-lock.json is stale (it still has axios, it has react ^17.0.0 where package.json asks for ^19.0.0); using yarn.lock, which agrees fully"],
        ..row("stale package-lock.json", app(vec![npm_lock("package-lock.json", stale), yarn_lock("yarn.lock", DEPENDENCIES)]))
    }
    .check();
    assert_eq!(tool(&plan).0, Tool::YarnClassic);
    let plan = Row {
        install: "pnpm install --frozen-lockfile --prod=false --config.confirmModulesPurge=false",
        build: "pnpm run build",
        warnings: &["more than one lock file: using pnpm-lock.yaml and ignoring package-lock.json"],
        ..row(
            "both agree",
            app(vec![npm_lock("package-lock.json", DEPENDENCIES), pnpm_lock("pnpm-lock.yaml", DEPENDENCIES)]),
        )
    }
    .check();
    assert_eq!(tool(&plan).0, Tool::Pnpm);
    Row {
        warnings: &["yarn.lock is stale (it cannot be read"],
        ..row(
            "a broken one",
            app(vec![npm_lock("package-lock.json", DEPENDENCIES), text("yarn.lock", "<<<<<<< HEAD\n")]),
        )
    }
    .check();
}

#[test]
fn a_lock_file_out_of_step_leads_to_a_plain_install() {
    let behind: Pairs<'_> = &[("react", "^19.0.0")];
    let plan = Row {
        warnings: &["package-lock.json is out of step with package.json: it does not have vite"],
        ..row("npm", app(vec![npm_lock("package-lock.json", behind)]))
    }
    .check();
    let complaint = "npm error code EUSAGE\nnpm error `npm ci` can only install packages when your package.json and package-lock.json are in sync";
    assert_eq!(after(&plan, complaint), NPM_INSTALL);
    let step = &plan.install[plan.next_install_step(0, complaint).unwrap()];
    assert!(step.note.as_ref().unwrap().contains("out of step"));

    let pnpm = plan_of(vec![pnpm_lock("pnpm-lock.yaml", behind)]);
    assert!(
        after(&pnpm, "ERR_PNPM_OUTDATED_LOCKFILE  Cannot install").starts_with("pnpm install --no-frozen-lockfile")
    );
    let yarn = plan_of(vec![yarn_lock("yarn.lock", behind)]);
    assert_eq!(
        after(&yarn, "error Your lockfile needs to be updated"),
        "yarn install --production=false --non-interactive"
    );
    let berry = plan_of(vec![text("yarn.lock", BERRY_LOCK)]);
    assert_eq!(after(&berry, "YN0028: The lockfile would have been modified"), "yarn install --no-immutable");
    let bun = plan_of(vec![text("bun.lock", BUN_LOCK)]);
    assert_eq!(after(&bun, "error: lockfile had changes, but lockfile is frozen"), "bun install");
}

fn plan_of(more: Vec<File>) -> Plan {
    plan(&app(more)).unwrap()
}

#[test]
fn peer_conflicts_lead_to_legacy_peer_deps() {
    let complaint = "npm error code ERESOLVE\nnpm error ERESOLVE could not resolve";
    let locked = plan_of(vec![npm_lock("package-lock.json", DEPENDENCIES)]);
    assert_eq!(after(&locked, complaint), format!("{NPM_CI} --legacy-peer-deps"));
    let unlocked = plan_of(vec![]);
    assert_eq!(after(&unlocked, complaint), format!("{NPM_INSTALL} --legacy-peer-deps"));
    let step = &unlocked.install[1];
    assert!(step.note.as_ref().unwrap().contains("--legacy-peer-deps"));
    // Out of step first, in conflict then: both concessions, in turn.
    let plain = locked.next_install_step(0, "npm error code EUSAGE").unwrap();
    let last = locked.next_install_step(plain, complaint).unwrap();
    assert_eq!(locked.install[last].command, format!("{NPM_INSTALL} --legacy-peer-deps"));
    // Any other failure is a failure.
    assert_eq!(locked.next_install_step(0, "npm error code E404"), None);
    assert_eq!(locked.next_install_step(usize::MAX, complaint), None);
}

#[test]
fn a_lock_file_of_another_platform_is_left_aside() {
    let lock = json!({ "lockfileVersion": 3, "packages": {
        "": { "dependencies": { "react": "^19.0.0", "vite": "^7.0.0" } },
        "node_modules/react": { "version": "19.0.0" },
        "node_modules/vite": { "version": "7.0.0" },
        "node_modules/rollup": { "version": "4.0.0", "optionalDependencies": {
            "@rollup/rollup-linux-x64-gnu": "4.0.0", "@rollup/rollup-linux-arm64-gnu": "4.0.0", "@rollup/rollup-win32-x64-msvc": "4.0.0" } },
        "node_modules/@rollup/rollup-win32-x64-msvc": { "version": "4.0.0" },
    } });
    let plan = plan_of(vec![("package-lock.json", lock.to_string())]);
    assert_eq!(plan.install[0].command, format!("{NPM_INSTALL} --no-package-lock"));
    assert!(plan.install[0].note.as_ref().unwrap().contains("@rollup/rollup-linux-"));
}

#[test]
fn equal_dependencies_have_equal_cache_keys() {
    let key = |files: &[File]| plan(files).unwrap().cache_key.unwrap();
    let files = app(vec![npm_lock("package-lock.json", DEPENDENCIES)]);
    let same = app(vec![
        npm_lock("package-lock.json", DEPENDENCIES),
        text("src/main.js", "changed"),
        text("README.md", "new"),
    ]);
    assert_eq!(key(&files), key(&same));
    let lock = app(vec![npm_lock("package-lock.json", &[("react", "^19.0.1"), ("vite", "^7.0.0")])]);
    let settings = app(vec![npm_lock("package-lock.json", DEPENDENCIES), text(".npmrc", "legacy-peer-deps=true")]);
    let node = app(vec![npm_lock("package-lock.json", DEPENDENCIES), text(".nvmrc", "22")]);
    let schema = app(vec![npm_lock("package-lock.json", DEPENDENCIES), text("prisma/schema.prisma", "model A {}")]);
    for other in [lock, settings, node, schema] {
        assert_ne!(key(&files), key(&other));
    }
}

#[test]
fn scripts_that_an_install_runs_are_named() {
    let mut files = npm_app(
        DEPENDENCIES,
        &[("build", "vite build"), ("postinstall", "patch-package"), ("prepare", "husky"), ("test", "x")],
    );
    files.push(empty("index.html"));
    assert_eq!(plan(&files).unwrap().lifecycle_scripts, ["postinstall", "prepare"]);
}
