//! Which file a path means: clean URLs.
//!
//! One address per page, and the other spellings redirect to it, so that search engines find it once. Which one that
//! is, the project's [`TrailingSlash`] says. By default it is as the file lies: `about.html` is `/about`,
//! `about/index.html` is `/about/`, so that relative links in a page work as its author saw them; a file's own
//! name (`/about.html`, `/about/index.html`) answers too. With `always` and `never` those redirect as well, unless
//! the clean address is another page's: no file is out of reach.

use common::policy::TrailingSlash;

use super::{Asset, Site, path};

/// What a path means.
#[derive(Debug)]
pub(crate) enum Resolved<'a> {
    /// This file.
    File(&'a Asset),
    /// The page is at the same path with a slash added to its end.
    AddSlash,
    /// The page is at the same path without the slash at its end.
    RemoveSlash,
    /// The page is at this path.
    Moved(String),
    /// Nothing.
    Missing,
}

const INDEX: &str = "/index.html";
const NOT_FOUND: &str = "/404.html";
const HTML: &str = ".html";

/// Finds what a decoded path means.
pub(crate) fn resolve<'a>(site: &'a Site, path: &str, slash: TrailingSlash) -> Resolved<'a> {
    if path == "/" {
        return site.file(INDEX).map_or(Resolved::Missing, Resolved::File);
    }
    if let Some(file) = site.file(path) {
        return clean(site, path, file, slash).map_or(Resolved::File(file), Resolved::Moved);
    }
    // No file lies below an empty segment, but pages are often linked so, by a base that ends with a slash and a
    // path that begins with one.
    if path.contains("//") {
        let merged = merged(path);
        return match resolve(site, &merged, slash) {
            Resolved::Missing => Resolved::Missing,
            _ => Resolved::Moved(merged),
        };
    }
    let (stem, has_slash) = match path.strip_suffix('/') {
        Some(stem) => (stem, true),
        None => (path, false),
    };
    let mut name = String::with_capacity(stem.len() + INDEX.len());
    name.push_str(stem);
    name.push_str(INDEX);
    let index = site.file(&name);
    name.truncate(stem.len());
    name.push_str(HTML);
    let page = site.file(&name);
    if let (Some(page), None) = (page, index)
        && stem.ends_with("/index")
        && let Some(clean) = clean(site, &name, page, slash)
    {
        return Resolved::Moved(clean);
    }
    match (slash, index, page) {
        (TrailingSlash::Auto, Some(index), _) if has_slash => Resolved::File(index),
        (TrailingSlash::Auto, _, Some(page)) if !has_slash => Resolved::File(page),
        (TrailingSlash::Auto, _, Some(_)) => Resolved::RemoveSlash,
        (TrailingSlash::Auto, Some(_), None) => Resolved::AddSlash,

        (TrailingSlash::Always, Some(file), _) | (TrailingSlash::Always, None, Some(file)) => {
            if has_slash {
                Resolved::File(file)
            } else {
                Resolved::AddSlash
            }
        }
        (TrailingSlash::Never, _, Some(file)) | (TrailingSlash::Never, Some(file), None) => {
            if has_slash {
                Resolved::RemoveSlash
            } else {
                Resolved::File(file)
            }
        }
        (TrailingSlash::Ignore, Some(index), Some(page)) => Resolved::File(if has_slash { index } else { page }),
        (TrailingSlash::Ignore, Some(file), None) | (TrailingSlash::Ignore, None, Some(file)) => Resolved::File(file),

        (_, None, None) => match site.file(stem) {
            Some(file) if slash == TrailingSlash::Ignore => Resolved::File(file),
            Some(_) => Resolved::RemoveSlash,
            None => Resolved::Missing,
        },
    }
}

/// The clean address of the page that lies at `path`, when it is to be used instead and shows this page.
fn clean(site: &Site, path: &str, file: &Asset, slash: TrailingSlash) -> Option<String> {
    let add = match slash {
        TrailingSlash::Always => true,
        TrailingSlash::Never => false,
        TrailingSlash::Auto | TrailingSlash::Ignore => return None,
    };
    let stem = path.strip_suffix(INDEX).or_else(|| path.strip_suffix(HTML))?;
    let clean = if add || stem.is_empty() { [stem, "/"].concat() } else { stem.to_owned() };
    match resolve(site, &clean, slash) {
        Resolved::File(found) if std::ptr::eq(found, file) => Some(clean),
        _ => None,
    }
}

