//! What was recognised and what the developer set, brought together: the settings win.

use std::path::{Path, PathBuf};

use common::deployment::Kind;
use common::project::Settings;

use crate::framework::{
    self, BUILD_FOLDERS, Found, Framework, Look, chosen_start, entry_file, html_folder, procfile, unbuilt,
};
use crate::locate::place;
use crate::plan::{Notes, quote};
use crate::refusal::Refusal;
use crate::tree::{Tree, normal, show, tell_folders};

/// The settings with blank folders and start commands as not given; a blank install or build command
/// stays, for it means "skip this step".
pub(crate) fn given(settings: &Settings) -> Settings {
    let filled =
        |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let mut settings = settings.clone();
    settings.root_dir = filled(&settings.root_dir);
    settings.start_command = filled(&settings.start_command);
    settings.output_dir = filled(&settings.output_dir);
    settings
}

/// What the settings say about the kind: a start command is a server's, an output folder a site's.
pub(crate) fn kind(settings: &Settings) -> Option<Kind> {
    let by_start = settings.start_command.as_ref().map(|_| Kind::Node);
    let by_output = settings.output_dir.as_ref().map(|_| Kind::Static);
    settings.kind.or(by_start).or(by_output)
}

/// Whoever names a command or an output for a folder means this folder, whatever else lies in it.
pub(crate) fn means_this_folder(settings: &Settings) -> bool {
    settings.build_command.is_some() || settings.start_command.is_some() || settings.output_dir.is_some()
}

/// A command that is set to something.
pub(crate) fn command(setting: Option<&String>) -> Option<&str> {
    setting.map(|text| text.trim()).filter(|text| !text.is_empty())
}

/// A project with a package.json: by evidence, or where that fails by the settings.
pub(crate) fn with_manifest(look: &Look<'_>, settings: &Settings, notes: &mut Notes) -> Result<Found, Refusal> {
    let told = || {
        let build = look.build_script.map(|name| look.tool.run_script(name));
        let named = settings.output_dir.is_some() || command(settings.build_command.as_ref()).is_some();
        match kind(settings) {
            Some(Kind::Node) if settings.start_command.is_some() => Some(server(build)),
            Some(Kind::Static) | None if named => Some(site(build, look.tree, look.app_dir)),
            _ => None,
        }
    };
    match framework::recognise(look, notes) {
        Ok(Some(found)) => Ok(found),
        Ok(None) => match (told(), look.kind) {
            (Some(found), _) => Ok(found),
            (None, Some(Kind::Node)) => Err(Refusal::NoStart { path: look.app.path.clone() }),
            (None, Some(Kind::Static)) => Ok(bare_site(look.tree, look.app_dir, notes)),
            (None, None) => Err(nothing(look)),
        },
        // Whoever names what to start or to publish knows the project better.
        Err(refusal) if refusal.is_about_framework() => match told() {
            Some(found) => {
                notes.warn(format!("Going on as the settings say, although {refusal}."));
                Ok(found)
            }
            None => Err(refusal),
        },
        Err(refusal) => Err(refusal),
    }
}

/// A project without a package.json.
pub(crate) fn without_manifest(tree: &Tree, dir: &Path, settings: &Settings, notes: &mut Notes) -> Found {
    let builds = command(settings.build_command.as_ref()).is_some();
    match kind(settings) {
        Some(Kind::Node) => server(None),
        Some(Kind::Static) | None if builds => site(None, tree, dir),
        None if html_folder(tree, dir).is_none() && bare_start(tree, dir).is_some() => server(None),
        _ => bare_site(tree, dir, notes),
    }
}

/// A folder that is published as it is.
fn bare_site(tree: &Tree, dir: &Path, notes: &mut Notes) -> Found {
    let folder = html_folder(tree, dir);
    if folder.is_none() {
        notes.warn("There is no index.html: the site's first page will not be found.");
    }
    unbuilt(folder.unwrap_or_else(|| ".".into()))
}

fn server(build: Option<String>) -> Found {
    Found { framework: Framework::NodeJs, kind: Kind::Node, build, output: Vec::new(), ..unbuilt(PathBuf::new()) }
}

fn site(build: Option<String>, tree: &Tree, dir: &Path) -> Found {
    let output = BUILD_FOLDERS.into_iter().map(PathBuf::from).chain(html_folder(tree, dir)).collect();
    Found { framework: Framework::StaticBuild, build, output, ..unbuilt(".".into()) }
}

fn nothing(look: &Look<'_>) -> Refusal {
    let folders = tell_folders(&look.tree.folders(look.app_dir));
    Refusal::NothingToDeploy {
        place: place(look.app_dir),
        looked: format!(
            "{} has neither a build script nor a start script that runs a server, there is no index.html, and {folders}",
            look.app.path
        ),
    }
}

/// The start command of a server that has no package.json.
fn bare_start(tree: &Tree, dir: &Path) -> Option<String> {
    procfile(tree, dir).or_else(|| entry_file(tree, dir, None).map(|file| format!("node {}", quote(&file))))
}

/// Applies the settings to what was found. `look` is `None` without a package.json.
pub(crate) fn apply(
    mut found: Found,
    settings: &Settings,
    tree: &Tree,
    dir: &Path,
    look: Option<&Look<'_>>,
    notes: &mut Notes,
) -> Result<Found, Refusal> {
    if let Some(build) = &settings.build_command {
        found.build = command(Some(build)).map(str::to_owned);
    }
    if kind(settings) == Some(Kind::Node) && found.kind == Kind::Static {
        found.kind = Kind::Node;
    }
    match found.kind {
        Kind::Node => {
            if settings.output_dir.is_some() {
                notes.warn("The output directory is not used: this is deployed as a server.");
            }
            found.output.clear();
            found.single_page = false;
            found.start = settings.start_command.clone().or(found.start).or_else(|| start(tree, dir, look));
            if found.start.is_none() {
                return Err(Refusal::NoStart { path: show(&dir.join("package.json")) });
            }
        }
        Kind::Static => {
            if settings.start_command.is_some() {
                notes.warn("The start command is not used: this is deployed as a static site.");
            }
            if let Some(given) = &settings.output_dir {
                found.output = vec![output_dir(tree, dir, given, found.build.is_some())?];
            }
        }
    }
    Ok(found)
}

fn start(tree: &Tree, dir: &Path, look: Option<&Look<'_>>) -> Option<String> {
    let Some(look) = look else { return bare_start(tree, dir) };
    let script = || look.app.script("start").map(|_| look.tool.run_script("start"));
    chosen_start(look).or_else(|| procfile(tree, dir)).or_else(script)
}

/// The named output folder; without a build it must be there already.
fn output_dir(tree: &Tree, dir: &Path, given: &str, builds: bool) -> Result<PathBuf, Refusal> {
    let outside = || Refusal::OutputDirOutside { given: given.to_owned() };
    // `../../dist/web` of a monorepo's app is still in the source.
    let real = normal(&dir.join(given)).ok_or_else(outside)?;
    if Path::new(given).is_absolute() {
        return Err(outside());
    }
    if !builds && !tree.is_dir(&real) {
        let found = tell_folders(&tree.folders(dir));
        return Err(Refusal::OutputDirMissing { given: given.to_owned(), found });
    }
    Ok(match normal(Path::new(given)) {
        Some(path) if path.as_os_str().is_empty() => ".".into(),
        Some(path) => path,
        None => given.into(),
    })
}
