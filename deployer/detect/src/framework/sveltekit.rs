//! SvelteKit: the adapter decides whether it becomes files or a server.

use common::deployment::Kind;

use super::server::chosen_start;
use super::{Found, Framework, Look};
use crate::evidence::string_value;
use crate::plan::{Notes, quote};
use crate::refusal::Refusal;
use crate::tree::show;

/// Adapters by the last part of their package's name.
const ADAPTERS: [&str; 7] = ["static", "node", "auto", "vercel", "netlify", "cloudflare", "cloudflare-workers"];
/// adapter-auto looks for the environment of platforms that it knows; of those this is the one that it
/// builds a plain Node server for.
const AUTO_AS_NODE: (&str, &str) = ("GCP_BUILDPACKS", "1");
/// adapter-node takes every request for https unless a header tells; forms would then be refused.
const PROTOCOL: &str = "PROTOCOL_HEADER=x-forwarded-proto";

pub(super) fn recognise(look: &Look<'_>, notes: &mut Notes) -> Result<Found, Refusal> {
    // New projects name their adapter in vite.config, older ones in svelte.config.
    let config = format!("{}\n{}", look.config("svelte.config"), look.config("vite.config"));
    match adapter(look, &config) {
        Some("static") => Ok(site(look, &config, notes)),
        Some(adapter @ ("node" | "auto")) => server(look, &config, adapter, notes),
        Some(other) => Err(Refusal::SvelteKitAdapter { adapter: format!("@sveltejs/adapter-{other}") }),
        None => Err(Refusal::SvelteKitAdapter { adapter: "an adapter that is not known here".to_owned() }),
    }
}

/// The adapter that the configuration imports, else the one that is installed.
fn adapter(look: &Look<'_>, config: &str) -> Option<&'static str> {
    let package = |name: &str| format!("@sveltejs/adapter-{name}");
    let imported = |name: &&str| ["'", "\"", "`"].iter().any(|end| config.contains(&format!("{}{end}", package(name))));
    let installed = |name: &&str| look.app.has(&package(name));
    ADAPTERS.into_iter().find(imported).or_else(|| ADAPTERS.into_iter().find(installed))
}

fn site(look: &Look<'_>, config: &str, notes: &mut Notes) -> Found {
    let output = look.outputs([string_value(config, "pages").as_deref()], "build");
    let folder = output.first().map(|path| show(path)).unwrap_or_default();
    let fallback = string_value(config, "fallback");
    let single_page = fallback.as_deref().is_some_and(|name| name != "404.html");
    let mut found = look.site(Framework::SvelteKit, "vite build", output, single_page);
    if let Some(page) = fallback.filter(|name| !matches!(name.as_str(), "index.html" | "404.html"))
        && let Some(build) = &mut found.build
    {
        // Unknown paths are answered with 404.html, or of a single page with index.html.
        let at = |name: &str| quote(&format!("{folder}/{name}"));
        let (page, index, missing) = (at(&page), at("index.html"), at("404.html"));
        build.push_str(&format!(
            " && if [ ! -e {index} ]; then cp {page} {index}; elif [ ! -e {missing} ]; then cp {page} {missing}; fi"
        ));
        notes.info(format!("The fallback page {page} is published for unknown paths as well."));
    }
    found
}

fn server(look: &Look<'_>, config: &str, adapter: &str, notes: &mut Notes) -> Result<Found, Refusal> {
    if look.kind == Some(Kind::Static) {
        return Err(Refusal::BuildsServer {
            framework: "SvelteKit".to_owned(),
            advice: format!(
                "replace @sveltejs/adapter-{adapter} by @sveltejs/adapter-static, or deploy it as type \"node\""
            ),
        });
    }
    let out = string_value(config, "out").filter(|_| adapter == "node").unwrap_or_else(|| "build".to_owned());
    let start = chosen_start(look).unwrap_or_else(|| format!("{PROTOCOL} node {}", quote(&out)));
    let mut found = look.server(Framework::SvelteKitServer, Some(look.build("vite build")), start);
    if adapter == "auto" {
        let (name, value) = AUTO_AS_NODE;
        found.env.push((name.to_owned(), value.to_owned()));
        notes.warn(
            "@sveltejs/adapter-auto knows no adapter for this platform: building a server with @sveltejs/adapter-node, which it installs during the build. Use @sveltejs/adapter-static for a static site, or @sveltejs/adapter-node to save that step.",
        );
    }
    Ok(found)
}
