//! Frameworks that can render on a server or into files: Next, SvelteKit, Astro, Nuxt, React Router;
//! and site generators: Gatsby, Docusaurus, VitePress.

use common::deployment::Kind;

use super::server::{chosen_start, runs_server};
use super::{Found, Framework, Look, base, sveltekit};
use crate::evidence::{is_set, path_value, string_value, word_value};
use crate::plan::Notes;
use crate::refusal::Refusal;

pub(super) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Result<Option<Found>, Refusal> {
    let app = look.app;
    if app.has("next") {
        return next(look, notes).map(Some);
    }
    if app.has("@sveltejs/kit") {
        return sveltekit::recognise(look, notes).map(Some);
    }
    // Integrations depend on astro as well; an app runs it.
    if app.has("astro") {
        return astro(look, notes).map(Some);
    }
    if app.has_any(&["nuxt", "nuxt3", "nuxt-edge"]) {
        return Ok(Some(nuxt(look)));
    }
    if app.has_any(&["@react-router/dev", "@remix-run/dev"]) {
        return react_router(look, notes).map(Some);
    }
    if app.has("gatsby") {
        return Ok(Some(look.site(Framework::Gatsby, "gatsby build", look.outputs([], "public"), false)));
    }
    if app.has("@docusaurus/core") {
        let folder = look.builder("docusaurus").and_then(|command| command.option(&["--out-dir"]));
        return Ok(Some(look.site(Framework::Docusaurus, "docusaurus build", look.outputs([folder], "build"), false)));
    }
    if app.has("vitepress")
        && let Some(found) = vitepress(look)
    {
        return Ok(Some(found));
    }
    Ok(None)
}

fn next(look: &Look<'_>, notes: &mut Notes) -> Result<Found, Refusal> {
    let config = look.config("next.config");
    // `next export` was a command until Next 13.
    let command = |line: &str| line.contains("next export");
    let by_command = look.building.iter().any(|command| command.is("next", "export"));
    let script = look.app.scripts.iter().find(|(_, line)| command(line)).map(|(name, _)| name.clone());
    let old = look.major("next").is_some_and(|major| major < 14);
    let exports = string_value(&config, "output").as_deref() == Some("export");
    if let Some(path) = base::configured(&config, "basePath") {
        base::tell_unmoved("`basePath` in next.config", &path, "Remove `basePath`.", notes);
    }
    let by_script = old
        && !by_command
        && script.is_some()
        && look.kind != Some(Kind::Node)
        && look.app.script("start").is_none_or(|line| line.contains("next"));
    if look.kind != Some(Kind::Node) && (exports || by_command || by_script) {
        let folder = look
            .building
            .iter()
            .find(|command| command.is("next", "export"))
            .and_then(|command| command.option(&["-o", "--outdir"]));
        // With `output: 'export'` the export goes where distDir says.
        let dist = exports.then(|| path_value(&config, "distDir")).flatten();
        let mut found =
            look.site(Framework::NextExport, "next build", look.outputs([folder, dist.as_deref()], "out"), false);
        if by_script
            && !exports
            && let (Some(script), Some(build)) = (script, found.build.as_mut())
            && look.build_script != Some(script.as_str())
        {
            *build = format!("{build} && {}", look.tool.run_script(&script));
        }
        return Ok(found);
    }
    if look.kind == Some(Kind::Static) {
        return Err(Refusal::BuildsServer {
            framework: "Next.js".to_owned(),
            advice: "set `output: 'export'` in next.config for a static site, or deploy it as type \"node\"".to_owned(),
        });
    }
    let own = look.starting.iter().find(|command| command.program == "next");
    let start = match own {
        Some(command) if command.first() == "start" && command.option(&["-p", "--port"]).is_none() => {
            look.tool.run_script("start")
        }
        Some(command) => {
            if command.first() == "start" {
                notes.info("The start script names a port; starting with `next start` so that PORT counts.");
            } else {
                notes.info("The start script is for development; starting with `next start`.");
            }
            look.tool.run_program("next start")
        }
        None if runs_server(&look.starting) => look.tool.run_script("start"),
        None => look.tool.run_program("next start"),
    };
    Ok(look.server(Framework::Next, Some(look.build("next build")), start))
}

