//! Starting an app where there is Node and no package manager.
//!
//! A start command usually is `npm run start` or the like. The runtime has Node only, and a package manager would cost
//! a second process and a tenth of a second for each start; so the script is looked up here and becomes the command.
//! What scripts call in turn (`npm run x`, `npx y`) finds small stand-ins in the image, which do the same with Node.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use detect::{Plan, Refusal, Tool};

use crate::BuildError;

/// Where the stand-ins lie in the app.
const FOLDER: &str = ".astrocloud";
/// The stand-ins' names.
const NAMES: [&str; 7] = ["npm", "npx", "pnpm", "pnpx", "yarn", "bun", "bunx"];
/// A stand-in; its name is what it was called as.
const STAND_IN: &str = "#!/bin/sh\nexec node \"$(dirname \"$0\")/../run.cjs\" \"$(basename \"$0\")\" \"$@\"\n";
/// What it runs.
const RUN: &str = include_str!("start/run.cjs");
/// Largest package.json that is read, in bytes: the same as in detection.
const MAX_MANIFEST: u64 = 4 << 20;

/// The shell command that starts the app of `plan`, whose source tree is now `app`, in its working directory. Puts into
/// `app` what the command needs. `yarn` is the file that is all of Yarn 2 or later, if that was used.
///
/// # Errors
/// When the plan has no start command, or its script is gone.
pub(crate) fn start_command(app: &Path, plan: &Plan, yarn: Option<&Path>) -> Result<String, BuildError> {
    let manifest = || plan.app_dir.join("package.json").display().to_string();
    let Some(command) = plan.start.as_deref().map(str::trim).filter(|command| !command.is_empty()) else {
        return Err(Refusal::NoStart { path: manifest() }.into());
    };
    if let Some(command) = plug_and_play(app, plan, command, yarn).map_err(BuildError::internal)? {
        return Ok(command);
    }
    if is_plain_node(command) {
        return Ok(command.to_owned());
    }
    stand_ins(app).map_err(BuildError::internal)?;
    let scripts = scripts(&inside(app, &plan.app_dir)?);
    let line = match Called::read(command) {
        Some(Called { tool, script, arguments }) => match scripts(script) {
            Some(main) => {
                let main = [main.as_str(), arguments.as_str()].join(" ").trim().to_owned();
                match scripts(&format!("pre{script}")) {
                    Some(before) => format!("(\n{before}\n) && (\n{main}\n)"),
                    None => main,
                }
            }
            // Yarn and Bun run programs in the same words.
            None if matches!(tool, "yarn" | "bun") => [script, arguments.as_str()].join(" ").trim().to_owned(),
            None => return Err(Refusal::NoStart { path: manifest() }.into()),
        },
        None => ["npx --no-install ", "pnpm exec "]
            .iter()
            .find_map(|prefix| command.strip_prefix(prefix))
            .unwrap_or(command)
            .to_owned(),
    };
    // The shell steps aside for a simple command, so that there is one process less.
    let line = if is_simple(&line) { format!("exec {line}") } else { line };
    Ok(format!("export PATH=\"{}:$PATH\"; {line}", path(plan)))
}

/// A folder of the app as it really is: the build may have made it a link to somewhere else.
fn inside(app: &Path, folder: &Path) -> Result<PathBuf, BuildError> {
    let real = |path: &Path| path.canonicalize().map_err(BuildError::internal);
    let (root, found) = (real(app)?, real(&app.join(folder))?);
    if found.starts_with(&root) {
        return Ok(found);
    }
    Err(Refusal::RootDirOutside { given: folder.display().to_string() }.into())
}

/// Programs of the app's packages, from its own folder up, then the stand-ins. Relative to where the shell runs.
fn path(plan: &Plan) -> String {
    let up = |levels: usize| format!("$PWD/{}", "../".repeat(levels));
    let depth = plan.app_dir.components().count();
    let bins = (0..=depth).map(|levels| format!("{}node_modules/.bin", up(levels)));
    bins.chain([format!("{}{FOLDER}/bin", up(depth))]).collect::<Vec<_>>().join(":")
}

/// A call of a script: `npm run start`, `yarn start`, `pnpm run serve -- --port 1`.
struct Called<'a> {
    tool: &'a str,
    script: &'a str,
    arguments: String,
}

impl<'a> Called<'a> {
    fn read(command: &'a str) -> Option<Self> {
        if !is_harmless(command) {
            return None;
        }
        let mut words = command.split_whitespace();
        let tool = words.next().filter(|tool| matches!(*tool, "npm" | "pnpm" | "yarn" | "bun"))?;
        let script = match words.next()? {
            "run" | "run-script" => words.next()?,
            verb @ ("start" | "serve" | "prod") if verb == "start" || tool != "npm" => verb,
            _ => return None,
        };
        let rest: Vec<&str> = words.skip_while(|word| *word == "--").collect();
        (!script.starts_with('-')).then(|| Self { tool, script, arguments: rest.join(" ") })
    }
}

/// No quotes, no variables, nothing that joins commands.
fn is_harmless(command: &str) -> bool {
    command.chars().all(|c| c.is_ascii_alphanumeric() || " -_./:=@,+".contains(c))
}

/// One program with arguments, and no assignment before it.
fn is_simple(command: &str) -> bool {
    is_harmless(command) && command.split_whitespace().next().is_some_and(common::shell::is_program)
}

fn is_plain_node(command: &str) -> bool {
    command.starts_with("node ") && is_harmless(command)
}

