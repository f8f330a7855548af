//! Sites made of files: Create React App, Vue CLI, Eleventy, Vite, Parcel.

use std::path::Path;

use super::{Found, Framework, Look, base};
use crate::evidence::{path_value, string_value};
use crate::plan::Notes;
use crate::tree::{normal, show};

/// Makes Create React App build for the root, whatever package.json says.
const PUBLIC_URL_AT_ROOT: (&str, &str) = ("PUBLIC_URL", "/");

pub(super) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Option<Found> {
    let app = look.app;
    if app.has("react-scripts") {
        return Some(create_react_app(look, notes));
    }
    if app.has("@vue/cli-service") {
        let config = look.config("vue.config");
        if let Some(path) = base::configured(&config, "publicPath") {
            base::tell_unmoved("`publicPath` in vue.config", &path, "Remove `publicPath`.", notes);
        }
        let config = path_value(&config, "outputDir");
        let flag = look.builder("vue-cli-service").and_then(|command| command.option(&["--dest"]));
        return Some(look.site(
            Framework::VueCli,
            "vue-cli-service build",
            look.outputs([flag, config.as_deref()], "dist"),
            true,
        ));
    }
    if app.has("@11ty/eleventy") && !look.building.iter().any(|command| command.program == "vite") {
        return Some(eleventy(look));
    }
    if app.has_any(&["vite", "rolldown-vite"]) || look.builder("vite").is_some() {
        return vite(look, notes);
    }
    if app.has_any(&["parcel", "parcel-bundler"]) {
        let command = look.builder("parcel");
        let flag = command.and_then(|command| command.option(&["--dist-dir", "--out-dir", "-d"]));
        // Parcel 1 and 2 both need an entry; package.json's `source` names it when the script does not.
        return Some(look.site(Framework::Parcel, "parcel build index.html", look.outputs([flag], "dist"), true));
    }
    None
}

fn create_react_app(look: &Look<'_>, notes: &mut Notes) -> Found {
    let moved = look.building.iter().find_map(|command| command.env("BUILD_PATH"));
    let craco = look.app.has("@craco/craco");
    let program = if craco { "craco build" } else { "react-scripts build" };
    let mut found = look.site(Framework::CreateReactApp, program, look.outputs([moved], "build"), true);
    if let Some(path) = look.app.text("homepage").and_then(base::url_path) {
        let (name, value) = PUBLIC_URL_AT_ROOT;
        base::tell_moved("\"homepage\" in package.json", &path, &format!("{name}={value}"), notes);
        found.env.push((name.to_owned(), value.to_owned()));
    }
    found
}

fn eleventy(look: &Look<'_>) -> Found {
    let config = ["eleventy.config", ".eleventy"]
        .into_iter()
        .map(|stem| look.config(stem))
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let set = string_value(&config, "output").or_else(|| call(&config, "setOutputDirectory"));
    let flag = ["eleventy", "@11ty/eleventy"]
        .into_iter()
        .find_map(|name| look.builder(name))
        .and_then(|command| command.option(&["--output"]));
    look.site(Framework::Eleventy, "eleventy", look.outputs([flag, set.as_deref()], "_site"), false)
}

/// The string given to a call of `name`.
fn call(code: &str, name: &str) -> Option<String> {
    let (_, rest) = code.split_once(name)?;
    let inner = rest.trim_start().strip_prefix('(')?.trim_start();
    let quote = inner.chars().next().filter(|c| "\"'`".contains(*c))?;
    inner.get(1..)?.split_once(quote).map(|(text, _)| text.to_owned())
}

fn vite(look: &Look<'_>, notes: &mut Notes) -> Option<Found> {
    let config = look.config("vite.config");
    let builds =
        look.building.iter().any(|command| matches!(command.program.as_str(), "vite" | "vite-ssg" | "vike" | "vinxi"));
    // A dependency alone (a test runner brings it) does not make a Vite app.
    if !builds && config.is_empty() && !look.has_file("index.html") {
        return None;
    }
    if !builds && look.build_script.is_some() && !look.has_file("index.html") {
        return None;
    }
    let app = look.app;
    let framework = if app.has("preact") || app.has("@preact/preset-vite") {
        Framework::VitePreact
    } else if app.has("solid-js") {
        Framework::ViteSolid
    } else if app.has_any(&["svelte", "@sveltejs/vite-plugin-svelte"]) {
        Framework::ViteSvelte
    } else if app.has_any(&["vue", "@vitejs/plugin-vue"]) {
        Framework::ViteVue
    } else if app.has_any(&["react", "@vitejs/plugin-react", "@vitejs/plugin-react-swc"]) {
        Framework::ViteReact
    } else {
        Framework::Vite
    };
    let command = look.building.iter().find(|command| command.program == "vite");
    // `vite build web` builds the folder web; `root` in the configuration does the same.
    let root = command
        .and_then(|command| command.words().nth(1))
        .filter(|word| look.tree.is_dir(&look.app_dir.join(word)))
        .map(str::to_owned)
        .or_else(|| path_value(&config, "root").filter(|root| root != "." && root != "./"))
        .unwrap_or_default();
    let out = command
        .and_then(|command| command.option(&["--outDir"]))
        .map(str::to_owned)
        .or_else(|| path_value(&config, "outDir"));
    // outDir counts from the root; `path.resolve(__dirname, …)` from the app, so both are tried.
    let under_root = |folder: &str| {
        let path = Path::new(&root).join(folder);
        normal(&look.app_dir.join(&path))?;
        normal(&path).map(|path| show(&path)).or_else(|| Some(show(&path)))
    };
    let first = under_root(out.as_deref().unwrap_or("dist"));
    let outputs = look.outputs([first.as_deref(), out.as_deref()], "dist");
    let multi_page = string_value(&config, "appType").as_deref() == Some("mpa");
    let mut found = look.site(framework, "vite build", outputs, !multi_page);
    if let Some(build) = look.build_at_root("vite build", &config, "vite.config", notes) {
        found.build = Some(build);
    }
    Some(found)
}
