//! Projects without a known framework: a start script, a build script, or files to serve as they are.

use std::path::{Path, PathBuf};

use common::deployment::Kind;

use super::server::{chosen_start, entry_file, framework, port_note, procfile};
use super::{Found, Framework, Look, unbuilt};
use crate::plan::{Notes, quote};
use crate::tree::{Tree, inside};

/// Where build scripts usually write.
pub(crate) const BUILD_FOLDERS: [&str; 5] = ["dist", "build", "out", "_site", "public"];
/// Where an unbuilt site may lie when it is not at the top.
const SITE_FOLDERS: [&str; 8] = ["public", "dist", "build", "out", "_site", "docs", "www", "src"];

pub(super) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Option<Found> {
    let build = look.build_script.map(|name| look.tool.run_script(name));
    if look.kind != Some(Kind::Static) {
        let start = chosen_start(look).or_else(|| procfile(look.tree, look.app_dir));
        if let Some(start) = start {
            port_note(look, notes);
            return Some(look.server(Framework::NodeJs, build, start));
        }
        // No start script, but a server package and a file that must be it.
        let site = html_folder(look.tree, look.app_dir).is_some();
        let asked = look.kind == Some(Kind::Node);
        if let Some(framework) = framework(look)
            .or(asked.then_some(Framework::NodeJs))
            .filter(|_| asked || !site || look.build_script.is_none())
            && let Some(entry) = entry_file(look.tree, look.app_dir, look.app.text("main"))
        {
            notes.warn(format!("There is no start script; starting with `node {entry}`. Add one to package.json."));
            return Some(look.server(framework, build, format!("node {}", quote(&entry))));
        }
        if asked && look.app.script("start").is_some() {
            return Some(look.server(Framework::NodeJs, build, look.tool.run_script("start")));
        }
    }
    if build.is_some() {
        return Some(built(look));
    }
    let folder = html_folder(look.tree, look.app_dir)?;
    let uses_modules = look
        .tree
        .hint(&look.app_dir.join(&folder).join("index.html"))
        .is_some_and(|html| html.contains("node_modules/"));
    if uses_modules {
        notes.warn("index.html refers to files in node_modules, which are not published. Bundle them with a build script, or load them from elsewhere.");
    }
    Some(unbuilt(folder))
}

fn built(look: &Look<'_>) -> Found {
    const UI: &[&str] = &["react", "vue", "svelte", "solid-js", "preact", "@angular/core", "lit", "ember-source"];
    let mut output: Vec<PathBuf> = Vec::new();
    for command in &look.building {
        let flag = command.option(&["--output-path", "--outdir", "--out-dir", "--dist-dir", "--outDir", "--output"]);
        output.extend(flag.and_then(inside).filter(|path| !path.as_os_str().is_empty()));
        // `cd client && npm run build`, `npm run build --prefix client`
        let folder =
            if command.program == "cd" { command.words().next() } else { command.option(&["--prefix", "--cwd", "-C"]) };
        if let Some(folder) = folder.and_then(inside).filter(|path| !path.as_os_str().is_empty()) {
            output.extend(["dist", "build", "out"].map(|name| folder.join(name)));
        }
    }
    output.extend(BUILD_FOLDERS.map(PathBuf::from));
    let mut seen = Vec::new();
    output.retain(|path| {
        let new = !seen.contains(path);
        seen.push(path.clone());
        new
    });
    look.site(Framework::StaticBuild, "", output, look.app.has_any(UI))
}

/// The folder with the index.html of a site that needs no build: the app's own, or a usual one in it.
pub(crate) fn html_folder(tree: &Tree, dir: &Path) -> Option<PathBuf> {
    if tree.is_file(&dir.join("index.html")) {
        return Some(".".into());
    }
    SITE_FOLDERS.into_iter().find(|name| tree.is_file(&dir.join(name).join("index.html"))).map(PathBuf::from)
}
