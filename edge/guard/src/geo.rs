//! Countries of addresses, out of a file in MaxMind's format, which is read again when it changes.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use maxminddb::{PathElement, Reader};

/// Largest file in bytes: it is held in memory. The largest that name cities are some hundred megabytes.
const MAX_FILE: u64 = 1 << 30;
/// Where a country stands in a record; the second is for addresses that only have a registered one.
const PLACES: [[PathElement<'static>; 2]; 2] = [
    [PathElement::Key("country"), PathElement::Key("iso_code")],
    [PathElement::Key("registered_country"), PathElement::Key("iso_code")],
];

/// A country by ISO 3166-1 alpha-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country([u8; 2]);

impl Country {
    /// Reads two letters, in either case.
    #[must_use]
    pub fn read(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_alphabetic).then(|| Self(letters.map(|l| l.to_ascii_uppercase())))
    }

    /// Its two letters in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Both are ASCII letters.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Why a file of countries can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too large.
    #[error("{path} has more than {MAX_FILE} bytes")]
    TooLarge {
        /// Its path.
        path: PathBuf,
    },
    /// It is in another format.
    #[error("{path} is no file in MaxMind's format: {source}")]
    Format {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        source: maxminddb::MaxMindDbError,
    },
}

/// Which file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    changed: Option<SystemTime>,
    len: u64,
}

/// Countries of addresses.
#[derive(Debug)]
pub struct Geo {
    path: PathBuf,
    reader: ArcSwap<Reader<Vec<u8>>>,
    stamp: Mutex<Stamp>,
}

impl Geo {
    /// Reads a file. Blocks as long as that takes.
    ///
    /// # Errors
    /// When it can't be read, or is in another format.
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let (stamp, reader) = read(path)?;
        Ok(Self { path: path.to_owned(), reader: ArcSwap::from_pointee(reader), stamp: Mutex::new(stamp) })
    }

    /// The country of an address, if the file knows it.
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        let reader = self.reader.load();
        let found = reader.lookup(address.to_canonical()).ok()?;
        PLACES.iter().find_map(|place| found.decode_path::<&str>(place).ok().flatten().and_then(Country::read))
    }

    /// Reads the file again when it has changed; says whether it had. Blocks as long as that takes.
    ///
    /// # Errors
    /// When the new file can't be used. The old contents stay in use.
    pub fn refresh(&self) -> Result<bool, GeoError> {
        let mut stamp = self.stamp.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if look(&self.path)? == *stamp {
            return Ok(false);
        }
        let (now, reader) = read(&self.path)?;
        self.reader.store(std::sync::Arc::new(reader));
        *stamp = now;
        Ok(true)
    }
}

fn look(path: &Path) -> Result<Stamp, GeoError> {
    let told = std::fs::metadata(path).map_err(|source| GeoError::Read { path: path.to_owned(), source })?;
    if told.len() > MAX_FILE {
        return Err(GeoError::TooLarge { path: path.to_owned() });
    }
    Ok(Stamp { changed: told.modified().ok(), len: told.len() })
}

fn read(path: &Path) -> Result<(Stamp, Reader<Vec<u8>>), GeoError> {
    let stamp = look(path)?;
    let bytes = std::fs::read(path).map_err(|source| GeoError::Read { path: path.to_owned(), source })?;
    let format = |source| GeoError::Format { path: path.to_owned(), source };
    Ok((stamp, Reader::from_source(bytes).map_err(format)?))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A file that has one country for the addresses below each first byte of IPv4.
    pub(crate) fn file(countries: &[(u8, &str)]) -> Vec<u8> {
        let (mut nodes, mut data) = (vec![[0_u32; 2]], Vec::new());
        let mut leaves = Vec::new();
        for (first, code) in countries {
            let mut node = 0;
            for bit in (0..8).rev() {
                let side = usize::from(first >> bit & 1);
                if bit == 0 {
                    leaves.push((node, side, data.len()));
                } else if nodes[node][side] == 0 {
                    nodes.push([0; 2]);
                    nodes[node][side] = u32::try_from(nodes.len() - 1).unwrap();
                    node = nodes.len() - 1;
                } else {
                    node = nodes[node][side] as usize;
                }
            }
            data.push(0xE1);
            text(&mut data, "country");
            data.push(0xE1);
            text(&mut data, "iso_code");
            text(&mut data, code);
        }
        let count = u32::try_from(nodes.len()).unwrap();
        for side in nodes.iter_mut().flatten().filter(|s| **s == 0) {
            *side = count;
        }
        for (node, side, at) in leaves {
            nodes[node][side] = count + 16 + u32::try_from(at).unwrap();
        }
        let mut bytes: Vec<u8> = nodes.iter().flatten().flat_map(|n| n.to_be_bytes()).collect();
        bytes.extend([0; 16]);
        bytes.extend(data);
        bytes.extend(b"\xAB\xCD\xEFMaxMind.com\xE9");
        text(&mut bytes, "node_count");
        bytes.push(0xC4);
        bytes.extend(count.to_be_bytes());
        for (name, number) in [
            ("record_size", 32_u8),
            ("ip_version", 4),
            ("binary_format_major_version", 2),
            ("binary_format_minor_version", 0),
        ] {
            text(&mut bytes, name);
            bytes.extend([0xA1, number]);
        }
        text(&mut bytes, "build_epoch");
        bytes.extend([0x01, 0x02, 1]);
        text(&mut bytes, "database_type");
        text(&mut bytes, "Country");
        text(&mut bytes, "languages");
        bytes.extend([0x00, 0x04]);
        text(&mut bytes, "description");
        bytes.push(0xE0);
        bytes
    }

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.push(0x40 | u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }

    #[test]
    fn an_address_has_the_country_that_the_file_says_and_a_changed_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("countries.mmdb");
        std::fs::write(&path, file(&[(192, "CH"), (198, "DE"), (10, "??")])).unwrap();
        let geo = Geo::open(&path).unwrap();
        let country = |ip: &str| geo.country(ip.parse().unwrap()).map(|c| c.as_str().to_owned());
        assert_eq!(country("192.0.2.1").as_deref(), Some("CH"));
        assert_eq!(country("::ffff:198.51.100.1").as_deref(), Some("DE"));
        assert_eq!(country("10.0.0.1"), None, "it is no country");
        assert_eq!(country("203.0.113.1"), None);
        assert_eq!(country("2001:db8::1"), None);

        assert!(!geo.refresh().unwrap());
        std::fs::write(&path, "no such format").unwrap();
        assert!(geo.refresh().is_err());
        assert_eq!(country("192.0.2.1").as_deref(), Some("CH"), "the last good one stays in use");
        std::fs::write(&path, file(&[(192, "LI")])).unwrap();
        assert!(geo.refresh().unwrap());
        assert_eq!(country("192.0.2.1").as_deref(), Some("LI"));
        assert_eq!(country("198.51.100.1"), None);
    }
}
