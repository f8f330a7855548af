//! Servers: what starts them.

use common::deployment::Kind;

use crate::fixture::*;

fn server(name: &'static str, files: Vec<File>, framework: &'static str, start: &'static str) -> Row {
    Row { name, files, framework, kind: Kind::Node, build: "", output: "", start, ..Row::default() }
}

#[test]
fn servers_start_by_their_start_script() {
    server("Express", npm_app(&[("express", "^5.0.0")], &[("start", "node server.js")]), "express", "node server.js")
        .check();
    server(
        "Fastify",
        npm_app(&[("fastify", "^5.0.0")], &[("start", "node src/app.mjs")]),
        "fastify",
        "node src/app.mjs",
    )
    .check();
    server("ws", npm_app(&[("ws", "^8.0.0")], &[("start", "node echo.js")]), "node", "node echo.js").check();
    server("anything", npm_app(&[("left-pad", "^1.0.0")], &[("start", "tsx src/main.ts")]), "node", "npm run start")
        .check();
    Row {
        install: "",
        ..server(
            "no dependencies",
            vec![package("package.json", &[], &[("start", "node index.js")])],
            "node",
            "node index.js",
        )
    }
    .check();
    Row {
        build: "npm run build",
        ..server(
            "TypeScript",
            npm_app(
                &[("express", "^5.0.0"), ("typescript", "^5.0.0")],
                &[("build", "tsc"), ("start", "node dist/index.js")],
            ),
            "express",
            "node dist/index.js",
        )
    }
    .check();
    Row {
        build: "npm run build",
        ..server(
            "Nest",
            npm_app(
                &[("@nestjs/core", "^11.0.0"), ("@nestjs/cli", "^11.0.0")],
                &[("build", "nest build"), ("start", "nest start"), ("start:prod", "node dist/main")],
            ),
            "nestjs",
            "node dist/main",
        )
    }
    .check();
}

#[test]
fn meta_frameworks_on_a_server_start_with_their_own_server() {
    let next: Pairs<'_> = &[("next", "^15.0.0"), ("react", "^19.0.0")];
    let row = |name, files, framework, start| Row { build: "npm run build", ..server(name, files, framework, start) };
    row("Next", npm_app(next, &[("build", "next build"), ("start", "next start")]), "next", "npm run start").check();
    Row {
        notes: &["so that PORT counts"],
        ..row(
            "Next on a fixed port",
            npm_app(next, &[("build", "next build"), ("start", "next start -p 3001")]),
            "next",
            "npx --no-install next start",
        )
    }
    .check();
    let mut astro = npm_app(&[("astro", "^5.0.0"), ("@astrojs/node", "^9.0.0")], &[("build", "astro build")]);
    astro.push(text(
        "astro.config.mjs",
        "import node from '@astrojs/node';\nexport default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) })",
    ));
    row("Astro", astro, "astro-server", "HOST=0.0.0.0 node dist/server/entry.mjs").check();
    let mut kit =
        npm_app(&[("@sveltejs/kit", "^2.0.0"), ("@sveltejs/adapter-node", "^5.0.0")], &[("build", "vite build")]);
    kit.push(text("svelte.config.js", "import adapter from '@sveltejs/adapter-node'"));
    let start = "PROTOCOL_HEADER=x-forwarded-proto node build";
    row("SvelteKit", kit, "sveltekit-server", start).check();
    // As `sv create` leaves it: the adapter in vite.config.
    let mut auto =
        npm_app(&[("@sveltejs/kit", "^2.0.0"), ("@sveltejs/adapter-auto", "^7.0.0")], &[("build", "vite build")]);
    auto.push(text(
        "vite.config.ts",
        "import adapter from '@sveltejs/adapter-auto';\nexport default defineConfig({ plugins: [sveltekit({ adapter: adapter() })] })",
    ));
    let plan = Row {
        warnings: &["adapter-auto knows no adapter for this platform"],
        ..row("SvelteKit that has not chosen", auto, "sveltekit-server", start)
    }
    .check();
    assert!(plan.env.contains(&("GCP_BUILDPACKS".to_owned(), "1".to_owned())));
}

#[test]
fn a_server_without_a_usable_start_script_is_started_by_other_signs() {
    let files = vec![
        package("package.json", &[("express", "^5.0.0")], &[]),
        npm_lock("package-lock.json", &[("express", "^5.0.0")]),
        empty("app.js"),
    ];
    Row { warnings: &["no start script"], ..server("an entry file", files.clone(), "express", "node app.js") }.check();
    let mut procfile = files;
    procfile.push(text("Procfile", "web: node app.js --quiet\n"));
    Row { notes: &["Procfile"], ..server("a Procfile", procfile, "express", "node app.js --quiet") }.check();
    server(
        "nodemon",
        npm_app(&[("express", "^5.0.0")], &[("start", "nodemon server.js")]),
        "express",
        "node server.js",
    )
    .check();
    server(
        "nodemon beside a production script",
        npm_app(
            &[("express", "^5.0.0")],
            &[("start", "nodemon --watch src server.js"), ("start:prod", "node server.js")],
        ),
        "express",
        "node server.js",
    )
    .check();
    Row { install: "", ..server("a lone file", vec![empty("server.js")], "node", "node server.js") }.check();
}

#[test]
fn a_fixed_port_in_the_start_script_is_warned_of() {
    Row {
        warnings: &["sets the port to 4000"],
        ..server(
            "port",
            npm_app(&[("express", "^5.0.0")], &[("start", "PORT=4000 node server.js")]),
            "express",
            "npm run start",
        )
    }
    .check();
}

#[test]
fn a_client_with_its_own_server_is_a_server() {
    let files = npm_app(
        &[("express", "^5.0.0"), ("vite", "^7.0.0"), ("react", "^19.0.0")],
        &[("build", "vite build"), ("dev", "vite"), ("start", "node server.js")],
    );
    Row { build: "npm run build", ..server("Vite and Express", files, "express", "node server.js") }.check();
    let files = npm_app(
        &[("express", "^5.0.0"), ("react-scripts", "5.0.1")],
        &[("build", "react-scripts build"), ("start", "react-scripts start")],
    );
    Row {
        name: "Express that only the tools use",
        files,
        framework: "create-react-app",
        output: "build",
        single_page: true,
        ..Row::default()
    }
    .check();
}
