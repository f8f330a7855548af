//! Projects as the frameworks' own tools make them today, built, deployed and looked at in a browser.

use std::path::{Path, PathBuf};

use crate::browser::Browser;
use crate::support::{Platform, folder, run, write};

/// Versions of the scaffolding tools: the newest that run on every Node that the tests support (20 and later).
const CREATE_VITE: &str = "create-vite@8";
const ANGULAR_CLI: &str = "@angular/cli@20.3.10";
const SV: &str = "sv@0.9";

struct Case {
    project: &'static str,
    folder: PathBuf,
    framework: &'static str,
    /// A word that the page shows once its scripts have run.
    says: &'static str,
}

#[tokio::test]
async fn what_the_scaffolding_tools_make_is_online_without_a_console_error() {
    let work = tempfile::tempdir().unwrap();
    let npx = |args: Vec<&'static str>| {
        let at = work.path().to_owned();
        async move {
            let mut all = vec!["--yes"];
            all.extend(args);
            run(&at, "npx", &all).await;
        }
    };
    for template in ["react", "vue", "svelte", "vanilla"] {
        npx(vec![CREATE_VITE, template, "--template", template, "--no-interactive"]).await;
    }
    npx(vec![ANGULAR_CLI, "new", "angular", "--defaults", "--skip-install", "--skip-git", "--interactive=false"]).await;
    npx(vec![SV, "create", "sveltekit", "--template", "minimal", "--no-types", "--no-add-ons", "--no-install"]).await;
    // Astro's own tool takes its templates from outside the package registry: this is its minimal one.
    write(
        &work.path().join("astro"),
        &[
            (
                "package.json",
                r#"{ "name": "astro", "type": "module", "scripts": { "build": "astro build" }, "dependencies": { "astro": "^5.0.0" } }"#,
            ),
            ("astro.config.mjs", "import { defineConfig } from 'astro/config';\nexport default defineConfig({});\n"),
            (
                "src/pages/index.astro",
                "---\nconst name = 'Astro';\n---\n<html lang=\"en\"><head><title>{name}</title><link rel=\"icon\" href=\"data:,\"></head><body><h1>{name}</h1></body></html>\n",
            ),
        ],
    );
    make_static(&work.path().join("sveltekit"));

    let at = |name: &str| work.path().join(name);
    let case = |project, framework, says| Case { project, folder: at(project), framework, says };
    let cases = [
        case("react", "Vite (React)", "count is 0"),
        case("vue", "Vite (Vue)", "count is 0"),
        case("svelte", "Vite (Svelte)", "ount is 0"),
        case("vanilla", "Vite", "ount is 0"),
        case("angular", "Angular", "angular"),
        case("sveltekit", "SvelteKit (static)", "Welcome to SvelteKit"),
        case("astro", "Astro", "Astro"),
    ];
    let platform = Platform::start().await;
    let browser = Browser::start().await;
    for case in cases {
        let live = platform.deploy_live(&case.folder, case.project, &[]).await;
        let id = live["deployment"].as_str().unwrap();
        let told = platform.api(reqwest::Method::GET, &format!("/deployments/{id}")).await;
        assert_eq!(told["framework"], case.framework, "{}", case.project);
        let tab = browser.open(live["url"].as_str().unwrap()).await;
        tab.says(case.says).await;
        assert_eq!(tab.errors(), [] as [&str; 0], "{}", case.project);
    }
    // The same sources again: the dependencies come from the cache.
    let again = platform.deploy_live(&at("react"), "react", &[]).await;
    let log = platform.build_log(again["deployment"].as_str().unwrap()).await;
    assert!(log.contains("cached node_modules") && !log.contains("$ npm install"), "{log}");
    browser.close().await;
}

/// The change that SvelteKit's documentation asks for to get a static site.
fn make_static(folder: &Path) {
    let path = folder.join("svelte.config.js");
    let config = std::fs::read_to_string(&path).unwrap().replace("@sveltejs/adapter-auto", "@sveltejs/adapter-static");
    let manifest = std::fs::read_to_string(folder.join("package.json")).unwrap();
    let line = manifest.lines().find(|line| line.contains("@sveltejs/adapter-auto")).unwrap().to_owned();
    std::fs::write(path, config).unwrap();
    std::fs::write(
        folder.join("package.json"),
        manifest.replace(&line, "\t\t\"@sveltejs/adapter-static\": \"^3.0.0\","),
    )
    .unwrap();
    std::fs::write(folder.join("src/routes/+layout.js"), "export const prerender = true;\n").unwrap();
}

#[tokio::test]
async fn untidy_projects_deploy_all_the_same_and_the_log_says_what_was_done() {
    let platform = Platform::start().await;
    let build = r#""scripts": { "build": "node build.js" }"#;
    let script = "require('fs').mkdirSync('dist', { recursive: true }); require('fs').writeFileSync('dist/index.html', String(require('is-number')(3)) + ' ' + process.env.CI);";
    let source = folder(&[
        ("package.json", &format!(r#"{{ "name": "untidy", {build}, "dependencies": {{ "is-number": "7.0.0" }} }}"#)),
        ("build.js", script),
        // Out of step: it knows nothing of is-number.
        (
            "package-lock.json",
            r#"{ "name": "untidy", "lockfileVersion": 3, "requires": true, "packages": { "": { "name": "untidy" } } }"#,
        ),
    ]);
    let live = platform.deploy_live(source.path(), "untidy", &[]).await;
    assert_eq!(platform.get("untidy", "/").await.body, "true undefined", "CI is not set");
    let log = platform.build_log(live["deployment"].as_str().unwrap()).await;
    assert!(log.contains("out of step"), "{log}");

    // A monorepo: installed at its root, built in the app's folder.
    let source = folder(&[
        ("package.json", r#"{ "name": "all", "private": true, "workspaces": ["apps/*", "packages/*"] }"#),
        ("packages/words/package.json", r#"{ "name": "words", "version": "1.0.0", "main": "index.js" }"#),
        ("packages/words/index.js", "module.exports = 'from the workspace';"),
        (
            "apps/web/package.json",
            r#"{ "name": "web", "version": "1.0.0", "scripts": { "build": "node build.js" }, "dependencies": { "words": "1.0.0" } }"#,
        ),
    ]);
    write(
        source.path(),
        &[(
            "apps/web/build.js",
            "require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/index.html', require('words'));",
        )],
    );
    platform.deploy_live(source.path(), "mono", &["--root-dir", "apps/web"]).await;
    assert_eq!(platform.get("mono", "/").await.body, "from the workspace");
}
