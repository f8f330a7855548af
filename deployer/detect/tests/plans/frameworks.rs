//! Sites: which framework, how it is built, where its files come out.

use common::deployment::Kind;

use crate::fixture::*;

const VITE: &[(&str, &str)] = &[("build", "vite build"), ("dev", "vite")];

/// An app built by Vite with these dependencies.
fn vite(dependencies: Pairs<'_>) -> Vec<File> {
    let mut files = npm_app(dependencies, VITE);
    files.extend([empty("index.html"), text("vite.config.js", "export default { plugins: [] }")]);
    files
}

fn with(mut files: Vec<File>, more: impl IntoIterator<Item = File>) -> Vec<File> {
    files.extend(more);
    files
}

#[test]
fn vite_apps_are_single_page_sites_in_dist() {
    let rows = [
        ("React", vec![("react", "^19.0.0"), ("vite", "^7.0.0")], "vite-react"),
        ("Vue", vec![("vue", "^3.5.0"), ("vite", "^7.0.0")], "vite-vue"),
        ("Svelte", vec![("svelte", "^5.0.0"), ("vite", "^7.0.0")], "vite-svelte"),
        ("Solid", vec![("solid-js", "^1.9.0"), ("vite", "^7.0.0")], "vite-solid"),
        ("Preact", vec![("preact", "^10.0.0"), ("vite", "^7.0.0")], "vite-preact"),
        ("no framework", vec![("vite", "^7.0.0")], "vite"),
    ];
    for (name, dependencies, framework) in rows {
        Row {
            name,
            files: vite(&dependencies),
            framework,
            single_page: true,
            notes: &["Using the host's Node 20.20.2"],
            ..Row::default()
        }
        .check();
    }
}

#[test]
fn vite_s_output_is_where_its_configuration_or_script_says() {
    let dependencies: Pairs<'_> = &[("react", "^19.0.0"), ("vite", "^7.0.0")];
    let row = |name, config: &str, script, output| Row {
        name,
        files: with(
            npm_app(dependencies, &[("build", script)]),
            [empty("index.html"), text("vite.config.ts", config), empty("web/index.html")],
        ),
        framework: "vite-react",
        output,
        single_page: true,
        ..Row::default()
    };
    row("outDir", "export default { build: { outDir: 'public_html' } }", "vite build", "public_html").check();
    row("resolved outDir", "export default { build: { outDir: path.resolve(__dirname, 'out') } }", "vite build", "out")
        .check();
    row("flag", "export default {}", "tsc -b && vite build --outDir site", "site").check();
    row("root", "export default { root: 'web', build: { outDir: '../dist' } }", "vite build", "dist").check();
    row("root's own", "export default { root: 'web' }", "vite build", "web/dist").check();
    row("folder in the script", "export default {}", "vite build web", "web/dist").check();
    row("a comment does not count", "// outDir: 'x'\nexport default {}", "vite build", "dist").check();
    Row {
        warnings: &["a site under /repo/, but it is served at the root: building with --base=/"],
        build: "npm run build -- --base=/",
        ..row("a base for another host", "export default { base: '/repo/' }", "tsc -b && vite build", "dist")
    }
    .check();
    Row {
        warnings: &["served under /repo/"],
        ..row("more after the build", "export default { base: '/repo/' }", "vite build && node more.js", "dist")
    }
    .check();
    Row {
        warnings: &["`base` in the build script makes the build expect to be served under /repo/"],
        ..row("a base as an option", "export default {}", "vite build --base=/repo/", "dist")
    }
    .check();
}

#[test]
fn angular_s_output_follows_its_builder() {
    let dependencies: Pairs<'_> = &[("@angular/core", "^19.0.0"), ("@angular/cli", "^19.0.0")];
    let angular = |name, config: &str, output| Row {
        name,
        files: with(
            npm_app(dependencies, &[("build", "ng build"), ("start", "ng serve")]),
            [text("angular.json", config)],
        ),
        framework: "angular",
        output,
        single_page: true,
        ..Row::default()
    };
    let new = r#"{ "projects": { "shop": { "projectType": "application", "architect": { "build": {
        "builder": "@angular/build:application", "options": { "browser": "src/main.ts" } } } } } }"#;
    angular("new layout, default folder", new, "dist/shop/browser").check();
    let object = r#"{ "projects": { "shop": { "architect": { "build": { "builder": "@angular/build:application",
        "options": { "outputPath": { "base": "out", "browser": "" } } } } } } }"#;
    angular("new layout, folders named", object, "out").check();
    let old = r#"{ "projects": { "shop": { "projectType": "application", "architect": { "build": {
        "builder": "@angular-devkit/build-angular:browser", "options": { "outputPath": "dist/shop" } } } } } }"#;
    let plan = angular("old layout", old, "dist/shop/browser").check();
    assert!(plan.output.contains(&"dist/shop".into()), "the old layout is a candidate: {:?}", plan.output);
    let comments = "{ // ours\n \"projects\": { \"a\": { \"architect\": { \"build\": {}, } } } }";
    angular("comments and commas", comments, "dist/a/browser").check();
}

