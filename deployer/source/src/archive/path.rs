//! The names of a ZIP's entries and the targets of its links, as paths that stay inside.

/// Bytes of a path, at most: what object stores allow for a key.
const PATH_BYTES: usize = 1024;
/// Bytes of one part of a path, at most: what file systems allow.
const PART_BYTES: usize = 255;
/// Folders within each other, at most. Real projects have a dozen.
const DEPTH: usize = 64;
/// Bytes of a link's target, at most.
pub(super) const TARGET_BYTES: u64 = PATH_BYTES as u64;

/// Where an entry belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A relative path of normal parts only.
    pub(super) path: String,
    /// Whether the name says that it is a folder.
    pub(super) folder: bool,
}

/// The place of the entry `name`; none when it is the root itself. `windows` tells that the archive was made where
/// `\` separates folders: some tools there leave it in. The error says what the name is or has.
pub(super) fn place(name: &str, windows: bool) -> Result<Option<Place>, &'static str> {
    let name = match name.contains('\\') {
        true if windows => &name.replace('\\', "/"),
        true => return Err("has a backslash, which separates folders on some systems"),
        false => name,
    };
    if name.contains('\0') {
        return Err("has a NUL character");
    }
    if name.starts_with('/') {
        return Err("is an absolute path");
    }
    if let [letter, b':', rest @ ..] = name.as_bytes()
        && letter.is_ascii_alphabetic()
        && (windows || matches!(rest, [] | [b'/', ..]))
    {
        return Err("begins with a drive letter");
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err("leads out of its folder with `..`");
    }
    if parts.iter().any(|part| part.len() > PART_BYTES) {
        return Err("has a part of more than 255 bytes");
    }
    if parts.len() > DEPTH {
        return Err("lies more than 64 folders deep");
    }
    let path = parts.join("/");
    if path.len() > PATH_BYTES {
        return Err("is longer than 1024 bytes");
    }
    Ok((!parts.is_empty()).then(|| Place { path, folder: name.ends_with('/') }))
}

/// The target of the link at `path`, if following it stays inside the tree. The error says what the target is or does.
///
/// `..` is allowed at the beginning only. There it counts from the link's own folder, which is a real one; after
/// another part, which can be a link itself, it would lead to wherever that link's target has its parent.
pub(super) fn target<'a>(path: &str, target: &'a [u8]) -> Result<&'a str, &'static str> {
    if target.len() as u64 > TARGET_BYTES {
        return Err("is longer than 1024 bytes");
    }
    let target = std::str::from_utf8(target).map_err(|_| "is not text")?;
    if target.is_empty() {
        return Err("is empty");
    }
    if target.contains(['\0', '\\']) {
        return Err("has a NUL character or a backslash");
    }
    if target.starts_with('/') {
        return Err("is an absolute path");
    }
    let mut parts = target.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    let mut up = 0;
    while parts.next_if_eq(&"..").is_some() {
        up += 1;
    }
    if up > path.matches('/').count() {
        return Err("leads out of the archive");
    }
    if parts.any(|part| part == "..") {
        return Err("goes down and up again");
    }
    Ok(target)
}

/// Whether a path is something that an operating system left in the archive.
pub(super) fn is_litter(path: &str) -> bool {
    let (top, name) = (path.split('/').next(), path.rsplit('/').next());
    top == Some("__MACOSX") || name == Some(".DS_Store")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn path(name: &str) -> String {
        place(name, false).unwrap().unwrap().path
    }

    #[test]
    fn names_become_paths_of_normal_parts() {
        assert_eq!(path("index.html"), "index.html");
        assert_eq!(path("./a//b/./c.txt"), "a/b/c.txt");
        assert_eq!(path("a/..b/...c"), "a/..b/...c");
        assert_eq!(place("a/b/", false).unwrap(), Some(Place { path: "a/b".into(), folder: true }));
        assert_eq!(place("./", false).unwrap(), None);
        assert_eq!(place("", false).unwrap(), None);
    }

    #[test]
    fn backslashes_separate_where_they_do_on_the_makers_system() {
        assert_eq!(place(r"a\b\", true).unwrap(), Some(Place { path: "a/b".into(), folder: true }));
        assert!(place(r"a\b", false).is_err());
        assert!(place(r"..\b", true).is_err());
    }

    #[test]
    fn names_that_lead_out_are_refused_with_the_reason() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(65);
        let wide = format!("{0}/{0}/{0}/{0}/{0}/f", "x".repeat(250));
        for name in ["../x", "a/../../x", "a/..", "/etc/passwd", "C:/x", "a\0b", &long, &deep, &wide] {
            assert!(place(name, false).is_err(), "{name:?}");
            assert!(place(name, true).is_err(), "{name:?}");
        }
        assert!(place(r"\\host\share", true).is_err());
        assert!(place("c:x", true).is_err());
        assert!(place("a:b.txt", false).is_ok(), "no drive letter where there are no drives");
    }

    #[test]
    fn a_links_target_may_lead_anywhere_inside() {
        for (at, to) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b/./c"), ("a/b", "..")] {
            assert_eq!(target(at, to.as_bytes()), Ok(to));
        }
    }

    #[test]
    fn a_links_target_may_not_lead_out() {
        for (at, to) in
            [("a", ".."), ("a", "../b"), ("a/b", "../../c"), ("a/b", "/etc"), ("a/b", "c/../../d"), ("a", "")]
        {
            assert!(target(at, to.as_bytes()).is_err(), "{at} -> {to}");
        }
        assert!(target("a", b"x\xff").is_err());
    }
}