/// The file that a path means in whichever spelling, for rules that show one.
pub(crate) fn find<'a>(site: &'a Site, path: &str) -> Option<&'a Asset> {
    match resolve(site, path, TrailingSlash::Ignore) {
        Resolved::File(file) => Some(file),
        _ => None,
    }
}

/// A path with every run of slashes as one: what begins with one slash never leads to another host.
fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}

/// The page that says that a path does not exist: the nearest `404.html` up the tree.
pub(crate) fn not_found_page<'a>(site: &'a Site, path: &str) -> Option<&'a Asset> {
    let mut folder = path;
    while let Some(end) = folder.rfind('/') {
        folder = &folder[..end];
        if let Some(page) = site.file(&[folder, NOT_FOUND].concat()) {
            return Some(page);
        }
    }
    None
}

/// The page of an app that routes in the browser, for paths that a person may go to.
pub(crate) fn app_page<'a>(site: &'a Site, path: &str) -> Option<&'a Asset> {
    if !site.single_page || path::has_extension(path) {
        return None;
    }
    site.file(INDEX)
}

/// Where a path's page is, as it stands in `Location`. `raw` and `query` are as the visitor sent them.
pub(crate) fn location(raw: &[u8], query: Option<&[u8]>, add: bool) -> String {
    // A slash at the end may have come as `%2F`.
    let path = match raw.strip_suffix(b"/") {
        _ if add => raw,
        Some(path) => path,
        None => &raw[..raw.len().saturating_sub(3)],
    };
    written(&[path, if add { b"/" } else { b"" }], query)
}

/// A decoded path as it stands in `Location`.
pub(crate) fn moved_location(path: &str, query: Option<&[u8]>) -> String {
    // What has a meaning of its own in an address, as no byte of a decoded path has.
    let escaped = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    written(&[escaped.as_bytes()], query)
}

