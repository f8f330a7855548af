//! The immutable list of a static deployment's files, and the keys under which its bytes lie.
//!
//! Bytes are content-addressed: `blobs/<first two hex digits>/<hash>`, with precompressed variants
//! beside them (`….br`, `….zst`, `….gz`). Writers store the variants first and the blob itself last,
//! so that a blob that exists has all its variants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::DeploymentId;
use crate::site_rules::{HeaderRule, Login, Redirect};

/// Version of the manifest's form.
pub const VERSION: u32 = 1;

/// Every file of one static deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Form of this document, [`VERSION`].
    pub version: u32,
    /// Files by path. A path begins with `/`, is in NFC, and is not percent-encoded.
    pub files: BTreeMap<String, File>,
    /// Whether unknown paths that a person navigates to get `/index.html` (client-side routing).
    pub single_page: bool,
    /// Redirects and rewrites, in order: of those that fit, the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Redirect>,
    /// Changes to the fields of answers, in order: all that fit count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderRule>,
    /// Who may see what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logins: Vec<Login>,
}

impl Manifest {
    /// A manifest of these files, without any rule.
    #[must_use]
    pub const fn of(files: BTreeMap<String, File>) -> Self {
        Self {
            version: VERSION,
            files,
            single_page: false,
            redirects: Vec::new(),
            headers: Vec::new(),
            logins: Vec::new(),
        }
    }
}

/// One file of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// BLAKE3 of the content, 64 hex digits.
    pub hash: String,
    /// Content's size in bytes.
    pub size: u64,
    /// Media type with charset where it has one.
    pub content_type: String,
    /// Precompressed forms that are smaller than the content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Whether the name carries a fingerprint of the content, so that it may be cached for ever.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fingerprinted: bool,
}

/// A precompressed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// How it is compressed.
    pub encoding: Encoding,
    /// Compressed size in bytes.
    pub size: u64,
}

/// A content coding (RFC 9110 section 8.4.1; `zstd` RFC 8878, `br` RFC 7932).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Brotli.
    Br,
    /// Zstandard.
    Zstd,
    /// gzip.
    Gzip,
}

impl Encoding {
    /// All of them, in the order in which the edge prefers them when sizes are equal.
    pub const ALL: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];

    /// The token of `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zst",
            Self::Gzip => "gz",
        }
    }
}

/// Key of a deployment's manifest.
#[must_use]
pub fn manifest_key(deployment: &DeploymentId) -> String {
    format!("manifests/{deployment}.json")
}

/// Key of the content with this hash, or of one of its precompressed variants.
#[must_use]
pub fn blob_key(hash: &str, encoding: Option<Encoding>) -> String {
    let shard = hash.get(..2).unwrap_or(hash);
    match encoding {
        None => format!("blobs/{shard}/{hash}"),
        Some(e) => format!("blobs/{shard}/{hash}.{}", e.suffix()),
    }
}

/// Whether a path's last segment carries a content fingerprint, as bundlers write them: `app.3f2a9c1b.js`,
/// `index-DkT2a_9x.css`, `main-ABCDEFGH.js`, or any file below Next's, Nuxt's, SvelteKit's and Astro's
/// folders of hashed assets.
#[must_use]
pub fn is_fingerprinted(path: &str) -> bool {
    const HASHED_FOLDERS: [&str; 4] = ["/_next/static/", "/_nuxt/", "/_app/immutable/", "/_astro/"];
    if HASHED_FOLDERS.iter().any(|f| path.contains(f)) {
        return true;
    }
    let Some((stem, extension)) = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    if matches!(extension, "html" | "htm" | "json" | "xml" | "txt") {
        return false;
    }
    let stem = stem.strip_suffix(".chunk").unwrap_or(stem);
    // `app.3f2a9c1b.min.css.map` carries its fingerprint in an inner part.
    stem.split(['.', '-']).skip(1).any(looks_like_hash)
        || stem.rsplit_once('-').is_some_and(|(_, t)| looks_like_hash(t))
}

/// Eight to 64 characters of a hash: hexadecimal with a digit, or the base64url of Vite and esbuild
/// with mixed classes (which an English word or a version number lacks).
fn looks_like_hash(text: &str) -> bool {
    if !(8..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return false;
    }
    let digit = text.bytes().any(|b| b.is_ascii_digit());
    let upper = text.bytes().filter(u8::is_ascii_uppercase).count();
    let lower = text.bytes().filter(u8::is_ascii_lowercase).count();
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    let date = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    // esbuild's base 32 is upper case; a word in capitals of exactly eight letters is taken for one.
    let base32 = text.len() == 8 && lower == 0;
    !date
        && ((hex && digit)
            || (upper > 1 && lower > 0)
            || (upper > 0 && digit && lower > 0)
            || base32
            || (text.len() == 8 && digit && lower > 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundlers_names_are_fingerprinted_and_plain_names_are_not() {
        for yes in [
            "/assets/index-DkT2a_9x.js",
            "/static/js/main.3f2a9c1b.js",
            "/static/js/787.28cb0dcd.chunk.js",
            "/main-ABCDEFGH.js",
            "/polyfills-5CFQRCPP.js",
            "/chunk-2XYZ7ABC.js",
            "/_app/immutable/nodes/0.js",
            "/_astro/hoisted.css",
            "/css/app.fb0c6e1c.css",
            "/static/css/main.f855e6bc.css.map",
        ] {
            assert!(is_fingerprinted(yes), "{yes}");
        }
        for no in [
            "/index.html",
            "/js/script.js",
            "/style.css",
            "/assets/images/avatar-1.png",
            "/jquery-3.7.1.min.js",
            "/report-20240101.pdf",
            "/my-portfolio.css",
            "/favicon.ico",
            "/asset-manifest.json",
            "/about-3f2a9c1b.html",
        ] {
            assert!(!is_fingerprinted(no), "{no}");
        }
    }
}
