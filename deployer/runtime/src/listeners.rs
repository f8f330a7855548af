//! On which ports the processes of an app listen, as the kernel tells it in `/proc`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// The state of a socket that listens, in `/proc/net/tcp`.
const LISTENS: &str = "0A";

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Listeners {
    /// Ports on which a process of the app listens.
    pub(crate) ports: BTreeSet<u16>,
    /// Whether all its processes could be looked at.
    pub(crate) complete: bool,
}

/// The ports of the process `root` and of all processes below it.
pub(crate) async fn of(root: u32) -> Listeners {
    tokio::task::spawn_blocking(move || look(root)).await.unwrap_or_default()
}

fn look(root: u32) -> Listeners {
    let mut complete = true;
    let mut sockets = HashSet::new();
    for pid in below(root) {
        match sockets_of(pid) {
            Some(inodes) => sockets.extend(inodes),
            // It may have ended meanwhile.
            None => complete &= !Path::new(&format!("/proc/{pid}")).exists(),
        }
    }
    let tables = ["tcp", "tcp6"].map(|name| std::fs::read_to_string(format!("/proc/{root}/net/{name}")));
    let ports = tables.iter().flatten().flat_map(|table| table.lines()).filter_map(listening);
    Listeners { ports: ports.filter(|(_, inode)| sockets.contains(inode)).map(|(port, _)| port).collect(), complete }
}

/// A process and its descendants.
fn below(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(pid) = pid
            && let Some(parent) = parent_of(pid)
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state parent …`, and the name may have anything in it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn sockets_of(pid: u32) -> Option<Vec<u64>> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let targets = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    let inode = |target: std::path::PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    Some(targets.filter_map(inode).collect())
}

/// The port and the inode of a line of `/proc/net/tcp`, if its socket listens.
fn listening(line: &str) -> Option<(u16, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let port = local.rsplit_once(':')?.1;
    (*state == LISTENS).then_some((u16::from_str_radix(port, 16).ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_process_is_found_listening_where_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = of(std::process::id()).await;
        assert!(found.complete && found.ports.contains(&port), "{found:?}");
        drop(listener);
        assert!(!of(std::process::id()).await.ports.contains(&port));
    }

    #[test]
    fn only_sockets_that_listen_count() {
        let listens = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 31337 1 0 0";
        assert_eq!(listening(listens), Some((8080, 31_337)));
        assert_eq!(listening(&listens.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when"), None);
    }
}