fn written(path: &[&[u8]], query: Option<&[u8]>) -> String {
    let (question, query) = query.map_or((&b""[..], &b""[..]), |q| (b"?", q));
    let mut to = String::with_capacity(path.iter().map(|p| p.len()).sum::<usize>() + query.len() + 1);
    for byte in path.iter().copied().chain([question, query]).flatten() {
        match byte {
            b'!'..=b'~' => to.push(char::from(*byte)),
            _ => to.push_str(&format!("%{byte:02X}")),
        }
    }
    to
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::site;
    use super::*;

    use TrailingSlash::{Always, Auto, Ignore, Never};

    fn told(site: &Site, path: &str) -> String {
        told_by(site, path, Auto)
    }

    fn told_by(site: &Site, path: &str, slash: TrailingSlash) -> String {
        match resolve(site, path, slash) {
            Resolved::File(found) => {
                let (path, _) = site.files.iter().find(|(_, asset)| std::ptr::eq(*asset, found)).unwrap();
                path.to_string()
            }
            Resolved::AddSlash => "+".to_owned(),
            Resolved::RemoveSlash => "-".to_owned(),
            Resolved::Moved(to) => format!("> {to}"),
            Resolved::Missing => "none".to_owned(),
        }
    }

    #[test]
    fn clean_urls_mean_one_file_each() {
        let site = site(&[
            "/index.html",
            "/about.html",
            "/docs/index.html",
            "/both.html",
            "/both/index.html",
            "/plain",
            "/app.js",
            "/v1.2/index.html",
        ]);
        for (path, means) in [
            ("/", "/index.html"),
            ("/index.html", "/index.html"),
            ("/index", "/index.html"),
            ("/about", "/about.html"),
            ("/about.html", "/about.html"),
            ("/about/", "-"),
            ("/docs", "+"),
            ("/docs/", "/docs/index.html"),
            ("/docs/index.html", "/docs/index.html"),
            ("/docs/index", "/docs/index.html"),
            ("/both", "/both.html"),
            ("/both/", "/both/index.html"),
            ("/plain", "/plain"),
            ("/plain/", "-"),
            ("/app.js", "/app.js"),
            ("/app.js/", "-"),
            ("/v1.2", "+"),
            ("/missing", "none"),
            ("/missing/", "none"),
            ("//", "> /"),
            ("//docs", "> /docs"),
            ("/docs//", "> /docs/"),
            ("/docs///index.html", "> /docs/index.html"),
            ("//missing", "none"),
            ("/docs//missing", "none"),
            ("/About", "none"),
        ] {
            assert_eq!(told(&site, path), means, "{path}");
        }
    }

    #[test]
    fn every_redirect_ends_at_a_file_and_every_file_is_within_reach() {
        let files =
            ["/index.html", "/a.html", "/a/b.html", "/a/b/index.html", "/c/d/index.html", "/e", "/index/index.html"];
        let site = site(&files);
        let segments = ["", "a", "b", "c", "d", "e", "index", "index.html"];
        for slash in [Auto, Always, Never, Ignore] {
            let mut reached = std::collections::BTreeSet::new();
            let mut paths = vec![String::new()];
            for _ in 0..4 {
                paths = paths.iter().flat_map(|p| segments.iter().map(move |s| format!("{p}/{s}"))).collect();
                for path in &paths {
                    let to = match resolve(&site, path, slash) {
                        Resolved::AddSlash => location(path.as_bytes(), None, true),
                        Resolved::RemoveSlash => location(path.as_bytes(), None, false),
                        Resolved::Moved(to) => to,
                        Resolved::File(_) => {
                            reached.insert(told_by(&site, path, slash));
                            continue;
                        }
                        Resolved::Missing => continue,
                    };
                    assert!(!to.starts_with("//") && to != *path, "{path} -> {to}");
                    let ends = std::iter::successors(Some(to.clone()), |to| match resolve(&site, to, slash) {
                        Resolved::AddSlash => Some(format!("{to}/")),
                        Resolved::RemoveSlash => Some(to[..to.len() - 1].to_owned()),
                        Resolved::Moved(to) => Some(to),
                        Resolved::File(_) | Resolved::Missing => None,
                    });
                    let ends: Vec<String> = ends.take(4).collect();
                    assert!(ends.len() <= 3, "{slash:?} {path} -> {ends:?}");
                    let last = ends.last().unwrap();
                    assert!(matches!(resolve(&site, last, slash), Resolved::File(_)), "{slash:?} {path} -> {ends:?}");
                }
            }
            // With a slash at every end, a page and a folder of the same name have one address, which is the folder's.
            let hidden = usize::from(slash == Always);
            assert_eq!(reached.len(), files.len() - hidden, "{slash:?}: {reached:?}");
        }
    }

    #[test]
    fn a_rule_finds_a_file_in_every_spelling() {
        let site = site(&["/index.html", "/a.html", "/c/index.html", "/e"]);
        for (path, file) in [
            ("/", Some("/index.html")),
            ("/a", Some("/a.html")),
            ("/a/", Some("/a.html")),
            ("/a.html", Some("/a.html")),
            ("/c", Some("/c/index.html")),
            ("/e/", Some("/e")),
            ("/x", None),
        ] {
            let file = file.map(|f| std::ptr::from_ref(site.file(f).unwrap()));
            assert_eq!(find(&site, path).map(std::ptr::from_ref), file, "{path}");
        }
    }

    #[test]
    fn a_redirect_keeps_the_query_and_the_spelling() {
        assert_eq!(location(b"/a%20b", Some(b"x=1&y"), true), "/a%20b/?x=1&y");
        assert_eq!(location(b"/a%20b/", None, false), "/a%20b");
        assert_eq!(location(b"/a%2f", Some(b""), false), "/a?");
        assert_eq!(location("/ä".as_bytes(), None, true), "/%C3%A4/");
        assert_eq!(moved_location(&merged("//evil.example//a"), Some(b"x=//y")), "/evil.example/a?x=//y");
        assert_eq!(moved_location("/a/ä 100%?#", None), "/a/%C3%A4%20100%25%3F%23");
    }

    #[test]
    fn the_nearest_404_page_is_taken() {
        let site = site(&["/404.html", "/docs/404.html"]);
        let is = |path: &str, page: &str| std::ptr::eq(not_found_page(&site, path).unwrap(), site.file(page).unwrap());
        assert!(is("/x", "/404.html"));
        assert!(is("/x/y/z", "/404.html"));
        assert!(is("/docs/x", "/docs/404.html"));
        assert!(is("/docs/a/b/", "/docs/404.html"));
        assert!(is("/docs", "/404.html"));
        assert!(not_found_page(&super::super::tests::site(&["/a/404.html"]), "/b").is_none());
    }
}
