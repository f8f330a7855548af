//! The NSS databases of Chromium and Firefox, which do not ask the system's store alone.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Authority, Done, Outcome, find, run};

/// File that makes a folder an NSS database.
const DATABASE: &str = "cert9.db";
/// Folders below the home in which Firefox keeps profiles, by how it was installed.
const FIREFOX: [&str; 4] = [
    ".mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
    ".var/app/org.mozilla.firefox/.mozilla/firefox",
    "Library/Application Support/Firefox/Profiles",
];
/// Where Chromium has its database, the newer place first.
const CHROMIUM: [&str; 2] = [".local/share/pki/nssdb", ".pki/nssdb"];

pub(super) async fn change(authority: &Authority, remove: bool) -> anyhow::Result<Vec<Outcome>> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.context("HOME is not set, so the browsers' stores can't be found")?;
    let found = databases(&home);
    let Some(certutil) = find("certutil") else {
        let reason =
            "certutil is not here: install libnss3-tools (Debian), nss-tools (Fedora) or nss (Homebrew), then try \
                      again"
                .to_owned();
        let store = "Chromium and Firefox".to_owned();
        return Ok(vec![Outcome { store, done: Done::Failed { reason } }]);
    };
    let mut outcomes = Vec::new();
    for (browser, folder) in found {
        let done = match one(&certutil, &folder, authority, remove).await {
            Ok(done) => done,
            Err(reason) => Done::Failed { reason },
        };
        outcomes.push(Outcome { store: format!("{browser} ({})", folder.display()), done });
    }
    Ok(outcomes)
}

/// Databases that are there, and Chromium's also when it is not there yet: it is made when a certificate is added.
fn databases(home: &Path) -> Vec<(&'static str, PathBuf)> {
    let chromium = CHROMIUM.map(|place| home.join(place));
    let chromium = chromium.iter().find(|folder| folder.join(DATABASE).is_file()).unwrap_or(&chromium[1]).clone();
    let mut found = vec![("Chromium", chromium)];
    for place in FIREFOX {
        // A place that is not there has no profiles.
        let Ok(profiles) = std::fs::read_dir(home.join(place)) else { continue };
        let profiles = profiles.filter_map(Result::ok).map(|entry| entry.path());
        found.extend(profiles.filter(|folder| folder.join(DATABASE).is_file()).map(|folder| ("Firefox", folder)));
    }
    found
}

async fn one(certutil: &Path, folder: &Path, authority: &Authority, remove: bool) -> Result<Done, String> {
    let database = {
        let mut database = OsString::from("sql:");
        database.push(folder);
        database
    };
    let label = OsStr::new(&authority.label);
    let text = |text: &'static str| OsStr::new(text);
    let is_there = folder.join(DATABASE).is_file();
    let knows = is_there && run(certutil, &[text("-L"), text("-d"), &database, text("-n"), label]).await.is_ok();
    if remove {
        if !knows {
            return Ok(Done::Absent);
        }
        run(certutil, &[text("-D"), text("-d"), &database, text("-n"), label]).await?;
        return Ok(Done::Removed);
    }
    if !is_there {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        run(certutil, &[text("-N"), text("-d"), &database, text("--empty-password")]).await?;
    }
    if !knows {
        let file = authority.file.as_os_str();
        // `C`: trusted to issue certificates of servers, and nothing else.
        let add = [text("-A"), text("-d"), &database, text("-t"), text("C,,"), text("-n"), label, text("-i"), file];
        run(certutil, &add).await?;
    }
    Ok(Done::Trusted)
}
