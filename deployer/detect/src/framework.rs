//! What a project is made with, and what follows from it for build, output and start.

use std::path::{Path, PathBuf};

use common::deployment::Kind;
use serde::{Deserialize, Serialize};

use crate::evidence::without_comments;
use crate::lockfile::Lock;
use crate::manifest::Manifest;
use crate::node::expected_major;
use crate::plan::{Notes, Tool};
use crate::refusal::Refusal;
use crate::script::{Command, commands};
use crate::tree::{Tree, inside, normal};

pub(crate) mod angular;
mod base;
mod bundler;
mod generic;
mod meta;
mod server;
mod sveltekit;

pub(crate) use generic::{BUILD_FOLDERS, html_folder};
pub(crate) use server::{chosen_start, entry_file, procfile, runs_server};

macro_rules! frameworks {
    ($($variant:ident, $slug:literal, $name:literal;)+) => {
        /// What a project is made with. Serialised as its slug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Framework {
            $(#[doc = concat!($name, ".")] #[serde(rename = $slug)] $variant,)+
        }

        impl Framework {
            /// Every framework known.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// What a person calls it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// A stable word for programs.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Self::$variant => $slug,)+ }
            }
        }
    };
}

frameworks! {
    ViteReact, "vite-react", "Vite (React)";
    ViteVue, "vite-vue", "Vite (Vue)";
    ViteSvelte, "vite-svelte", "Vite (Svelte)";
    ViteSolid, "vite-solid", "Vite (Solid)";
    VitePreact, "vite-preact", "Vite (Preact)";
    Vite, "vite", "Vite";
    Angular, "angular", "Angular";
    AngularServer, "angular-server", "Angular (server rendering)";
    CreateReactApp, "create-react-app", "Create React App";
    VueCli, "vue-cli", "Vue CLI";
    SvelteKit, "sveltekit", "SvelteKit (static)";
    SvelteKitServer, "sveltekit-server", "SvelteKit";
    Astro, "astro", "Astro";
    AstroServer, "astro-server", "Astro (server rendering)";
    NextExport, "next-export", "Next.js (static export)";
    Next, "next", "Next.js";
    NuxtStatic, "nuxt-static", "Nuxt (static)";
    Nuxt, "nuxt", "Nuxt";
    ReactRouter, "react-router", "React Router (single page)";
    ReactRouterServer, "react-router-server", "React Router";
    Gatsby, "gatsby", "Gatsby";
    Docusaurus, "docusaurus", "Docusaurus";
    VitePress, "vitepress", "VitePress";
    Eleventy, "eleventy", "Eleventy";
    Parcel, "parcel", "Parcel";
    StaticBuild, "static-build", "Static site with a build script";
    PlainHtml, "html", "Plain HTML";
    NestJs, "nestjs", "NestJS";
    Fastify, "fastify", "Fastify";
    Express, "express", "Express";
    NodeJs, "node", "Node.js";
}

/// What the rules look at.
pub(crate) struct Look<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) app_dir: &'a Path,
    pub(crate) app: &'a Manifest,
    pub(crate) tool: Tool,
    pub(crate) lock: Option<&'a Lock>,
    /// What the developer asked for.
    pub(crate) kind: Option<Kind>,
    /// The developer gave a build command, which will replace the one found here.
    pub(crate) own_build: bool,
    /// The script that builds, by name.
    pub(crate) build_script: Option<&'static str>,
    /// What it runs.
    pub(crate) building: Vec<Command>,
    /// What the `start` script runs.
    pub(crate) starting: Vec<Command>,
}

/// What the rules found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) framework: Framework,
    pub(crate) kind: Kind,
    pub(crate) build: Option<String>,
    pub(crate) output: Vec<PathBuf>,
    pub(crate) start: Option<String>,
    pub(crate) single_page: bool,
    /// What the build needs in its environment.
    pub(crate) env: Vec<(String, String)>,
}

/// Names of the script that builds, best first.
const BUILD_SCRIPTS: [&str; 5] = ["build", "build:prod", "build:production", "production", "generate"];

impl<'a> Look<'a> {
    pub(crate) fn new(
        tree: &'a Tree,
        app_dir: &'a Path,
        app: &'a Manifest,
        tool: Tool,
        lock: Option<&'a Lock>,
        kind: Option<Kind>,
        own_build: bool,
    ) -> Self {
        let build_script = BUILD_SCRIPTS.into_iter().find(|name| app.script(name).is_some());
        let run = |name: &str| app.script(name).map(|line| commands(line, &app.scripts)).unwrap_or_default();
        let building = build_script.map(run).unwrap_or_default();
        let starting = run("start");
        Self { tree, app_dir, app, tool, lock, kind, own_build, build_script, building, starting }
    }

