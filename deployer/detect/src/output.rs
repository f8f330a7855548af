//! Which folder the build left.

use std::fs;
use std::path::{Path, PathBuf};

use crate::framework::{Framework, angular};
use crate::plan::Plan;
use crate::refusal::Refusal;
use crate::tree::{MAX_CONFIG_BYTES, show, tell_folders_of};

/// Picks the output folder after the build: among the plan's candidates, the first that has an
/// index.html, else the first that exists. Returns an absolute path without links.
///
/// # Errors
/// [`Refusal::NoOutput`] when none of them exists, naming what was looked for and which folders there
/// are; [`Refusal::OutputOutside`] when the folder is a link that leaves the source.
pub fn resolve_output(app_dir_abs: &Path, plan: &Plan) -> Result<PathBuf, Refusal> {
    let mut candidates = plan.output.clone();
    if plan.framework == Framework::Angular && !plan.output_is_explicit {
        candidates.extend(angular_candidates(app_dir_abs));
    }
    let existing: Vec<&PathBuf> = candidates.iter().filter(|path| app_dir_abs.join(path).is_dir()).collect();
    let with_index = existing.iter().find(|path| app_dir_abs.join(path).join("index.html").is_file());
    let Some(chosen) = with_index.or(existing.first()) else {
        let looked = candidates.iter().map(|path| show(path)).collect::<Vec<_>>().join(", ");
        return Err(Refusal::NoOutput { looked, found: tell_folders_of(app_dir_abs) });
    };
    let outside = || Refusal::OutputOutside { given: show(chosen) };
    let real = fs::canonicalize(app_dir_abs.join(chosen)).map_err(|_| outside())?;
    let app = fs::canonicalize(app_dir_abs).map_err(Refusal::SourceUnreadable)?;
    let source = app.ancestors().nth(plan.app_dir.components().count()).unwrap_or(&app);
    if real.starts_with(source) { Ok(real) } else { Err(outside()) }
}

/// angular.json as it is now, and any `dist/<name>/browser` or `dist/<name>`.
fn angular_candidates(app_dir: &Path) -> Vec<PathBuf> {
    let file = app_dir.join("angular.json");
    let small = fs::symlink_metadata(&file).is_ok_and(|data| data.is_file() && data.len() <= MAX_CONFIG_BYTES);
    let text = if small { fs::read_to_string(&file).unwrap_or_default() } else { String::new() };
    let mut found = angular::outputs(text.trim_start_matches('\u{feff}'));
    let names = crate::tree::visible_folders(&app_dir.join("dist"));
    for name in &names {
        found.push(Path::new("dist").join(name).join("browser"));
    }
    found.extend(names.iter().map(|name| Path::new("dist").join(name)));
    found
}
