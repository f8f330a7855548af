//! Which Node: what the project says, what its dependencies need, what the host has.

use std::path::Path;

use crate::lockfile::Lock;
use crate::manifest::Manifest;
use crate::plan::{NodeChoice, Notes, PackageManager, Toolchain};
use crate::range::Range;
use crate::refusal::Refusal;
use crate::tree::Tree;
use crate::version::Version;

mod needs;
mod wish;

pub(crate) use needs::expected_major;
use needs::needs;
use wish::explicit;

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
    let host = tools.node;
    let choice = match explicit(asking, notes)? {
        Some(wish) => by_wish(&wish, host, tools.can_fetch, &needs(asking))?,
        None => by_needs(&needs(asking), host, tools.can_fetch, notes),
    };
    notes.info(choice.reason.clone());
    Ok(choice)
}

/// An explicit wish is satisfied or refused.
fn by_wish(wish: &Demand, host: Option<Version>, can_fetch: bool, needs: &[Demand]) -> Result<NodeChoice, Refusal> {
    let because = format!("{} asks for {:?}", wish.origin, wish.text);
    let host_fits = host.filter(|host| wish.range.contains(*host));
    // An open wish such as ">=14" is met by many; the dependencies then have a say.
    let content = |version: Version| needs.iter().all(|need| need.range.contains(version));
    if let Some(host) = host_fits
        && (content(host) || !can_fetch)
    {
        return Ok(on_host(host, &because));
    }
    let available =
        wish.range.intersect(&Range::parse(&format!(">={OLDEST} <{}", NEWEST + 1)).unwrap_or_else(Range::any));
    let majors = majors_for(&available);
    if majors.is_empty() {
        return Err(Refusal::NoSuchNode {
            origin: wish.origin.clone(),
            value: wish.text.clone(),
            oldest: OLDEST,
            newest: NEWEST,
        });
    }
    if !can_fetch {
        let host = match host {
            Some(host) => format!("this host has {}", host),
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

/// No wish: the host's Node when it suits all needs, else the lowest line that does.
fn by_needs(needs: &[Demand], host: Option<Version>, can_fetch: bool, notes: &mut Notes) -> NodeChoice {
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
            host
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

fn on_host(host: Version, because: &str) -> NodeChoice {
    let want = host.to_string();
    NodeChoice { reason: format!("Using the host's Node {want}: {because}."), want, use_host: true }
}

fn fetched(major: u64, range: &Range, because: &str) -> NodeChoice {
    let want = range.to_string();
    let shown = if want.contains(' ') { format!("{major} ({want})") } else { want.clone() };
    NodeChoice { reason: format!("Using Node {shown}: {because}."), want, use_host: false }
}