fn astro(look: &Look<'_>, notes: &mut Notes) -> Result<Found, Refusal> {
    let config = look.config("astro.config");
    let folder = path_value(&config, "outDir");
    let rendered = matches!(string_value(&config, "output").as_deref(), Some("server" | "hybrid"));
    let node = config.contains("@astrojs/node") && is_set(&config, "adapter");
    if !rendered && (!node || look.kind == Some(Kind::Static)) {
        let out = look.outputs([folder.as_deref()], "dist");
        // With an adapter, the files for the browser lie one folder deeper.
        let output = if node { out.iter().map(|path| path.join("client")).chain(out.clone()).collect() } else { out };
        let mut found = look.site(Framework::Astro, "astro build", output, false);
        if let Some(build) = look.build_at_root("astro build", &config, "astro.config", notes) {
            found.build = Some(build);
        }
        return Ok(found);
    }
    if look.kind == Some(Kind::Static) {
        return Err(Refusal::BuildsServer {
            framework: "Astro".to_owned(),
            advice: "remove `output: 'server'` from astro.config for a static site, or deploy it as type \"node\""
                .to_owned(),
        });
    }
    if !node {
        return Err(Refusal::AstroAdapter { problem: "does not use the @astrojs/node adapter".to_owned() });
    }
    let own = chosen_start(look);
    if own.is_none() && string_value(&config, "mode").as_deref() == Some("middleware") {
        return Err(Refusal::AstroAdapter {
            problem: "its Node adapter is in mode \"middleware\", which cannot be started by itself".to_owned(),
        });
    }
    let out = folder.and_then(|written| look.folder(&written)).unwrap_or_else(|| "dist".into());
    let entry = out.join("server/entry.mjs");
    // The standalone server listens on localhost unless told otherwise.
    let start = own.unwrap_or_else(|| format!("HOST=0.0.0.0 node {}", crate::plan::quote(&entry.to_string_lossy())));
    notes.info("Astro renders on a server here: deploying it as a Node app.");
    Ok(look.server(Framework::AstroServer, Some(look.build("astro build")), start))
}

fn nuxt(look: &Look<'_>) -> Found {
    let old = look.major("nuxt").is_some_and(|major| major < 3);
    let generates = look.building.iter().any(|command| {
        command.first() == "generate"
            || command.is("nuxt", "build") && command.args.iter().any(|arg| arg == "--prerender")
    });
    if look.kind != Some(Kind::Node) && (generates || look.kind == Some(Kind::Static)) {
        let output = if old { look.outputs([], "dist") } else { look.outputs([Some(".output/public")], "dist") };
        let mut found = look.site(Framework::NuxtStatic, "nuxt generate", output, false);
        if !generates {
            found.build = Some(match look.app.script("generate") {
                Some(_) => look.tool.run_script("generate"),
                None => look.tool.run_program("nuxt generate"),
            });
        }
        return found;
    }
    let start = match (old, chosen_start(look)) {
        (_, Some(own)) => own,
        (true, None) => look.tool.run_program("nuxt start"),
        (false, None) => "node .output/server/index.mjs".to_owned(),
    };
    look.server(Framework::Nuxt, Some(look.build("nuxt build")), start)
}

fn react_router(look: &Look<'_>, notes: &mut Notes) -> Result<Found, Refusal> {
    let config = format!("{}\n{}", look.config("react-router.config"), look.config("vite.config"));
    let remix = look.app.has("@remix-run/dev");
    let program = if remix { "remix vite:build" } else { "react-router build" };
    let root = path_value(&config, "buildDirectory").unwrap_or_else(|| "build".to_owned());
    if word_value(&config, "ssr", "false") && look.kind != Some(Kind::Node) {
        let client = format!("{root}/client");
        return Ok(look.site(
            Framework::ReactRouter,
            program,
            look.outputs([Some(client.as_str())], "build/client"),
            true,
        ));
    }
    if look.kind == Some(Kind::Static) {
        return Err(Refusal::BuildsServer {
            framework: "React Router".to_owned(),
            advice: "set `ssr: false` in react-router.config for a static site, or deploy it as type \"node\""
                .to_owned(),
        });
    }
    let serve = if remix { "remix-serve" } else { "react-router-serve" };
    let start = chosen_start(look).unwrap_or_else(|| {
        notes.info(format!("There is no start script; starting with {serve}."));
        look.tool.run_program(&format!("{serve} ./{root}/server/index.js"))
    });
    Ok(look.server(Framework::ReactRouterServer, Some(look.build(program)), start))
}

fn vitepress(look: &Look<'_>) -> Option<Found> {
    let script = ["build", "docs:build", "build:docs"]
        .into_iter()
        .find(|name| look.app.script(name).is_some_and(|line| line.contains("vitepress")));
    let line = script.and_then(|name| look.app.script(name));
    let folder = match line {
        Some(line) => crate::script::commands(line, &look.app.scripts)
            .iter()
            .find(|command| command.program == "vitepress")
            .and_then(|command| command.words().nth(1).map(str::to_owned))
            .unwrap_or_default(),
        None if look.tree.is_dir(&look.app_dir.join("docs/.vitepress")) => "docs".to_owned(),
        None if look.tree.is_dir(&look.app_dir.join(".vitepress")) => String::new(),
        None => return None,
    };
    let dist = if folder.is_empty() { ".vitepress/dist".to_owned() } else { format!("{folder}/.vitepress/dist") };
    let mut found = look.site(
        Framework::VitePress,
        "vitepress build",
        look.outputs([Some(dist.as_str())], ".vitepress/dist"),
        false,
    );
    found.build = Some(match script {
        Some(name) => look.tool.run_script(name),
        None => {
            look.tool.run_program(format!("vitepress build {}", crate::plan::quote(&folder)).trim_end_matches(" ''"))
        }
    });
    Some(found)
}
