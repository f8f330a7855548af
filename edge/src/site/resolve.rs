//! Which file a path means: clean URLs.
//!
//! One address per page, chosen by how its file lies: `about.html` is `/about`, `about/index.html` is
//! `/about/`, and the other spelling redirects. So relative links in a page work as its author saw them,
//! and search engines find it once. A file's own name (`/about.html`, `/about/index.html`) answers too.

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
    /// Something is at the same path with every run of slashes as one.
    MergeSlashes,
    /// Nothing.
    Missing,
}

const INDEX: &str = "/index.html";
const NOT_FOUND: &str = "/404.html";
const HTML: &str = ".html";

/// Finds what a decoded path means.
pub(crate) fn resolve<'a>(site: &'a Site, path: &str) -> Resolved<'a> {
    if path == "/" {
        return site.file(INDEX).map_or(Resolved::Missing, Resolved::File);
    }
    if let Some(file) = site.file(path) {
        return Resolved::File(file);
    }
    // No file lies below an empty segment, but pages are often linked so, by a base that ends with a slash and a
    // path that begins with one.
    if path.contains("//") {
        return match resolve(site, &merged(path)) {
            Resolved::Missing => Resolved::Missing,
            _ => Resolved::MergeSlashes,
        };
    }
    let (stem, slash) = match path.strip_suffix('/') {
        Some(stem) => (stem, true),
        None => (path, false),
    };
    let mut name = String::with_capacity(stem.len() + INDEX.len());
    name.push_str(stem);
    name.push_str(INDEX);
    let index = site.file(&name);
    if let (true, Some(index)) = (slash, index) {
        return Resolved::File(index);
    }
    name.truncate(stem.len());
    name.push_str(HTML);
    match (site.file(&name), slash) {
        (Some(page), false) => Resolved::File(page),
        (Some(_), true) => Resolved::RemoveSlash,
        (None, false) if index.is_some() => Resolved::AddSlash,
        (None, true) if site.file(stem).is_some() => Resolved::RemoveSlash,
        (None, _) => Resolved::Missing,
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

/// Where the decoded path without its runs of slashes is, as it stands in `Location`.
pub(crate) fn merged_location(path: &str, query: Option<&[u8]>) -> String {
    // What has a meaning of its own in an address, as no byte of a decoded path has.
    let escaped = merged(path).replace('%', "%25").replace('?', "%3F").replace('#', "%23");
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

    fn told(site: &Site, path: &str) -> String {
        match resolve(site, path) {
            Resolved::File(found) => {
                let (path, _) = site.files.iter().find(|(_, asset)| std::ptr::eq(*asset, found)).unwrap();
                path.to_string()
            }
            Resolved::AddSlash => "+".to_owned(),
            Resolved::RemoveSlash => "-".to_owned(),
            Resolved::MergeSlashes => "/".to_owned(),
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
            ("//", "/"),
            ("//docs", "/"),
            ("/docs//", "/"),
            ("/docs///index.html", "/"),
            ("//missing", "none"),
            ("/docs//missing", "none"),
            ("/About", "none"),
        ] {
            assert_eq!(told(&site, path), means, "{path}");
        }
    }

    #[test]
    fn every_redirect_ends_at_a_file() {
        let site = site(&["/index.html", "/a.html", "/a/b.html", "/a/b/index.html", "/c/d/index.html", "/e"]);
        let segments = ["", "a", "b", "c", "d", "e", "index", "index.html"];
        let mut paths = vec![String::new()];
        for _ in 0..4 {
            paths = paths.iter().flat_map(|p| segments.iter().map(move |s| format!("{p}/{s}"))).collect();
            for path in &paths {
                let to = match resolve(&site, path) {
                    Resolved::AddSlash => location(path.as_bytes(), None, true),
                    Resolved::RemoveSlash => location(path.as_bytes(), None, false),
                    Resolved::MergeSlashes => {
                        let to = merged_location(path, None);
                        assert!(!to.contains("//") && !matches!(resolve(&site, &to), Resolved::Missing), "{path}");
                        continue;
                    }
                    Resolved::File(_) | Resolved::Missing => continue,
                };
                assert!(matches!(resolve(&site, &to), Resolved::File(_)), "{path} -> {to}");
                assert!(!to.starts_with("//"), "{path} -> {to}");
            }
        }
    }

    #[test]
    fn a_redirect_keeps_the_query_and_the_spelling() {
        assert_eq!(location(b"/a%20b", Some(b"x=1&y"), true), "/a%20b/?x=1&y");
        assert_eq!(location(b"/a%20b/", None, false), "/a%20b");
        assert_eq!(location(b"/a%2f", Some(b""), false), "/a?");
        assert_eq!(location("/ä".as_bytes(), None, true), "/%C3%A4/");
        assert_eq!(merged_location("//evil.example//a", Some(b"x=//y")), "/evil.example/a?x=//y");
        assert_eq!(merged_location("/a//ä 100%?#", None), "/a/%C3%A4%20100%25%3F%23");
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
