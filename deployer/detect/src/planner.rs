//! The way from a folder to a plan, step by step.

use std::path::{Path, PathBuf};

use common::deployment::Kind;
use common::project::Settings;

use crate::cache::{self, Install};
use crate::environment::Environment;
use crate::framework::{Found, Look};
use crate::ladder::ladder;
use crate::locate::locate;
use crate::manager::Choice;
use crate::plan::{InstallStep, NodeChoice, Notes, PackageManager, Plan, Tool, Toolchain, quote};
use crate::project::Project;
use crate::refusal::Refusal;
use crate::settle::{self, command};
use crate::tree::{Tree, show};
use crate::workspace::built_before;
use crate::{lockfile, manager, node};

/// Recognises the project in `source` and says how to build and run it.
///
/// Settings win over what is detected. A blank install or build command means "skip this step"; a blank
/// root folder, start command or output folder counts as not given. Reads files, so an async caller gives
/// it a thread of its own.
///
/// # Errors
/// When the project cannot be deployed as it is; the refusal says why and what to do.
pub fn plan(source: &Path, settings: &Settings, toolchain: &Toolchain) -> Result<Plan, Refusal> {
    let tree = Tree::open(source)?;
    let settings = settle::given(settings);
    let mut notes = Notes::default();
    let dir = locate(&tree, &settings, &mut notes)?;
    let project = Project::open(&tree, dir, &settings, &mut notes)?;
    if project.has_manifest {
        package(&tree, &project, &settings, toolchain, notes)
    } else {
        folder(&tree, &project, &settings, toolchain, notes)
    }
}

/// A project with a package.json.
fn package(
    tree: &Tree,
    project: &Project,
    settings: &Settings,
    toolchain: &Toolchain,
    mut notes: Notes,
) -> Result<Plan, Refusal> {
    let Project { app_dir, app, install_dir, .. } = project;
    let locks = lockfile::find(tree, install_dir, app_dir, app);
    let choice = manager::choose(tree, install_dir, &project.manifests(), locks)?;
    let Choice { manager, lock, .. } = &choice;
    let look = Look::new(
        tree,
        app_dir,
        app,
        manager.tool,
        lock.as_ref(),
        settle::kind(settings),
        settings.build_command.is_some(),
    );
    let mut found = settle::with_manifest(&look, settings, &mut notes)?;
    found = settle::apply(found, settings, tree, app_dir, Some(&look), &mut notes)?;
    tell_found(&found, &mut notes);

    let works = found.build.is_some() || found.kind == Kind::Node;
    if works && settings.build_command.is_none() {
        found.build = with_members(tree, project, manager.tool, found.build, &mut notes);
    }
    let install = install(project, settings, &choice, works, &mut notes);
    if !works && install.is_empty() {
        return Ok(assemble(project, settings, found, notes));
    }
    let asking = node::Asking { tree, app_dir, app, root: project.root.as_ref(), lock: lock.as_ref(), manager };
    let node = node::choose(&asking, toolchain, &mut notes)?;
    let environment = Environment::of(app, lock.as_ref(), &node, &found, &mut notes);
    let cache_key = (!install.is_empty()).then(|| key(tree, project, manager, &node, &install));
    let lifecycle_scripts = if install.is_empty() { Vec::new() } else { project.lifecycle() };
    Ok(Plan {
        package_manager: Some(manager.clone()),
        node: Some(node),
        install,
        build_retries: environment.retries,
        env: environment.env,
        cache_key,
        lifecycle_scripts,
        ..assemble(project, settings, found, notes)
    })
}

/// A project without a package.json: files as they are, a lone server file, or a build of another kind.
fn folder(
    tree: &Tree,
    project: &Project,
    settings: &Settings,
    toolchain: &Toolchain,
    mut notes: Notes,
) -> Result<Plan, Refusal> {
    let Project { app_dir, app, .. } = project;
    let found = settle::without_manifest(tree, app_dir, settings, &mut notes);
    let found = settle::apply(found, settings, tree, app_dir, None, &mut notes)?;
    tell_found(&found, &mut notes);
    let install = own_install(settings).unwrap_or_default();
    let node = if found.kind == Kind::Node || found.build.is_some() || !install.is_empty() {
        let manager = &PackageManager { tool: Tool::Npm, version: None, sha512: None, vendored: None };
        let asking = node::Asking { tree, app_dir, app, root: None, lock: None, manager };
        Some(node::choose(&asking, toolchain, &mut notes)?)
    } else {
        None
    };
    Ok(Plan { node, install, ..assemble(project, settings, found, notes) })
}

