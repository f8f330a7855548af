//! Which names are not published.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Dot names that nobody wants published, so that leaving them out is no news.
const SILENT: [&str; 13] = [
    ".git",
    ".github",
    ".gitignore",
    ".gitattributes",
    ".gitkeep",
    ".gitmodules",
    ".DS_Store",
    ".nojekyll",
    ".editorconfig",
    ".vscode",
    ".idea",
    ".npmrc",
    ".cache",
];
/// Rules for the edge, at the top of a site: read, and not published.
const RULES: [&str; 2] = ["_headers", "_redirects"];

/// Why a name is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody would want it.
    Silent,
    /// Holds environment variables, secrets among them.
    Secret,
    /// Another dot name.
    Hidden,
    /// Packages that a package manager installed.
    Installed,
    /// Rules for the edge.
    Rules,
}

/// Why `name` is left out of a folder, if it is. `beside_package`: the folder holds a `package.json`.
pub fn reason(name: &OsStr, at_top: bool, beside_package: bool) -> Option<Reason> {
    if name == "node_modules" {
        return beside_package.then_some(Reason::Installed);
    }
    if at_top && RULES.iter().any(|rules| name == *rules) {
        return Some(Reason::Rules);
    }
    if !is_dot_name(name) {
        None
    } else if name.as_bytes().starts_with(b".env") {
        Some(Reason::Secret)
    } else if SILENT.iter().any(|silent| name == *silent) {
        Some(Reason::Silent)
    } else {
        Some(Reason::Hidden)
    }
}

/// Whether a link to this path would publish what is left out on purpose. A link into `node_modules` is
/// how a page without a build takes a single file from a package, so that is none.
pub fn hides(target: &Path) -> bool {
    target.iter().take_while(|name| *name != "node_modules").any(is_dot_name)
}

fn is_dot_name(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".") && name != ".well-known"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_leftovers_stay_out_and_well_known_goes_in() {
        let top = |name: &str| reason(OsStr::new(name), true, false);
        assert_eq!(top(".git"), Some(Reason::Silent));
        assert_eq!([top(".env"), top(".env.local")], [Some(Reason::Secret); 2]);
        assert_eq!(top(".htaccess"), Some(Reason::Hidden));
        assert_eq!(top("_redirects"), Some(Reason::Rules));
        assert_eq!([top(".well-known"), top("index.html"), top("CNAME"), top("_next")], [None; 4]);
        assert_eq!(reason(OsStr::new("_redirects"), false, false), None);
    }

    #[test]
    fn only_an_installation_is_taken_for_one() {
        assert_eq!(reason(OsStr::new("node_modules"), true, true), Some(Reason::Installed));
        assert_eq!(reason(OsStr::new("node_modules"), false, false), None);
    }

    #[test]
    fn a_link_to_what_is_left_out_is_seen_through() {
        assert!(hides(Path::new(".env")));
        assert!(hides(Path::new("a/.git/config")));
        assert!(!hides(Path::new(".well-known/x")));
        assert!(!hides(Path::new("node_modules/.pnpm/a@1/node_modules/a/a.css")));
    }
}
