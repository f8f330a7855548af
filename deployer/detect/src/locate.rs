//! Which folder of the source is the app.

use std::path::{Path, PathBuf};

use common::deployment::Kind;
use common::project::Settings;

use crate::plan::Notes;
use crate::refusal::Refusal;
use crate::settle::means_this_folder;
use crate::tree::{Tree, inside, show, tell_folders};

/// How many single folders are opened in search of the app: archives of archives have two or three.
const MAX_DESCENT: usize = 4;
/// Most apps named in a message.
const MAX_NAMED: usize = 12;

/// The app's folder, relative to the source.
pub(crate) fn locate(tree: &Tree, settings: &Settings, notes: &mut Notes) -> Result<PathBuf, Refusal> {
    let given = settings.root_dir.as_deref();
    let start = match given {
        None => PathBuf::new(),
        Some(given) => root_dir(tree, given)?,
    };
    if given.is_some() && means_this_folder(settings) || is_app(tree, &start) {
        return Ok(start);
    }
    if let Some(output) = settings.output_dir.as_deref().and_then(inside)
        && tree.is_dir(&start.join(output))
    {
        return Ok(start);
    }
    let mut dir = start.clone();
    for _ in 0..MAX_DESCENT {
        let folders = tree.folders(&dir);
        let apps: Vec<&String> = folders.iter().filter(|name| is_app(tree, &dir.join(name))).collect();
        match (apps.as_slice(), folders.as_slice()) {
            ([only], _) => {
                dir.push(only);
                notes.info(format!("The app was found in the folder {}.", show(&dir)));
                return Ok(dir);
            }
            ([], [only]) => dir.push(only),
            ([], _) => break,
            (several, _) => return Err(several_apps(several.iter().map(|name| show(&dir.join(name))))),
        }
    }
    let told = settings.start_command.is_some() || settings.build_command.is_some();
    if told || settings.kind == Some(Kind::Static) || has_entry(tree, &start) {
        return Ok(start);
    }
    Err(Refusal::NothingToDeploy {
        place: place(&start),
        looked: format!(
            "there is neither a package.json nor an index.html, and {}",
            tell_folders(&tree.folders(&start))
        ),
    })
}

pub(crate) fn several_apps(apps: impl Iterator<Item = String>) -> Refusal {
    Refusal::SeveralApps { candidates: apps.take(MAX_NAMED).collect::<Vec<_>>().join(", ") }
}

/// The folder, as a person would say it.
pub(crate) fn place(dir: &Path) -> String {
    if dir.as_os_str().is_empty() { "the project".to_owned() } else { show(dir) }
}

fn root_dir(tree: &Tree, given: &str) -> Result<PathBuf, Refusal> {
    let outside = || Refusal::RootDirOutside { given: given.to_owned() };
    let dir = inside(given).ok_or_else(outside)?;
    match tree.real(&dir) {
        Ok(Some(real)) if real.is_dir() => Ok(dir),
        Err(Refusal::FileOutside { .. }) => Err(outside()),
        _ => {
            let found = tell_folders(&tree.folders(Path::new("")));
            Err(Refusal::RootDirMissing { given: given.to_owned(), found })
        }
    }
}

fn is_app(tree: &Tree, dir: &Path) -> bool {
    ["package.json", "index.html"].iter().any(|name| tree.is_file(&dir.join(name)))
}

fn has_entry(tree: &Tree, dir: &Path) -> bool {
    crate::framework::entry_file(tree, dir, None).is_some() || crate::framework::procfile(tree, dir).is_some()
}
