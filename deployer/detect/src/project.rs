//! The app with its surroundings: its package.json, the workspace around it, where the install runs.

use std::path::{Path, PathBuf};

use common::project::Settings;

use crate::framework::{looks_like_app, runs_server};
use crate::locate::several_apps;
use crate::manifest::Manifest;
use crate::plan::Notes;
use crate::refusal::Refusal;
use crate::script::commands;
use crate::settle::means_this_folder;
use crate::tree::{Tree, show};
use crate::workspace::{self, Workspace};

/// An app as it lies in the source.
#[derive(Debug)]
pub(crate) struct Project {
    /// Relative to the source.
    pub(crate) app_dir: PathBuf,
    /// The app's package.json, or an empty one.
    pub(crate) app: Manifest,
    /// True when there is a package.json.
    pub(crate) has_manifest: bool,
    /// The workspace's root, else `app_dir`; relative to the source.
    pub(crate) install_dir: PathBuf,
    /// The package.json of the workspace's root, when that is not the app's own.
    pub(crate) root: Option<Manifest>,
    /// Folders and package.jsons of the workspace's members.
    pub(crate) members: Vec<(PathBuf, Manifest)>,
}

impl Project {
    /// Reads what lies in and around `dir`. At the root of a workspace whose one app is a member, that
    /// member is the app.
    pub(crate) fn open(tree: &Tree, dir: PathBuf, settings: &Settings, notes: &mut Notes) -> Result<Self, Refusal> {
        let Some(app) = Manifest::read(tree, &dir)? else {
            return Ok(Self::single(dir.clone(), Manifest::absent(&dir), false));
        };
        let Some(workspace) = workspace::find(tree, &dir)? else { return Ok(Self::single(dir, app, true)) };
        let members = workspace.members(tree);
        let (app_dir, app) = match app_of(tree, &workspace, &dir, &app, &members, settings)? {
            None => (dir, app),
            Some((member, manifest)) => {
                notes.info(format!("The workspace's app was found in {}.", show(member)));
                (member.clone(), manifest.clone())
            }
        };
        let root = if app_dir == workspace.root { None } else { Manifest::read(tree, &workspace.root)? };
        if app_dir != workspace.root {
            notes.info(format!(
                "{} belongs to a workspace: dependencies are installed in {}.",
                show(&app_dir),
                if workspace.root.as_os_str().is_empty() { "its root".to_owned() } else { show(&workspace.root) }
            ));
        }
        Ok(Self { app_dir, app, has_manifest: true, install_dir: workspace.root, root, members })
    }

    fn single(dir: PathBuf, app: Manifest, has_manifest: bool) -> Self {
        Self { app_dir: dir.clone(), app, has_manifest, install_dir: dir, root: None, members: Vec::new() }
    }

    /// The app's package.json, then the workspace's.
    pub(crate) fn manifests(&self) -> Vec<&Manifest> {
        std::iter::once(&self.app).chain(&self.root).collect()
    }

    /// The scripts that an install runs in its own folder.
    pub(crate) fn lifecycle(&self) -> Vec<String> {
        let at_install = if self.install_dir == self.app_dir { Some(&self.app) } else { self.root.as_ref() };
        at_install.map(Manifest::lifecycle).unwrap_or_default()
    }

    /// Does an install have anything to do?
    pub(crate) fn installs(&self) -> bool {
        let own = self.manifests().into_iter().any(Manifest::installs);
        self.has_manifest && (own || self.members.iter().any(|(_, member)| member.installs()))
    }
}

/// The member that is meant when `dir` is the workspace's root; `None` when the folder itself is.
fn app_of<'a>(
    tree: &Tree,
    workspace: &Workspace,
    dir: &Path,
    app: &Manifest,
    members: &'a [(PathBuf, Manifest)],
    settings: &Settings,
) -> Result<Option<&'a (PathBuf, Manifest)>, Refusal> {
    let own = means_this_folder(settings) || looks_like_app(app) || tree.is_file(&dir.join("index.html"));
    if workspace.root != dir || own {
        return Ok(None);
    }
    let apps: Vec<_> = members.iter().filter(|(_, manifest)| looks_like_app(manifest)).collect();
    match apps.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        // A start script at the root of a client and a server starts what they come to together.
        _ if app.script("start").is_some_and(|line| runs_server(&commands(line, &app.scripts))) => Ok(None),
        several => Err(several_apps(several.iter().map(|(dir, _)| show(dir)))),
    }
}
