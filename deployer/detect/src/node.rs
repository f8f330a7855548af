//! Which Node: what the project says, what its dependencies need, what the host has.

use std::path::Path;

use crate::lockfile::Lock;
use crate::manager;
use crate::manifest::Manifest;
use crate::plan::{NodeChoice, Notes, PackageManager, Toolchain};
use crate::range::{Range, Triple, lowest_of};
use crate::refusal::Refusal;
use crate::tree::{Tree, show};

/// Oldest major that the registry has as a package.
pub(crate) const OLDEST: u64 = 4;
/// Newest major known.
pub(crate) const NEWEST: u64 = 26;
/// Taken when the host has no Node and the project does not say: the line that most tools support.
const DEFAULT: u64 = 22;
/// Majors tried when dependencies decide, best first: lines with long-term support, lowest first,
/// then the old ones that only old native modules need.
const PREFERRED: [u64; 9] = [18, 20, 22, 24, 26, 16, 14, 12, 10];
/// From this major on OpenSSL 3 lacks the hashes that old bundlers use.
pub(crate) const OPENSSL_3_FROM: u64 = 17;
/// Names of the long-term support lines.
const CODENAMES: [(&str, u64); 11] = [
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];
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

/// A wish or a need, and where it comes from.
struct Demand {
    origin: String,
    text: String,
    range: Range,
}

/// What the choice is made from.
pub(crate) struct Asking<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) app_dir: &'a Path,
    pub(crate) app: &'a Manifest,
    pub(crate) root: Option<&'a Manifest>,
    pub(crate) lock: Option<&'a Lock>,
    pub(crate) manager: &'a PackageManager,
}

/// Chooses a Node and tells why in a note.
pub(crate) fn choose(asking: &Asking<'_>, tools: &Toolchain, notes: &mut Notes) -> Result<NodeChoice, Refusal> {
    let host = tools.node.as_ref().map(|version| (version.major, version.minor, version.patch));
    let choice = match explicit(asking, notes)? {
        Some(wish) => by_wish(&wish, host, tools.can_fetch, &needs(asking))?,
        None => by_needs(&needs(asking), host, tools.can_fetch, notes),
    };
    notes.info(choice.reason.clone());
    Ok(choice)
}

/// What the project says: a pin file or volta, and `engines.node`.
fn explicit(asking: &Asking<'_>, notes: &mut Notes) -> Result<Option<Demand>, Refusal> {
    let manifests = || std::iter::once(asking.app).chain(asking.root);
    let mut pin = pin_file(asking.tree, asking.app_dir)?;
    if pin.is_none() {
        for manifest in manifests() {
            if let Some(text) = manifest.text_in("volta", "node") {
                pin = Some(demand(format!("volta.node in {}", manifest.path), text)?);
                break;
            }
        }
    }
    let mut engines = None;
    for manifest in manifests() {
        if let Some(text) = manifest.text_in("engines", "node") {
            engines = Some(demand(format!("engines.node in {}", manifest.path), text)?);
            break;
        }
    }
    Ok(match (pin, engines) {
        (Some(pin), Some(engines)) => {
            let both = pin.range.intersect(&engines.range);
            if both.is_empty() {
                notes.warn(format!(
                    "{} asks for Node {:?} and {} for {:?}, which contradict each other: {} is ignored. Make them agree.",
                    pin.origin, pin.text, engines.origin, engines.text, pin.origin
                ));
                Some(engines)
            } else {
                Some(Demand { range: both, ..pin })
            }
        }
        (pin, engines) => pin.or(engines),
    })
}

