//! Angular: the output folder stands in angular.json, in one of several forms.

use std::path::{Path, PathBuf};

use common::deployment::Kind;
use serde_json::Value;

use super::server::chosen_start;
use super::{Found, Framework, Look};
use crate::evidence::relaxed_json;
use crate::manifest::json;
use crate::refusal::Refusal;
use crate::script::Command;
use crate::tree::{inside, show};

/// What angular.json says about one app.
struct App {
    /// Output candidates, the most likely first.
    outputs: Vec<PathBuf>,
    /// The folder above `browser` and `server`.
    base: PathBuf,
    /// Renders on a server.
    server: bool,
    name: String,
}

pub(super) fn recognise(look: &Look<'_>) -> Result<Option<Found>, Refusal> {
    if !look.app.has("@angular/core")
        || !look.app.has_any(&["@angular/cli", "@angular-devkit/build-angular", "@angular/build"])
            && !look.has_file("angular.json")
    {
        return Ok(None);
    }
    let path = look.app_dir.join("angular.json");
    let command = look.building.iter().find(|command| command.is("ng", "build") || command.is("ng", "b"));
    let app = match look.tree.strict(&path)? {
        None => App::unknown(),
        Some(text) => {
            let value = match relaxed_json(&text) {
                Ok(value) => value,
                Err(_) => json(&text, &show(&path))?,
            };
            App::read(&value, command)
        }
    };
    if app.server && look.kind != Some(Kind::Static) {
        let named = format!("serve:ssr:{}", app.name);
        let start = chosen_start(look).unwrap_or_else(|| match look.app.script(&named) {
            Some(line) if line.starts_with("node ") => line.to_owned(),
            _ => format!("node {}", crate::plan::quote(&show(&app.base.join("server/server.mjs")))),
        });
        return Ok(Some(look.server(Framework::AngularServer, Some(look.build("ng build")), start)));
    }
    Ok(Some(look.site(Framework::Angular, "ng build", app.outputs, true)))
}

/// The candidates by the text of angular.json, for use after the build.
pub(crate) fn outputs(text: &str) -> Vec<PathBuf> {
    relaxed_json(text).map(|value| App::read(&value, None).outputs).unwrap_or_default()
}

impl App {
    fn unknown() -> Self {
        Self { outputs: vec!["dist".into()], base: "dist".into(), server: false, name: String::new() }
    }

    fn read(file: &Value, command: Option<&Command>) -> Self {
        let Some(projects) = file.get("projects").and_then(Value::as_object) else { return Self::unknown() };
        let is_app = |value: &Value| {
            value.get("projectType").and_then(Value::as_str) != Some("library") && target(value).is_some()
        };
        // `ng build shop` names the app; else the default, else the first.
        let named = command.and_then(|command| command.words().nth(1)).filter(|name| projects.contains_key(*name));
        let default = file.get("defaultProject").and_then(Value::as_str).filter(|name| projects.contains_key(*name));
        let first = projects.iter().find(|(_, value)| is_app(value)).map(|(name, _)| name.as_str());
        let Some(name) = named.or(default).or(first) else { return Self::unknown() };
        let build = projects.get(name).and_then(target);
        let options = build.and_then(|build| build.get("options"));
        let production = build.and_then(|build| build.get("configurations")).and_then(|all| all.get("production"));
        let option = |key: &str| production.and_then(|p| p.get(key)).or_else(|| options.and_then(|o| o.get(key)));

        let (written, browser) = match option("outputPath") {
            Some(Value::String(path)) => (Some(path.as_str()), "browser"),
            Some(object) => (
                object.get("base").and_then(Value::as_str),
                object.get("browser").and_then(Value::as_str).unwrap_or("browser"),
            ),
            None => (None, "browser"),
        };
        let given = command.and_then(|command| command.option(&["--output-path", "--outputPath"]));
        let base = given
            .or(written)
            .and_then(inside)
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("dist").join(name.trim_start_matches('@')));
        let mut outputs = vec![base.join(browser), base.join("browser"), base.clone()];
        outputs.iter_mut().for_each(|path| *path = path.components().collect());
        outputs.dedup();
        // `outputMode: "static"` prerenders everything although `ssr` is set.
        let mode = option("outputMode").and_then(Value::as_str);
        let ssr = option("ssr").is_some_and(|ssr| ssr.is_object() || ssr.as_bool() == Some(true));
        Self { outputs, base, server: (ssr && mode != Some("static")) || mode == Some("server"), name: name.to_owned() }
    }
}

fn target(project: &Value) -> Option<&Value> {
    project.get("architect").or_else(|| project.get("targets"))?.get("build")
}
