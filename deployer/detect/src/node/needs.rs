//! What the direct dependencies and the package manager need of Node.

use super::{Asking, Demand};
use crate::manager;
use crate::range::{Range, lowest_of};
use crate::version::Version;

/// A number that no version reaches.
const FAR: u64 = 9_999;
/// What frameworks need by major, for projects whose lock file does not tell: package, major, range.
const NEEDS: [(&str, u64, &str); 38] = [
    ("vite", 4, "^14.18.0 || >=16.0.0"),
    ("vite", 5, "^18.0.0 || >=20.0.0"),
    ("vite", 6, "^18.0.0 || ^20.0.0 || >=22.0.0"),
    ("vite", 7, "^20.19.0 || >=22.12.0"),
    ("vite", 8, "^20.19.0 || >=22.12.0"),
    ("astro", 3, ">=18.14.1"),
    ("astro", 4, "^18.17.1 || ^20.3.0 || >=21.0.0"),
    ("astro", 5, "18.20.8 || ^20.3.0 || >=22.0.0"),
    ("astro", 6, ">=22.12.0"),
    ("astro", 7, ">=22.12.0"),
    ("next", 13, ">=16.14.0"),
    ("next", 14, ">=18.17.0"),
    ("next", 15, "^18.18.0 || ^19.8.0 || >=20.0.0"),
    ("next", 16, ">=20.9.0"),
    ("@angular/core", 13, "^12.20.0 || ^14.15.0 || >=16.10.0"),
    ("@angular/core", 14, "^14.15.0 || >=16.10.0"),
    ("@angular/core", 15, "^14.20.0 || ^16.13.0 || >=18.10.0"),
    ("@angular/core", 16, "^16.14.0 || >=18.10.0"),
    ("@angular/core", 17, "^18.13.0 || >=20.9.0"),
    ("@angular/core", 18, "^18.19.1 || ^20.11.1 || >=22.0.0"),
    ("@angular/core", 19, "^18.19.1 || ^20.11.1 || >=22.0.0"),
    ("@angular/core", 20, "^20.19.0 || ^22.12.0 || >=24.0.0"),
    ("@angular/core", 21, "^20.19.0 || ^22.12.0 || >=24.0.0"),
    ("@angular/core", 22, "^22.22.3 || ^24.15.0 || >=26.0.0"),
    ("@sveltejs/kit", 2, ">=18.13"),
    ("@11ty/eleventy", 3, ">=18"),
    ("@nestjs/core", 11, ">=20"),
    ("@vitejs/plugin-react", 5, "^20.19.0 || >=22.12.0"),
    ("nuxt", 4, "^22.19.0 || ^24.11.0 || >=26.0.0"),
    ("gatsby", 5, ">=18.0.0"),
    ("@docusaurus/core", 3, ">=20.0"),
    ("@react-router/dev", 7, ">=20.0.0"),
    ("fastify", 5, ">=20"),
    ("express", 5, ">=18"),
    // Its native part does not compile against newer versions of Node.
    ("node-sass", 4, "<15"),
    ("node-sass", 6, "<17"),
    ("node-sass", 7, "<18"),
    ("node-sass", 8, "<19"),
];

/// What the direct dependencies and the package manager need.
pub(super) fn needs(asking: &Asking<'_>) -> Vec<Demand> {
    let mut needs = Vec::new();
    if let Some(text) = manager::node_needed(asking.manager)
        && let Some(range) = Range::parse(text)
    {
        let name = format!("{} {}", asking.manager.tool.name(), asking.manager.version.as_deref().unwrap_or_default());
        needs.push(Demand { origin: name, text: text.to_owned(), range });
    }
    let locked = asking.lock.and_then(|lock| lock.facts.as_ref());
    for (name, spec) in &asking.app.dependencies {
        let version = asking.lock.and_then(|lock| lock.version(name));
        let engines = locked.and_then(|facts| facts.engines.get(name)).map(String::as_str);
        let major = version.map(|version| version.major).or_else(|| expected_major(name, spec));
        let table = NEEDS
            .iter()
            .find(|(package, known, _)| package == name && Some(*known) == major)
            .map(|(_, _, text)| *text)
            .filter(|_| engines.is_none() || name == "node-sass");
        // Old packages name the newest Node of their day as the upper end, and run on later ones.
        let engines = engines.map(|text| (text, Range::parse(text).map(Range::open_above)));
        let table = table.map(|text| (text, Range::parse(text)));
        for (text, range) in engines.into_iter().chain(table) {
            if let Some(range) = range.filter(|range| !range.is_empty()) {
                let major = major.map(|major| format!(" {major}")).unwrap_or_default();
                needs.push(Demand { origin: format!("{name}{major}"), text: text.to_owned(), range });
            }
        }
    }
    needs
}

/// The major that an install without a lock file will bring.
pub(crate) fn expected_major(name: &str, spec: &str) -> Option<u64> {
    let newest = || NEEDS.iter().filter(|(package, _, _)| *package == name).map(|(_, major, _)| *major).max();
    let spec = spec.trim().strip_prefix("npm:").unwrap_or(spec.trim());
    match Range::parse(spec) {
        _ if matches!(spec, "latest" | "next" | "*" | "x" | "") => newest(),
        // Open upward: the newest known.
        Some(range) if range.contains(Version::new(FAR, 0, 0)) => {
            newest().filter(|major| range.contains(Version::new(*major, FAR, 0)))
        }
        Some(range) => range.lowest().map(|version| version.major),
        None => lowest_of(spec).map(|version| version.major),
    }
}
