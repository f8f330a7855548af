//! The system's store.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Authority, Done, Outcome, find, run};

/// A system's way to trust an authority: a file in a folder, and a tool that reads the folder.
struct Way {
    name: &'static str,
    folder: &'static str,
    tool: &'static str,
    args: &'static [&'static str],
}

const WAYS: [Way; 3] = [
    // Debian, Ubuntu, Alpine.
    Way {
        name: "the system's store",
        folder: "/usr/local/share/ca-certificates",
        tool: "update-ca-certificates",
        args: &[],
    },
    // Fedora, RHEL.
    Way {
        name: "the system's store",
        folder: "/etc/pki/ca-trust/source/anchors",
        tool: "update-ca-trust",
        args: &["extract"],
    },
    // Arch.
    Way {
        name: "the system's store",
        folder: "/etc/ca-certificates/trust-source/anchors",
        tool: "update-ca-trust",
        args: &[],
    },
];

const KEYCHAIN: &str = "/Library/Keychains/System.keychain";

pub(super) async fn change(authority: &Authority, remove: bool) -> anyhow::Result<Vec<Outcome>> {
    if cfg!(target_os = "macos") {
        return Ok(vec![keychain(authority, remove).await]);
    }
    let way = WAYS.iter().find_map(|way| {
        let tool = find(way.tool)?;
        Path::new(way.folder).is_dir().then_some((way, tool))
    });
    let Some((way, tool)) = way else {
        let reason = format!(
            "neither update-ca-certificates nor update-ca-trust is here; install the package ca-certificates, or trust {} \
             by hand",
            authority.file.display()
        );
        return Ok(vec![Outcome { store: "the system's store".to_owned(), done: Done::Failed { reason } }]);
    };
    let done = way.change(authority, &tool, remove).await;
    Ok(vec![Outcome { store: way.name.to_owned(), done }])
}

impl Way {
    async fn change(&self, authority: &Authority, tool: &Path, remove: bool) -> Done {
        let file = PathBuf::from(self.folder).join(file_name(authority));
        let args = self.args.join(" ");
        let update = format!("{} {args}", tool.display()).trim_end().to_owned();
        let changed = match remove {
            true if !file.exists() => return Done::Absent,
            true => std::fs::remove_file(&file),
            false => std::fs::write(&file, &authority.pem),
        };
        match changed {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
                let command = match remove {
                    true => format!("rm {} && {update}", file.display()),
                    false => format!("cp {} {} && {update}", authority.file.display(), file.display()),
                };
                return Done::NeedsRoot { command };
            }
            Err(e) => return Done::Failed { reason: format!("{}: {e}", file.display()) },
        }
        let args: Vec<&OsStr> = self.args.iter().map(OsStr::new).collect();
        match run(tool, &args).await {
            Ok(()) if remove => Done::Removed,
            Ok(()) => Done::Trusted,
            Err(reason) => Done::Failed { reason },
        }
    }
}

async fn keychain(authority: &Authority, remove: bool) -> Outcome {
    let file = authority.file.as_os_str();
    let args: Vec<&OsStr> = match remove {
        true => ["remove-trusted-cert", "-d"].map(OsStr::new).into_iter().chain([file]).collect(),
        false => ["add-trusted-cert", "-d", "-r", "trustRoot", "-k", KEYCHAIN]
            .map(OsStr::new)
            .into_iter()
            .chain([file])
            .collect(),
    };
    let done = match run(Path::new("/usr/bin/security"), &args).await {
        Ok(()) if remove => Done::Removed,
        Ok(()) => Done::Trusted,
        Err(_) if !rustix::process::geteuid().is_root() => {
            let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
            Done::NeedsRoot { command: format!("security {}", args.join(" ")) }
        }
        Err(reason) => Done::Failed { reason },
    };
    Outcome { store: "the system's keychain".to_owned(), done }
}

/// The file's name in the folder: one for each installation, so that several stand beside each other.
fn file_name(authority: &Authority) -> String {
    let id = authority.label.rsplit(' ').next().unwrap_or_default();
    format!("astrocloud-{id}.crt")
}
