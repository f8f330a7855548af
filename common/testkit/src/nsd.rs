//! NSD, an authoritative name server.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::keeper::{Keeper, Stop};

/// Starts it at an address. `zones` gives the rest of its settings, from `key:` and `zone:` on, and may put the zones'
/// files into the folder that it gets. That it answers is the caller's to wait for.
///
/// # Panics
/// When there is no folder for it to be had.
#[must_use]
pub fn start(listen: SocketAddr, zones: impl FnOnce(&Path) -> String) -> Keeper {
    let folder = tempfile::tempdir().unwrap().keep();
    let path = folder.display();
    let text = format!(
        "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{path}\"\n \
         xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/list\"\n pidfile: \"{path}/pid\"\n database: \"\"\n \
         xfrdir: \"{path}\"\n cookie-secret-file: \"{path}/cookie\"\n server-count: 1\n\
         remote-control:\n control-enable: no\n{}",
        listen.ip(),
        listen.port(),
        zones(&folder)
    );
    let file = folder.join("nsd.conf");
    std::fs::write(&file, text).unwrap();
    let mut nsd = Command::new("nsd");
    nsd.arg("-d").arg("-c").arg(&file);
    // Its children end with it only when it is asked to end.
    Keeper::start(folder, &nsd, Stop::Term)
}