#[test]
fn an_angular_app_that_renders_on_a_server_is_a_server() {
    let dependencies: Pairs<'_> = &[("@angular/core", "^19.0.0"), ("@angular/cli", "^19.0.0"), ("express", "^4.0.0")];
    let config = r#"{ "projects": { "shop": { "architect": { "build": { "options": {
        "server": "src/main.server.ts", "outputMode": "server", "ssr": { "entry": "src/server.ts" } } } } } } }"#;
    Row {
        name: "ssr",
        files: with(
            npm_app(
                dependencies,
                &[("build", "ng build"), ("start", "ng serve"), ("serve:ssr:shop", "node dist/shop/server/server.mjs")],
            ),
            [text("angular.json", config)],
        ),
        framework: "angular-server",
        kind: Kind::Node,
        output: "",
        start: "node dist/shop/server/server.mjs",
        ..Row::default()
    }
    .check();
}

#[test]
fn create_react_app_and_vue_cli_are_single_page_sites() {
    let cra: Pairs<'_> = &[("react", "^18.2.0"), ("react-dom", "^18.2.0"), ("react-scripts", "5.0.1")];
    let scripts: Pairs<'_> =
        &[("start", "react-scripts start"), ("build", "react-scripts build"), ("eject", "react-scripts eject")];
    let row = |name, files| Row {
        name,
        files,
        framework: "create-react-app",
        output: "build",
        single_page: true,
        ..Row::default()
    };
    row("Create React App", with(npm_app(cra, scripts), [empty("public/index.html")])).check();
    Row { output: "web", ..row("moved", npm_app(cra, &[("build", "BUILD_PATH=./web react-scripts build")])) }.check();
    Row { build: "npx --no-install react-scripts build", ..row("no build script", npm_app(cra, &[])) }.check();
    let homepage = serde_json::json!({ "homepage": "https://someone.example/weather" });
    let moved = Row {
        warnings: &["a site under /weather/, but it is served at the root: building with PUBLIC_URL=/"],
        ..row(
            "for another host",
            vec![package_with("package.json", cra, scripts, homepage), npm_lock("package-lock.json", cra)],
        )
    }
    .check();
    assert!(moved.env.contains(&("PUBLIC_URL".to_owned(), "/".to_owned())));
    let vue: Pairs<'_> = &[("vue", "^3.2.0"), ("@vue/cli-service", "~5.0.0")];
    let files = npm_app(vue, &[("serve", "vue-cli-service serve"), ("build", "vue-cli-service build")]);
    Row { name: "Vue CLI", files: files.clone(), framework: "vue-cli", single_page: true, ..Row::default() }.check();
    Row {
        name: "Vue CLI, moved",
        files: with(files, [text("vue.config.js", "module.exports = { outputDir: 'docs' }")]),
        framework: "vue-cli",
        output: "docs",
        single_page: true,
        ..Row::default()
    }
    .check();
}

#[test]
fn old_webpack_gets_the_legacy_provider_on_a_new_node() {
    let row = |name, dependencies: Pairs<'_>, framework, output| Row {
        name,
        files: npm_app(
            dependencies,
            &[("build", if framework == "vue-cli" { "vue-cli-service build" } else { "react-scripts build" })],
        ),
        framework,
        output,
        single_page: true,
        notes: &["needs OpenSSL's legacy provider"],
        ..Row::default()
    };
    let legacy = ("NODE_OPTIONS".to_owned(), "--openssl-legacy-provider".to_owned());
    let cra = row("CRA 3", &[("react-scripts", "3.4.1")], "create-react-app", "build");
    let plan = cra.check();
    assert!(plan.env.contains(&legacy));
    assert!(plan.node.unwrap().use_host, "an old Create React App builds with the host's Node");
    assert!(row("Vue CLI 4", &[("@vue/cli-service", "~4.5.0")], "vue-cli", "dist").check().env.contains(&legacy));
    // Node 14 knows no legacy provider and refuses to start with it.
    let old = Row {
        files: with(cra.files.clone(), [text(".nvmrc", "14")]),
        notes: &["Using Node 14: .nvmrc asks for \"14\""],
        ..cra
    }
    .check();
    assert!(!old.env.contains(&legacy) && old.build_retries.is_empty());
    // Where the tool is not known, the build's own complaint decides.
    let new = plan_of_custom_build();
    assert!(!new.env.contains(&legacy));
    assert_eq!(new.build_retries.len(), 1);
    assert!(
        new.build_retries[0]
            .when_output_has
            .iter()
            .any(|mark| "Error: error:0308010C:digital envelope".contains(mark.as_str()))
    );
    assert_eq!(new.build_retries[0].env, [legacy]);
}

fn plan_of_custom_build() -> detect::Plan {
    plan(&npm_app(&[("left-pad", "^1.0.0")], &[("build", "node build.js")])).unwrap()
}

