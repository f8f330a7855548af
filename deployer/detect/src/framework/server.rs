//! Node servers: which start script runs one, and which is a development server in disguise.

use super::{Found, Framework, Look};
use crate::plan::{Notes, Tool};
use crate::script::{Command, commands};
use crate::tree::Tree;
use std::path::Path;

/// Packages that make a server, with what they are called.
const SERVERS: [(&str, Framework); 16] = [
    ("@nestjs/core", Framework::NestJs),
    ("fastify", Framework::Fastify),
    ("express", Framework::Express),
    ("koa", Framework::NodeJs),
    ("hono", Framework::NodeJs),
    ("@hono/node-server", Framework::NodeJs),
    ("@hapi/hapi", Framework::NodeJs),
    ("restify", Framework::NodeJs),
    ("polka", Framework::NodeJs),
    ("@feathersjs/feathers", Framework::NodeJs),
    ("@adonisjs/core", Framework::NodeJs),
    ("h3", Framework::NodeJs),
    ("ws", Framework::NodeJs),
    ("socket.io", Framework::NodeJs),
    ("apollo-server", Framework::NodeJs),
    ("@apollo/server", Framework::NodeJs),
];
/// Files that usually are a server's entry.
const ENTRIES: [&str; 8] =
    ["server.js", "server.mjs", "app.js", "index.js", "index.mjs", "main.js", "src/server.js", "src/index.js"];
/// Scripts that start for production, tried before `start` when that one watches files.
const PRODUCTION: [&str; 4] = ["start:prod", "start:production", "prod", "serve:prod"];

#[derive(PartialEq, Eq)]
enum Role {
    /// Serves a site while it is written.
    Develop,
    /// Produces files and ends.
    Build,
    /// Runs a program.
    Run,
}

fn role(command: &Command) -> Role {
    let sub = command.first();
    let has = |words: &[&str]| command.args.iter().any(|arg| words.contains(&arg.as_str()));
    let develops = |yes: bool| if yes { Role::Develop } else { Role::Build };
    match command.program.as_str() {
        "vite" | "parcel" | "snowpack" | "rsbuild" | "farm" | "wmr" | "preact" | "poi" | "umi" => {
            develops(sub != "build")
        }
        "react-scripts" | "craco" | "react-app-rewired" | "vue-cli-service" | "ng" | "gatsby" | "docusaurus"
        | "astro" | "vitepress" | "vuepress" | "nuxt" | "next" | "hexo" | "storybook" => {
            develops(!matches!(sub, "build" | "generate" | "export"))
        }
        "webpack" | "webpack-cli" | "rspack" => develops(has(&["serve", "s", "--watch", "-w"])),
        "rollup" | "esbuild" | "sass" | "tailwindcss" | "postcss" | "@tailwindcss/cli" => {
            develops(has(&["--watch", "-w", "--serve"]))
        }
        "eleventy" | "@11ty/eleventy" => develops(has(&["--serve", "--watch"])),
        "webpack-dev-server" | "live-server" | "http-server" | "serve" | "browser-sync" | "lite-server" | "sirv"
        | "sirv-cli" | "static-server" | "start-storybook" | "docsify" | "python" | "python3" | "open" | "expo"
        | "electron" | "five-server" | "servor" => Role::Develop,
        "tsc" | "babel" | "swc" | "tsup" | "echo" | "rm" | "rimraf" | "mkdir" | "cp" | "cpx" | "copyfiles" | "cd"
        | "gulp" | "grunt" | "prisma" | "eslint" | "jest" | "vitest" | "nest"
            if sub != "start" =>
        {
            Role::Build
        }
        "npm" | "pnpm" | "yarn" | "bun" if matches!(sub, "" | "install" | "i" | "ci") => Role::Build,
        _ => Role::Run,
    }
}

/// Do these commands end in a server of the project's own?
pub(crate) fn runs_server(commands: &[Command]) -> bool {
    let roles: Vec<Role> = commands.iter().map(role).collect();
    roles.contains(&Role::Run) && !roles.contains(&Role::Develop)
}

/// The start command by package.json's scripts, when one runs a server.
pub(crate) fn chosen_start(look: &Look<'_>) -> Option<String> {
    let watches =
        |command: &Command| matches!(command.program.as_str(), "nodemon" | "ts-node-dev" | "tsx" | "ts-node" | "nest");
    let production = PRODUCTION
        .into_iter()
        .find(|name| look.app.script(name).is_some_and(|line| runs_server(&commands(line, &look.app.scripts))));
    let name = match production {
        Some(name) if look.starting.is_empty() || look.starting.iter().any(watches) => name,
        _ if runs_server(&look.starting) => "start",
        _ => return None,
    };
    Some(start_script(look, name))
}

/// Runs a script directly where that comes to the same: one process less, and signals arrive.
fn start_script(look: &Look<'_>, name: &str) -> String {
    let line = look.app.script(name).unwrap_or_default();
    let simple = line.chars().all(|c| c.is_ascii_alphanumeric() || " ./_-=:@".contains(c))
        && look.app.script(&format!("pre{name}")).is_none()
        && look.app.script(&format!("post{name}")).is_none();
    // Yarn's plug'n'play needs Yarn's own loader.
    if !simple || look.tool == Tool::YarnBerry {
        return look.tool.run_script(name);
    }
    if line.starts_with("node ") {
        return line.to_owned();
    }
    // nodemon waits for a change of the files after a crash, so the crash would never be noticed.
    match line.strip_prefix("nodemon ").map(str::trim) {
        Some(file) if !file.starts_with('-') && !file.contains(' ') && !file.ends_with(".ts") => format!("node {file}"),
        _ => look.tool.run_script(name),
    }
}

pub(super) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Option<Found> {
    let framework = framework(look)?;
    let start = if let Some(start) = chosen_start(look) {
        start
    } else if let Some(line) = procfile(look.tree, look.app_dir) {
        notes.info("Starting with the `web` line of the Procfile.");
        line
    } else if framework == Framework::NestJs {
        "node dist/main".to_owned()
    } else {
        return None;
    };
    port_note(look, notes);
    Some(look.server(framework, look.build_script.map(|name| look.tool.run_script(name)), start))
}

/// The server framework that package.json names.
pub(super) fn framework(look: &Look<'_>) -> Option<Framework> {
    SERVERS.iter().find(|(package, _)| look.app.has(package)).map(|(_, framework)| *framework)
}

pub(super) fn port_note(look: &Look<'_>, notes: &mut Notes) {
    if let Some(port) =
        look.starting.iter().find_map(|command| command.env("PORT").or_else(|| command.option(&["--port"])))
    {
        notes.warn(format!(
            "The start script sets the port to {port}; the app must listen on the port that the variable PORT names."
        ));
    }
}

/// The `web` process of a Procfile.
pub(crate) fn procfile(tree: &Tree, dir: &Path) -> Option<String> {
    let text = tree.hint(&dir.join("Procfile"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("web:"))
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
}

/// The file that package.json's `main` names, or one with a usual name.
pub(crate) fn entry_file(tree: &Tree, dir: &Path, main: Option<&str>) -> Option<String> {
    let named = main
        .map(|main| main.trim_start_matches("./").to_owned())
        .filter(|main| !main.is_empty() && crate::tree::inside(main).is_some_and(|path| tree.is_file(&dir.join(path))));
    named.or_else(|| ENTRIES.into_iter().find(|name| tree.is_file(&dir.join(name))).map(str::to_owned))
}