/// The nearest .nvmrc, .node-version or .tool-versions at or above the app.
fn pin_file(tree: &Tree, app_dir: &Path) -> Result<Option<Demand>, Refusal> {
    for dir in app_dir.ancestors() {
        for name in [".nvmrc", ".node-version", ".tool-versions"] {
            let path = dir.join(name);
            let Some(text) = tree.hint(&path) else { continue };
            let mut lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
            let wish = if name == ".tool-versions" {
                lines.find_map(|line| line.strip_prefix("nodejs ").or_else(|| line.strip_prefix("node ")))
            } else {
                lines.find(|line| !line.is_empty())
            };
            if let Some(wish) = wish {
                return demand(show(&path), wish.trim()).map(Some);
            }
        }
    }
    Ok(None)
}

fn demand(origin: String, text: &str) -> Result<Demand, Refusal> {
    let Some(range) = understand(text) else {
        return Err(Refusal::BadNodeVersion { origin, value: text.chars().take(100).collect() });
    };
    Ok(Demand { origin, text: text.to_owned(), range })
}

/// Ranges, and nvm's aliases.
fn understand(text: &str) -> Option<Range> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_prefix("node@").unwrap_or(&lower);
    match lower {
        "node" | "latest" | "current" | "stable" | "system" | "default" => return Some(Range::any()),
        // Lines that are old by now are no answer to "the LTS".
        "lts/*" | "lts" | "--lts" | "lts/-1" => return Some(Range::majors(&[22, 24, 20])),
        _ => {}
    }
    if let Some(name) = lower.strip_prefix("lts/").or_else(|| lower.strip_prefix("lts-")) {
        return CODENAMES.iter().find(|(codename, _)| *codename == name).map(|(_, major)| Range::major(*major));
    }
    if let Some((_, major)) = CODENAMES.iter().find(|(codename, _)| *codename == lower) {
        return Some(Range::major(*major));
    }
    Range::parse(lower.strip_prefix("node ").unwrap_or(lower))
}

/// An explicit wish is satisfied or refused.
fn by_wish(wish: &Demand, host: Option<Triple>, can_fetch: bool, needs: &[Demand]) -> Result<NodeChoice, Refusal> {
    let because = format!("{} asks for {:?}", wish.origin, wish.text);
    let host_fits = host.filter(|host| wish.range.contains(*host));
    // An open wish such as ">=14" is met by many; the dependencies then have a say.
    let content = |version: Triple| needs.iter().all(|need| need.range.contains(version));
    if let Some(host) = host_fits
        && (content(host) || !can_fetch)
    {
        return Ok(on_host(host, &because));
    }
    let available = wish.range.intersect(&Range::parse(&format!(">={OLDEST} <{}", NEWEST + 1)).unwrap_or_else(Range::any));
    let majors = majors_for(&available);
    if majors.is_empty() {
        return Err(Refusal::NoSuchNode { origin: wish.origin.clone(), value: wish.text.clone(), oldest: OLDEST, newest: NEWEST });
    }
    if !can_fetch {
        let host = match host {
            Some(host) => format!("this host has {}", dotted(host)),
            None => "this host has none".to_owned(),
        };
        return Err(Refusal::NodeUnavailable { origin: wish.origin.clone(), value: wish.text.clone(), host });
    }
    let all = |major: &u64| {
        needs.iter().try_fold(available.intersect(&Range::major(*major)), |range, need| {
            let both = range.intersect(&need.range);
            (!both.is_empty()).then_some(both)
        })
    };
    if let Some((major, range)) = majors.iter().find_map(|major| Some((*major, all(major)?))) {
        return Ok(fetched(major, &range, &because));
    }
    if let Some(host) = host_fits {
        return Ok(on_host(host, &because));
    }
    let major = majors[0];
    Ok(fetched(major, &available.intersect(&Range::major(major)), &because))
}

/// Majors in which the range has versions: the default first, then the long-term support lines from
/// 18 upward, then all others from the newest down.
fn majors_for(range: &Range) -> Vec<u64> {
    let mut order = vec![DEFAULT];
    order.extend((18..=NEWEST).filter(|major| major % 2 == 0));
    order.extend((OLDEST..=NEWEST).rev());
    let mut majors = Vec::new();
    for major in order {
        if !majors.contains(&major) && !range.intersect(&Range::major(major)).is_empty() {
            majors.push(major);
        }
    }
    majors
}