#[test]
fn site_generators_are_recognised() {
    let rows: Vec<(&str, Vec<File>, &str, &str)> = vec![
        (
            "Astro",
            with(
                npm_app(&[("astro", "^5.0.0")], &[("build", "astro build")]),
                [text("astro.config.mjs", "export default defineConfig({})")],
            ),
            "astro",
            "dist",
        ),
        (
            "Astro, moved",
            with(
                npm_app(&[("astro", "^5.0.0")], &[("build", "astro build")]),
                [text("astro.config.mjs", "export default defineConfig({ outDir: './out' })")],
            ),
            "astro",
            "out",
        ),
        ("Eleventy", npm_app(&[("@11ty/eleventy", "^3.0.0")], &[("build", "eleventy")]), "eleventy", "_site"),
        (
            "Eleventy, moved",
            with(
                npm_app(&[("@11ty/eleventy", "^3.0.0")], &[("build", "npx @11ty/eleventy")]),
                [text(".eleventy.js", "module.exports = () => ({ dir: { input: 'src', output: 'public' } })")],
            ),
            "eleventy",
            "public",
        ),
        (
            "Next export",
            with(
                npm_app(&[("next", "^15.0.0"), ("react", "^19.0.0")], &[("build", "next build")]),
                [text("next.config.mjs", "export default { output: 'export' }")],
            ),
            "next-export",
            "out",
        ),
        (
            "SvelteKit",
            with(
                npm_app(
                    &[("@sveltejs/kit", "^2.0.0"), ("@sveltejs/adapter-static", "^3.0.0"), ("vite", "^7.0.0")],
                    VITE,
                ),
                [text(
                    "svelte.config.js",
                    "import adapter from '@sveltejs/adapter-static';\nexport default { kit: { adapter: adapter() } }",
                )],
            ),
            "sveltekit",
            "build",
        ),
        ("Gatsby", npm_app(&[("gatsby", "^5.0.0")], &[("build", "gatsby build")]), "gatsby", "public"),
        (
            "Docusaurus",
            npm_app(&[("@docusaurus/core", "^3.0.0")], &[("build", "docusaurus build")]),
            "docusaurus",
            "build",
        ),
        (
            "VitePress",
            npm_app(&[("vitepress", "^1.0.0")], &[("build", "vitepress build docs")]),
            "vitepress",
            "docs/.vitepress/dist",
        ),
        (
            "Nuxt, generated",
            npm_app(&[("nuxt", "^3.0.0")], &[("build", "nuxt generate")]),
            "nuxt-static",
            ".output/public",
        ),
        ("a script of its own", npm_app(&[("sass", "^1.0.0")], &[("build", "node make.js")]), "static-build", "dist"),
    ];
    for (name, files, framework, output) in rows {
        Row { name, files, framework, output, ..Row::default() }.check();
    }
}

#[test]
fn a_sveltekit_fallback_decides_about_the_single_page() {
    let kit = |fallback: &str| {
        let config = format!(
            "import adapter from '@sveltejs/adapter-static';\nexport default {{ kit: {{ adapter: adapter({{ fallback: '{fallback}' }}) }} }}"
        );
        with(
            npm_app(&[("@sveltejs/kit", "^2.0.0"), ("@sveltejs/adapter-static", "^3.0.0"), ("vite", "^7.0.0")], VITE),
            [("svelte.config.js", config)],
        )
    };
    let row =
        |name, fallback| Row { name, files: kit(fallback), framework: "sveltekit", output: "build", ..Row::default() };
    Row { single_page: true, ..row("index", "index.html") }.check();
    row("404", "404.html").check();
    Row {
        build: "npm run build && if [ ! -e build/index.html ]; then cp build/200.html build/index.html; elif [ ! -e build/404.html ]; then cp build/200.html build/404.html; fi",
        single_page: true,
        notes: &["fallback page build/200.html is published for unknown paths"],
        ..row("200", "200.html")
    }
    .check();
}

#[test]
fn plain_html_is_published_as_it_is() {
    let row = |name, files, output, notes| Row {
        name,
        files,
        framework: "html",
        install: "",
        build: "",
        output,
        notes,
        ..Row::default()
    };
    // A page of the plainest kind: no package.json, assets beside the page.
    let card = vec![
        text("index.html", "<!doctype html>"),
        empty("assets/css/style.css"),
        empty("assets/js/script.js"),
        empty("README.md"),
    ];
    let plan = row("a portfolio", card, ".", &["publishing the folder as it is"]).check();
    assert_eq!((plan.package_manager, plan.node, plan.cache_key), (None, None, None));
    assert!(plan.app_dir.as_os_str().is_empty() && plan.env.is_empty());
    let wrapped = vec![empty("site-main/index.html"), empty("site-main/a.css"), empty("__MACOSX/x")];
    let plan = row("in the folder that an archive adds", wrapped, ".", &["found in the folder site-main"]).check();
    assert_eq!(plan.app_dir, std::path::Path::new("site-main"));
    let tools = with(npm_app(&[("prettier", "^3.0.0")], &[("format", "prettier -w .")]), [empty("index.html")]);
    row("with a package.json for tools only", tools, ".", &["nothing to build"]).check();
    let served =
        with(npm_app(&[("live-server", "^1.0.0")], &[("start", "live-server public")]), [empty("public/index.html")]);
    row("with a server for its author only", served, "public", &["folder public"]).check();
}
