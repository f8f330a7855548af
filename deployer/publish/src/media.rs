//! Which media type a file is served with.

use crate::digest::Digest;

/// Where the general table is wrong, dated or silent. JavaScript's type is RFC 9239's; a `.ts` on a
/// website is a piece of video (HLS), not source text.
const OVERRIDES: [(&str, &str); 16] = [
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("cjs", "text/javascript"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("wasm", "application/wasm"),
    ("svg", "image/svg+xml"),
    ("md", "text/markdown"),
    ("avif", "image/avif"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ico", "image/x-icon"),
    ("ts", "video/mp2t"),
    ("gltf", "model/gltf+json"),
    ("glb", "model/gltf-binary"),
];
/// Types outside `text/*` that are neither JSON nor XML by their suffix and compress well.
const COMPRESSIBLE: [&str; 14] = [
    "application/json",
    "application/xml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-font-opentype",
    "application/rtf",
    "font/ttf",
    "font/otf",
    "font/sfnt",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
    "model/gltf-binary",
];
const UNKNOWN: &str = "application/octet-stream";

/// The type, by extension. A file without one is text when it reads as text; `.well-known` resources
/// without one are often JSON, which their clients insist on.
///
/// `text/*` says UTF-8 only when the content is: a page in another encoding names it in its own head,
/// which a charset of ours would overrule.
pub fn content_type(path: &str, digest: &Digest) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let essence = match name.rsplit_once('.') {
        Some((_, extension)) => by_extension(&extension.to_ascii_lowercase()),
        None if !digest.text => UNKNOWN,
        None if digest.json && is_well_known(path) => "application/json",
        None => "text/plain",
    };
    if essence.starts_with("text/") && digest.text { format!("{essence}; charset=utf-8") } else { essence.to_owned() }
}

fn by_extension(extension: &str) -> &'static str {
    let overridden = OVERRIDES.iter().find(|(e, _)| *e == extension).map(|(_, t)| *t);
    overridden.or_else(|| mime_guess::from_ext(extension).first_raw()).unwrap_or(UNKNOWN)
}

/// Apple looks for its file at the top, too.
fn is_well_known(path: &str) -> bool {
    path.starts_with("/.well-known/") || path == "/apple-app-site-association"
}

/// Whether content of this type is worth compressing; whatever reads as text is, besides.
pub fn is_compressible(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or(content_type);
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || COMPRESSIBLE.contains(&essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: bool, json: bool) -> Digest {
        Digest { hash: String::new(), text, json }
    }

    #[test]
    fn types_are_what_browsers_expect() {
        for (path, wanted) in [
            ("/index.html", "text/html; charset=utf-8"),
            ("/a/B.HTML", "text/html; charset=utf-8"),
            ("/style.css", "text/css; charset=utf-8"),
            ("/app.3f2a9c1b.js", "text/javascript; charset=utf-8"),
            ("/app.mjs", "text/javascript; charset=utf-8"),
            ("/app.js.map", "application/json"),
            ("/data.json", "application/json"),
            ("/site.webmanifest", "application/manifest+json"),
            ("/robots.txt", "text/plain; charset=utf-8"),
            ("/README.md", "text/markdown; charset=utf-8"),
            ("/sitemap.xml", "text/xml; charset=utf-8"),
            ("/logo.svg", "image/svg+xml"),
            ("/CNAME", "text/plain; charset=utf-8"),
            ("/data.unheardof", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path, &digest(true, false)), wanted, "{path}");
        }
        for (path, wanted) in [
            ("/x.wasm", "application/wasm"),
            ("/x.avif", "image/avif"),
            ("/x.webp", "image/webp"),
            ("/x.woff2", "font/woff2"),
            ("/x.png", "image/png"),
            ("/favicon.ico", "image/x-icon"),
            ("/x.mp4", "video/mp4"),
            ("/x.pdf", "application/pdf"),
            ("/binary", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path, &digest(false, false)), wanted, "{path}");
        }
    }

    #[test]
    fn a_page_in_another_encoding_keeps_its_own_word() {
        assert_eq!(content_type("/old.html", &digest(false, false)), "text/html");
    }

    #[test]
    fn well_known_resources_without_extension_are_json_when_they_are() {
        let json = digest(true, true);
        assert_eq!(content_type("/.well-known/apple-app-site-association", &json), "application/json");
        assert_eq!(content_type("/apple-app-site-association", &json), "application/json");
        assert_eq!(content_type("/.well-known/acme-challenge/x", &digest(true, false)), "text/plain; charset=utf-8");
        assert_eq!(content_type("/other", &json), "text/plain; charset=utf-8");
    }

    #[test]
    fn what_is_compressed_already_is_left_alone() {
        for yes in ["text/html; charset=utf-8", "image/svg+xml", "application/wasm", "font/ttf", "application/ld+json"]
        {
            assert!(is_compressible(yes), "{yes}");
        }
        for no in ["image/png", "font/woff2", "video/mp4", "application/zip", UNKNOWN] {
            assert!(!is_compressible(no), "{no}");
        }
    }
}
