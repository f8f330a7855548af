//! What every server serves: files, a certificate, and many hosts.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use common::certificate::Certificate;
use common::secret::Secret;

use crate::edge::publish;

/// The host of all scenarios but the one with many. The load generators resolve it without any set-up, and
/// send it as SNI.
pub const HOST: &str = "localhost";
/// Host names of the scenario with many.
pub const HOSTS: usize = 100_000;
/// Sites behind them: a platform's hosts are aliases and previews of far fewer sites.
pub const SITES: usize = 1_000;
/// Sites between which the scenario of configuration changes flips.
pub const FLIP: [&str; 2] = ["flip-a", "flip-b"];
/// Bytes of the big file.
pub const BIG_BYTES: u64 = 1 << 30;

/// Files by path and size.
pub const FILES: [(&str, usize); 3] = [("1k.txt", 1 << 10), ("10k.txt", 10 << 10), ("100k.txt", 100 << 10)];
/// The big one's path.
pub const BIG_FILE: &str = "big.bin";

/// A folder with everything.
pub struct Fixture {
    pub folder: PathBuf,
    pub certificate_pem: PathBuf,
    pub key_pem: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them.
    pub both_pem: PathBuf,
}

impl Fixture {
    /// Writes it.
    pub fn write(folder: &Path) -> anyhow::Result<Self> {
        let this = Self {
            folder: folder.to_owned(),
            certificate_pem: folder.join("certificate.pem"),
            key_pem: folder.join("key.pem"),
            both_pem: folder.join("both.pem"),
        };
        fs::create_dir_all(this.site())?;
        for (name, size) in FILES {
            fs::write(this.site().join(name), text(size))?;
        }
        for word in FLIP {
            fs::create_dir_all(this.many().join(word))?;
            fs::write(this.many().join(word).join("index.html"), format!("<!doctype html><p>{word}</p>"))?;
        }
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(&this.certificate_pem, &certificate)?;
        fs::write(&this.key_pem, &key)?;
        fs::write(&this.both_pem, format!("{certificate}{key}"))?;
        Ok(this)
    }

    /// The site's folder.
    pub fn site(&self) -> PathBuf {
        self.folder.join("site")
    }

    /// Writes the big file, once; it becomes part of the site. It is a file without blocks: reading it costs
    /// copies of memory like that of any file in the page cache.
    pub fn write_big(&self) -> anyhow::Result<()> {
        Ok(fs::File::create(self.site().join(BIG_FILE))?.set_len(BIG_BYTES)?)
    }

    /// Folder of the many hosts' sites, each in a folder of its name.
    pub fn many(&self) -> PathBuf {
        self.folder.join("many")
    }

    /// Writes the many sites, once.
    pub fn write_many(&self) -> anyhow::Result<()> {
        for site in 0..SITES {
            let folder = self.many().join(site_of(site));
            fs::create_dir_all(&folder)?;
            fs::File::create(folder.join("index.html"))?.write_all(&text(1 << 10))?;
        }
        Ok(())
    }

    /// The certificate as a control plane hands it out.
    pub fn certificate(&self) -> anyhow::Result<Certificate> {
        let key = Secret::new(fs::read_to_string(&self.key_pem)?);
        Ok(publish::certificate(fs::read_to_string(&self.certificate_pem)?, key))
    }
}

/// A host of the many.
pub fn host(number: usize) -> String {
    format!("h{number}.{}.bench.test", site_of(number % SITES))
}

/// The folder of a site of the many.
pub fn site_of(number: usize) -> String {
    format!("s{number}")
}

/// A deterministic text of some length, which does not compress to nothing.
fn text(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 24) as u8 % 26
    };
    std::iter::repeat_with(letter).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_name_their_site_so_that_a_peer_may_find_it_without_a_table() {
        assert_eq!(host(0), "h0.s0.bench.test");
        assert_eq!(host(HOSTS - 1), "h99999.s999.bench.test");
    }
}