/// The parts of a plan that need neither an install nor Node.
fn assemble(project: &Project, settings: &Settings, found: Found, notes: Notes) -> Plan {
    Plan {
        framework: found.framework,
        kind: found.kind,
        app_dir: project.app_dir.clone(),
        install_dir: project.install_dir.clone(),
        package_manager: None,
        node: None,
        install: Vec::new(),
        build: found.build,
        build_retries: Vec::new(),
        output_is_explicit: found.kind == Kind::Static && settings.output_dir.is_some(),
        output: found.output,
        start: found.start,
        single_page: found.single_page,
        env: Vec::new(),
        notes: notes.0,
        cache_key: None,
        lifecycle_scripts: Vec::new(),
    }
}

fn tell_found(found: &Found, notes: &mut Notes) {
    let name = found.framework.name();
    let folder = found.output.first().map(|folder| show(folder)).unwrap_or_default();
    notes.info(match (&found.start, &found.build) {
        (Some(start), Some(build)) => format!("Detected {name}: building with `{build}`, starting with `{start}`."),
        (Some(start), None) => format!("Detected {name}: starting with `{start}`."),
        (None, Some(build)) => format!("Detected {name}: building with `{build}`, the site is expected in {folder}."),
        (None, None) if folder == "." => format!("Detected {name}: nothing to build, publishing the folder as it is."),
        (None, None) => format!("Detected {name}: nothing to build, publishing the folder {folder} as it is."),
    });
}

/// The developer's own install; `None` when the choice is ours.
fn own_install(settings: &Settings) -> Option<Vec<InstallStep>> {
    let step = |line: &str| InstallStep { command: line.to_owned(), when_output_has: Vec::new(), note: None };
    settings.install_command.as_ref().map(|line| command(Some(line)).map(step).into_iter().collect())
}

fn install(
    project: &Project,
    settings: &Settings,
    choice: &Choice,
    works: bool,
    notes: &mut Notes,
) -> Vec<InstallStep> {
    if let Some(own) = own_install(settings) {
        return own;
    }
    if !works || !project.installs() {
        return Vec::new();
    }
    choice.tell(notes);
    ladder(choice.manager.tool, choice.lock.as_ref())
}

/// The build with those of the workspace's members before it that the app cannot do without.
fn with_members(
    tree: &Tree,
    project: &Project,
    tool: Tool,
    build: Option<String>,
    notes: &mut Notes,
) -> Option<String> {
    let first = built_before(tree, &project.app, &project.members);
    if first.is_empty() {
        return build;
    }
    let names = first.iter().map(|dir| show(dir)).collect::<Vec<_>>().join(", ");
    notes.info(format!("Building {names} first: the app depends on files that are made there."));
    let enter =
        |dir: &PathBuf| format!("(cd {} && {})", quote(&show(&way(&project.app_dir, dir))), tool.run_script("build"));
    let lines: Vec<String> = first.iter().map(enter).chain(build).collect();
    Some(lines.join(" && "))
}

/// The relative way from one folder to another.
fn way(from: &Path, to: &Path) -> PathBuf {
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| "..");
    up.map(PathBuf::from).chain(to.components().skip(shared).map(|part| PathBuf::from(part.as_os_str()))).collect()
}

fn key(tree: &Tree, project: &Project, manager: &PackageManager, node: &NodeChoice, steps: &[InstallStep]) -> String {
    let mut manifests = project.manifests();
    manifests.extend(project.members.iter().map(|(_, manifest)| manifest));
    cache::key(&Install {
        tree,
        dir: &project.install_dir,
        app_dir: &project.app_dir,
        manager,
        node,
        steps,
        manifests: &manifests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_two_folders_goes_up_and_down() {
        for (from, to, way_there) in
            [("apps/web", "packages/ui", "../../packages/ui"), ("", "a", "a"), ("a/b", "a/c", "../c")]
        {
            assert_eq!(way(Path::new(from), Path::new(to)), PathBuf::from(way_there));
        }
    }
}
