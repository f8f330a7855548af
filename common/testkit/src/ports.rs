//! Ports for servers that can't say which one the system gave them.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// Below the ports that systems give to connections (`net.ipv4.ip_local_port_range` begins at 32768), so that no
/// connection takes one between its choice and its use.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// Ports of 127.0.0.1 that are free over TCP and UDP, and that no other test takes before this process ends.
///
/// # Panics
/// When none can be had.
#[must_use]
pub fn free<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_at(IpAddr::V4(Ipv4Addr::LOCALHOST)))
}

/// One such port of another address of this machine.
///
/// # Panics
/// When none can be had.
#[must_use]
pub fn free_at(address: IpAddr) -> u16 {
    /// Locks of the ports that were given out, held until the process ends.
    static GIVEN: Mutex<Vec<File>> = Mutex::new(Vec::new());
    let folder = folder();
    for _ in 0..RANGE.len() {
        let port = rand::random_range(RANGE);
        let Some(lock) = lock(&folder.join(port.to_string())) else { continue };
        if TcpListener::bind((address, port)).is_ok() && UdpSocket::bind((address, port)).is_ok() {
            GIVEN.lock().unwrap().push(lock);
            return port;
        }
    }
    panic!("no free port between {} and {}", RANGE.start, RANGE.end)
}

/// Where all tests of this user keep their locks.
fn folder() -> PathBuf {
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    let folder = std::env::temp_dir().join(format!("astrocloud-test-ports-{user}"));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The lock of a port, unless another test has it.
fn lock(path: &std::path::Path) -> Option<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).unwrap();
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(e)) => panic!("{}: {e}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_once() {
        let ports: [u16; 50] = free();
        let distinct: std::collections::BTreeSet<_> = ports.iter().collect();
        assert_eq!(distinct.len(), 50);
        assert!(ports.iter().all(|port| RANGE.contains(port)));
    }
}