/// What the direct dependencies and the package manager need.
fn needs(asking: &Asking<'_>) -> Vec<Demand> {
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
        let major = version.map(|(major, _, _)| major).or_else(|| expected_major(name, spec));
        let table = NEEDS
            .iter()
            .find(|(package, known, _)| package == name && Some(*known) == major)
            .map(|(_, _, text)| *text)
            .filter(|_| engines.is_none() || name == "node-sass");
        for text in engines.into_iter().chain(table) {
            if let Some(range) = Range::parse(text).filter(|range| !range.is_empty()) {
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
        Some(range) if range.contains((9_999, 0, 0)) => newest().filter(|major| range.contains((*major, 9_999, 0))),
        Some(range) => range.lowest().map(|(major, _, _)| major),
        None => lowest_of(spec).map(|(major, _, _)| major),
    }
}

/// No wish: the host's Node when it suits all needs, else the lowest line that does.
fn by_needs(needs: &[Demand], host: Option<Triple>, can_fetch: bool, notes: &mut Notes) -> NodeChoice {
    let Some(unhappy) = (match host {
        Some(host) => needs.iter().find(|need| !need.range.contains(host)),
        None => None,
    }) else {
        if let Some(host) = host {
            return on_host(host, "the project does not ask for a version and its dependencies are content with it");
        }
        // The default, unless the dependencies need another.
        let (major, range) = best_line(needs, std::iter::once(DEFAULT).chain(PREFERRED), None);
        return fetched(major, &range, "the project does not ask for a version and this host has none");
    };
    let because = format!("{} needs {:?}", unhappy.origin, unhappy.text);
    let host = host.unwrap_or_default();
    if !can_fetch {
        notes.warn(format!(
            "{because}, but this host has Node {} and is set up not to fetch others: trying with that.",
            dotted(host)
        ));
        return on_host(host, "no other version can be had here");
    }
    let satisfied = needs.iter().filter(|need| need.range.contains(host)).count();
    let (major, range) = best_line(needs, PREFERRED.into_iter(), Some(satisfied));
    if range.is_empty() {
        notes.warn(format!("{because}, but no version of Node suits all dependencies: staying with the host's."));
        return on_host(host, "no other version suits the dependencies better");
    }
    fetched(major, &range, &because)
}

/// The first major that satisfies all needs, else the one that satisfies most. With `beat`, the range
/// is empty unless more needs are met than that.
fn best_line(needs: &[Demand], majors: impl Iterator<Item = u64>, beat: Option<usize>) -> (u64, Range) {
    let mut best: Option<(usize, u64, Range)> = None;
    for major in majors {
        let mut range = Range::major(major);
        let mut met = 0;
        for need in needs {
            let both = range.intersect(&need.range);
            if !both.is_empty() {
                range = both;
                met += 1;
            }
        }
        if best.as_ref().is_none_or(|(most, _, _)| met > *most) {
            best = Some((met, major, range));
        }
    }
    match best {
        Some((met, major, range)) if beat.is_none_or(|beat| met > beat) => (major, range),
        Some((_, major, _)) => (major, Range::major(major).intersect(&Range::major(major + 1))),
        None => (DEFAULT, Range::major(DEFAULT)),
    }
}

fn on_host(host: Triple, because: &str) -> NodeChoice {
    let want = dotted(host);
    NodeChoice { reason: format!("Using the host's Node {want}: {because}."), want, use_host: true }
}

fn fetched(major: u64, range: &Range, because: &str) -> NodeChoice {
    let want = range.to_string();
    let shown = if want.contains(' ') { format!("{major} ({want})") } else { want.clone() };
    NodeChoice { reason: format!("Using Node {shown}: {because}."), want, use_host: false }
}

fn dotted((major, minor, patch): Triple) -> String {
    format!("{major}.{minor}.{patch}")
}
