//! What of the host a command sees besides its mounts: programs, libraries, and the few settings they need.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The user and group that a command has inside. Not 0, so that tools do not take themselves for an administrator,
/// and not 65534, which is what foreign files appear to belong to.
pub(crate) const INSIDE_ID: u32 = 1000;

/// The host name inside.
pub(crate) const HOSTNAME: &str = "sandbox";

/// Where the system keeps the programs that make sandboxes: not wherever the platform's own `PATH` may point.
pub(crate) const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/run/current-system/sw/bin";

/// The longest of the host's small settings files that we pass on, in bytes.
const SMALL_FILE: u64 = 64 << 10;

/// What one path inside is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The host's folder or file, read-only.
    Host { source: PathBuf, target: PathBuf },
    /// A link.
    Link { to: PathBuf, target: PathBuf },
    /// A file with these contents.
    File { contents: Vec<u8>, target: PathBuf },
}

/// Folders of programs and libraries. On most hosts all but the first are links into it.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Settings that programs need: certificates, names, the dynamic loader, time zone. Nothing secret.
const SETTINGS: [&str; 22] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// Devices that commands may use.
pub(crate) const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// The view for a sandbox with a file system of its own.
pub(crate) fn items(resolv_conf: &str) -> Vec<Item> {
    let mut items = Vec::new();
    for path in SYSTEM.map(PathBuf::from) {
        match fs::read_link(&path) {
            Ok(to) => items.push(Item::Link { to, target: path }),
            Err(_) if path.is_dir() => items.push(Item::Host { source: path.clone(), target: path }),
            Err(_) => {}
        }
    }
    for path in SETTINGS.map(PathBuf::from) {
        // Resolved on the host: a link into a folder that is not visible inside would lead nowhere.
        if let Ok(source) = path.canonicalize() {
            items.push(Item::Host { source, target: path });
        }
    }
    let mut file = |target: &str, contents: String| {
        items.push(Item::File { contents: contents.into_bytes(), target: target.into() });
    };
    file("/etc/resolv.conf", resolv_conf.to_owned());
    file("/etc/hosts", format!("{}\n127.0.0.1 {HOSTNAME}\n", small_file("/etc/hosts", "127.0.0.1 localhost\n")));
    file("/etc/hostname", format!("{HOSTNAME}\n"));
    file(
        "/etc/passwd",
        format!("app:x:{INSIDE_ID}:{INSIDE_ID}:app:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    );
    file("/etc/group", format!("app:x:{INSIDE_ID}:\nnogroup:x:65534:\n"));
    items
}

/// The paths that a command may read where the host's own file system stays visible.
pub(crate) fn readable() -> Vec<PathBuf> {
    let extra = ["/etc/hosts", "/etc/hostname", "/etc/passwd", "/etc/group", "/etc/resolv.conf"];
    // `/proc` is needed by language runtimes; what of other processes is secret, landlock refuses by itself.
    let kernel = ["/proc", "/sys/devices/system/cpu", "/sys/fs/cgroup"];
    let paths = SYSTEM.iter().chain(&SETTINGS).chain(&extra).chain(&kernel).map(Path::new);
    paths.filter_map(|path| path.canonicalize().ok()).collect()
}

/// The host's settings for looking up names.
pub(crate) fn resolv_conf() -> String {
    small_file("/etc/resolv.conf", "")
}

/// The host's settings for looking up names, with another server.
pub(crate) fn resolv_conf_with(server: &str) -> String {
    let host = resolv_conf();
    let others = host.lines().filter(|line| line.starts_with("search ") || line.starts_with("options "));
    others.chain([format!("nameserver {server}").as_str()]).flat_map(|line| [line, "\n"]).collect()
}

fn small_file(path: &str, otherwise: &str) -> String {
    let read = || {
        let mut text = String::new();
        io::Read::read_to_string(&mut io::Read::take(fs::File::open(path)?, SMALL_FILE), &mut text)?;
        io::Result::Ok(text)
    };
    read().unwrap_or_else(|_| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_in_the_view() {
        let items = items("");
        let shown = |wanted: &str| {
            items.iter().any(|item| match item {
                Item::Host { source, .. } => Path::new(wanted).starts_with(source),
                _ => false,
            })
        };
        assert!(shown("/usr/bin/env"));
        for secret in ["/etc/shadow", "/etc/ssl/private/key.pem", "/root/.ssh", "/home/user", "/var/lib", "/etc/passwd"]
        {
            assert!(!shown(secret), "{secret}");
        }
    }
}
