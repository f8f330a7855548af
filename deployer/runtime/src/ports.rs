//! The ports that apps listen on.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ports for apps: below the range from which Linux takes the ports of outgoing connections (32768 to
/// 60999), so that none of these can take an app's port just before it listens.
const RANGE: Range<u16> = 20_000..32_000;
/// Ports that are tried before there is said to be none.
const TRIES: usize = 1000;

/// The ports of this runtime's apps. An app keeps its port until its last report: the edge must not meet
/// another app at an address that it still has in its routes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ports(Arc<Mutex<HashSet<u16>>>);

/// A port that is given to one app, until this is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    ports: Ports,
}

impl Ports {
    /// A port that nobody uses.
    pub(crate) fn take(&self) -> io::Result<Port> {
        for _ in 0..TRIES {
            let number = rand::random_range(RANGE);
            if self.lock().contains(&number) || !is_free(number) {
                continue;
            }
            if self.lock().insert(number) {
                return Ok(Port { number, ports: self.clone() });
            }
        }
        Err(io::Error::other(format!("none of {TRIES} ports from {} to {} is free", RANGE.start, RANGE.end - 1)))
    }

    /// Held for set operations only.
    fn lock(&self) -> MutexGuard<'_, HashSet<u16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Port {
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Whether nobody listens on it now.
    pub(crate) fn is_free(&self) -> bool {
        is_free(self.number)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.ports.lock().remove(&self.number);
    }
}

fn is_free(port: u16) -> bool {
    let free = |at: SocketAddr| match TcpListener::bind(at) {
        Ok(_) => true,
        // A host without IPv6.
        Err(e) => e.kind() != io::ErrorKind::AddrInUse,
    };
    free((Ipv4Addr::UNSPECIFIED, port).into()) && free((Ipv6Addr::LOCALHOST, port).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_none_that_somebody_listens_on() {
        let ports = Ports::default();
        let taken: Vec<Port> = (0..200).map(|_| ports.take().unwrap()).collect();
        let numbers: HashSet<u16> = taken.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 200);
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, taken[0].number())).unwrap();
        assert!(!taken[0].is_free());
        drop(listening);
        drop(taken);
        assert!(ports.lock().is_empty());
    }
}