/// The scripts of a package.json.
fn scripts(folder: &Path) -> impl Fn(&str) -> Option<String> + use<> {
    let read = |path: PathBuf| {
        let data = fs::symlink_metadata(&path).ok()?;
        (data.is_file() && data.len() <= MAX_MANIFEST).then(|| fs::read(&path).ok()).flatten()
    };
    let text = read(folder.join("package.json")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let manifest: Option<serde_json::Value> =
        text.and_then(|text| serde_json::from_str(text.trim_start_matches('\u{feff}')).ok());
    move |name| manifest.as_ref()?.get("scripts")?.get(name)?.as_str().map(str::to_owned)
}

/// With plug'n'play there is no `node_modules`: Yarn itself has to run scripts, and Node needs its loader. `None` when
/// the app does not use it.
fn plug_and_play(app: &Path, plan: &Plan, command: &str, yarn: Option<&Path>) -> io::Result<Option<String>> {
    let Some(manager) = plan.package_manager.as_ref().filter(|manager| manager.tool == Tool::YarnBerry) else {
        return Ok(None);
    };
    let install = app.join(&plan.install_dir);
    if !install.join(".pnp.cjs").is_file() || install.join("node_modules").is_dir() {
        return Ok(None);
    }
    let root = format!("$PWD/{}", "../".repeat(plan.app_dir.components().count()));
    let below = |path: &Path| format!("{root}{}", path.display());
    let Some(rest) = command.strip_prefix("yarn ") else {
        let loader = below(&plan.install_dir.join(".pnp.cjs"));
        return Ok(Some(format!("export NODE_OPTIONS=\"--require {loader} $NODE_OPTIONS\"; {command}")));
    };
    let file = match (&manager.vendored, yarn) {
        (Some(vendored), _) => below(&plan.install_dir.join(vendored)),
        (None, Some(yarn)) => {
            fs::copy(yarn, own_folder(app)?.join("yarn.cjs"))?;
            below(Path::new(FOLDER).join("yarn.cjs").as_path())
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(format!("export YARN_IGNORE_PATH=1; exec node \"{file}\" {rest}")))
}

/// A folder of ours in the app, new. Whatever the project has under that name goes: it could be a link.
fn own_folder(app: &Path) -> io::Result<PathBuf> {
    let folder = app.join(FOLDER);
    match fs::symlink_metadata(&folder) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(&folder)?,
        Ok(_) => fs::remove_file(&folder)?,
        Err(_) => {}
    }
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn stand_ins(app: &Path) -> io::Result<()> {
    let folder = own_folder(app)?;
    fs::write(folder.join("run.cjs"), RUN)?;
    let bin = folder.join("bin");
    fs::create_dir(&bin)?;
    let file = bin.join("stand-in");
    fs::write(&file, STAND_IN)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    NAMES.iter().try_for_each(|name| symlink("stand-in", bin.join(name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use common::deployment::Kind;
    use detect::Framework;

    use super::*;

    fn plan(start: &str, app_dir: &str) -> Plan {
        Plan {
            framework: Framework::NodeJs,
            kind: Kind::Node,
            app_dir: app_dir.into(),
            install_dir: PathBuf::new(),
            package_manager: None,
            node: None,
            install: Vec::new(),
            build: None,
            build_retries: Vec::new(),
            output: Vec::new(),
            output_is_explicit: false,
            start: Some(start.to_owned()),
            single_page: false,
            env: Vec::new(),
            notes: Vec::new(),
            cache_key: None,
            lifecycle_scripts: Vec::new(),
        }
    }

    /// What the app prints when it is started as the runtime starts it.
    fn started(start: &str, app_dir: &str, scripts: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        let app = root.path().join(app_dir);
        fs::create_dir_all(app.join("node_modules/.bin")).unwrap();
        fs::write(app.join("package.json"), format!(r#"{{"name":"shop","type":"module","scripts":{scripts}}}"#))
            .unwrap();
        let tool = app.join("node_modules/.bin/hello");
        fs::write(&tool, "#!/bin/sh\necho hello \"$@\"\n").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let command = start_command(root.path(), &plan(start, app_dir), None).unwrap();
        let output = Command::new("/bin/sh").args(["-c", &command]).current_dir(&app).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    #[test]
    fn a_plain_node_command_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(start_command(root.path(), &plan("node server.js", ""), None).unwrap(), "node server.js");
    }

    #[test]
    fn a_script_is_run_without_its_package_manager_and_finds_installed_programs() {
        let scripts = r#"{"prestart":"echo before # a comment","start":"hello world"}"#;
        assert_eq!(started("npm run start", "", scripts), "before\nhello world\n");
        assert_eq!(started("yarn start", "apps/web", r#"{"start":"hello"}"#), "hello\n");
        assert_eq!(started("npx --no-install hello you", "", "{}"), "hello you\n");
        assert_eq!(started("yarn run hello", "", "{}"), "hello\n");
    }

    #[test]
    fn what_scripts_call_in_turn_is_run_too() {
        let scripts = r#"{"start":"npm run -s two -- 'a b' && npx hello && pnpm exec hello x && yarn three","two":"hello","three":"hello 3"}"#;
        assert_eq!(started("npm run start", "", scripts), "hello a b\nhello\nhello x\nhello 3\n");
        let said = started("npm start", "", r#"{"start":"npm install && hello"}"#);
        assert!(said.contains("\"npm install\" can't be run while the app runs"), "{said}");
    }

    #[test]
    fn a_start_script_that_is_not_there_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = start_command(root.path(), &plan("npm run start", ""), None).unwrap_err();
        assert_eq!(error.code(), "no_start");
    }

    #[test]
    fn a_link_under_our_name_is_replaced_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (app, outside) = (root.path().join("app"), root.path().join("outside"));
        fs::create_dir(&app).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink(&outside, app.join(FOLDER)).unwrap();
        stand_ins(&app).unwrap();
        assert!(fs::read_dir(&outside).unwrap().next().is_none());
        assert!(app.join(FOLDER).join("bin/npm").is_symlink());
    }
}