    /// The text of the first of these files, without comments; empty when there is none.
    fn config(&self, stem: &str) -> String {
        let names: Vec<String> =
            ["js", "mjs", "ts", "cjs", "mts", "cts"].iter().map(|ending| format!("{stem}.{ending}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.tree.first_hint(self.app_dir, &names).map(|(_, text)| without_comments(&text)).unwrap_or_default()
    }

    fn has_file(&self, name: &str) -> bool {
        self.tree.is_file(&self.app_dir.join(name))
    }

    /// The command that builds: the script, or else the framework's own.
    fn build(&self, otherwise: &str) -> String {
        match self.build_script {
            Some(script) => self.tool.run_script(script),
            None => self.tool.run_program(otherwise),
        }
    }

    /// The first build command that runs this program.
    fn builder(&self, program: &str) -> Option<&Command> {
        self.building.iter().find(|command| command.program == program)
    }

    /// The major version of a dependency: as locked, else as package.json allows.
    pub(crate) fn major(&self, package: &str) -> Option<u64> {
        let locked = self.lock.and_then(|lock| lock.version(package)).map(|version| version.major);
        locked.or_else(|| expected_major(package, self.app.dependencies.get(package)?))
    }

    /// An output folder as written in a configuration; `None` when it leaves the source.
    fn folder(&self, written: &str) -> Option<PathBuf> {
        match inside(written) {
            Some(path) if path.as_os_str().is_empty() => None,
            Some(path) => Some(path),
            // `../dist` of a monorepo's app is still in the source.
            None => normal(&self.app_dir.join(written)).map(|_| PathBuf::from(written)),
        }
    }

    /// Output candidates: the configured one first, then the framework's default.
    fn outputs<'b>(&self, configured: impl IntoIterator<Item = Option<&'b str>>, default: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = Vec::new();
        let configured = configured.into_iter().flatten().filter_map(|written| self.folder(written));
        for path in configured.chain([PathBuf::from(default)]) {
            if !all.contains(&path) {
                all.push(path);
            }
        }
        all
    }

    fn site(&self, framework: Framework, build: &str, output: Vec<PathBuf>, single_page: bool) -> Found {
        Found { framework, build: Some(self.build(build)), output, single_page, ..unbuilt(PathBuf::new()) }
    }

    fn server(&self, framework: Framework, build: Option<String>, start: String) -> Found {
        Found { framework, kind: Kind::Node, build, output: Vec::new(), start: Some(start), ..unbuilt(PathBuf::new()) }
    }
}

/// Recognises a project with a package.json; `Ok(None)` when nothing in it can be deployed.
pub(crate) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Result<Option<Found>, Refusal> {
    if let Some(found) = meta::recognise(look, notes)? {
        return Ok(Some(found));
    }
    if let Some(found) = angular::recognise(look)? {
        return Ok(Some(found));
    }
    if look.kind != Some(Kind::Static)
        && let Some(found) = server::recognise(look, notes)
    {
        return Ok(Some(found));
    }
    if let Some(found) = bundler::recognise(look, notes) {
        return Ok(Some(found));
    }
    Ok(generic::recognise(look, notes))
}

/// Does package.json name a framework that makes an app? Used to find the apps of a workspace.
pub(crate) fn looks_like_app(app: &Manifest) -> bool {
    const MARKS: &[&str] = &[
        "next",
        "@sveltejs/kit",
        "astro",
        "nuxt",
        "gatsby",
        "@docusaurus/core",
        "@angular/core",
        "react-scripts",
        "@vue/cli-service",
        "@11ty/eleventy",
        "@nestjs/core",
        "express",
        "fastify",
        "vitepress",
        "@react-router/dev",
        "@remix-run/dev",
    ];
    let vite_app = app.has("vite")
        && (app.script("build").is_some_and(|line| line.contains("vite")) || app.script("preview").is_some());
    (app.has_any(MARKS) || vite_app) && (app.script("build").is_some() || app.script("start").is_some())
}

/// A folder that is served as it is.
pub(crate) fn unbuilt(folder: PathBuf) -> Found {
    Found {
        framework: Framework::PlainHtml,
        kind: Kind::Static,
        build: None,
        output: vec![folder],
        start: None,
        single_page: false,
        env: Vec::new(),
    }
}
