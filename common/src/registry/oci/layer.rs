//! Layers: tar archives without times and owners of their own, so that the same files have the same digest.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::write::GzEncoder;
use oci_spec::image::{Descriptor, MediaType};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::document::{descriptor, hex};
use super::tree::{Entry, Kind, Part, Tree};
use super::{NOBODY, PART};

/// Time of everything but an app's files, in seconds since the epoch: some tools take 0 for "not set".
const FIXED: u64 = 1_000_000_000;
/// Range of the times of an app's files after [`FIXED`], in seconds: it ends in 2022.
const SPAN: u64 = 650_000_000;
/// Level of gzip: the usual one.
const GZIP: u32 = 6;
/// Level of zstd: fast, because an image is unpacked on this machine at once.
const ZSTD: i32 = 3;

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// What every container runtime reads.
    Gzip,
    /// Faster; for those that read it.
    Zstd,
}

/// A packed layer.
#[derive(Debug)]
pub struct Layer {
    /// The compressed bytes.
    pub file: NamedTempFile,
    /// Their type, size and digest, and which part it is.
    pub descriptor: Descriptor,
    /// Digest of the tar archive, `sha256:…`.
    pub diff_id: String,
}

/// The digest that a part's layer will have before it is compressed, `sha256:…`: far cheaper than packing it.
///
/// # Errors
/// When a file can't be read.
pub fn diff_id(tree: &Tree, part: Part) -> io::Result<String> {
    let mut digesting = Digesting::new(io::sink());
    write_tar(tree, part, &mut digesting)?;
    Ok(format!("sha256:{}", digesting.finish().0))
}

/// Packs one part of a tree into a new file in `folder`.
///
/// # Errors
/// When a file can't be read or written.
pub fn pack(tree: &Tree, part: Part, compression: Compression, folder: &Path) -> io::Result<Layer> {
    let compressed = Digesting::new(NamedTempFile::new_in(folder)?);
    let (diff_id, compressed, kind) = match compression {
        Compression::Gzip => {
            // The header of `GzBuilder` has neither a name nor a time, and names no operating system.
            let encoder =
                flate2::GzBuilder::new().operating_system(255).write(compressed, flate2::Compression::new(GZIP));
            let (diff_id, encoder): (_, GzEncoder<_>) = archived(tree, part, encoder)?;
            (diff_id, encoder.finish()?, MediaType::ImageLayerGzip)
        }
        Compression::Zstd => {
            let (diff_id, encoder) = archived(tree, part, zstd::Encoder::new(compressed, ZSTD)?)?;
            (diff_id, encoder.finish()?, MediaType::ImageLayerZstd)
        }
    };
    let (digest, size, file) = compressed.finish();
    Ok(Layer {
        file,
        descriptor: of_part(descriptor(kind, size, &digest)?, part),
        diff_id: format!("sha256:{diff_id}"),
    })
}

/// Says which part of an app a layer is.
pub(super) fn of_part(mut descriptor: Descriptor, part: Part) -> Descriptor {
    descriptor.set_annotations(Some([(PART.to_owned(), part.as_str().to_owned())].into()));
    descriptor
}

fn archived<W: Write>(tree: &Tree, part: Part, into: W) -> io::Result<(String, W)> {
    let mut digesting = Digesting::new(into);
    write_tar(tree, part, &mut digesting)?;
    let (digest, _, into) = digesting.finish();
    Ok((digest, into))
}

fn write_tar(tree: &Tree, part: Part, into: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(into);
    for Entry { path, kind } in tree.entries(part) {
        let from = tree.root.join(path);
        let mut header = tar::Header::new_gnu();
        header.set_uid(NOBODY);
        header.set_gid(NOBODY);
        header.set_mtime(FIXED);
        header.set_mode(0o755);
        header.set_size(0);
        match kind {
            Kind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, path.join(""), io::empty())?;
            }
            Kind::Link => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                tar.append_link(&mut header, path, std::fs::read_link(&from)?)?;
            }
            Kind::File => {
                let file = File::open(&from)?;
                let data = file.metadata()?;
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(if data.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 });
                header.set_size(data.len());
                if part == Part::App {
                    header.set_mtime(time_of(&from)?);
                }
                tar.append_data(&mut header, path, Exactly { file, left: data.len() })?;
            }
        }
    }
    tar.finish()
}

/// A time that a file's content determines. With one time for all, a file that changed and kept its length would have
/// the same validator (`ETag`, `Last-Modified`) in the next deployment, and browsers would keep the old one.
fn time_of(path: &Path) -> io::Result<u64> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    let mut word = [0; 8];
    word.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    Ok(FIXED + u64::from_le_bytes(word) % SPAN)
}

/// As many bytes as the header says: a file that is written to meanwhile would spoil the archive.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file shrank while it was packed"));
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Hashes and counts what is written through it.
#[derive(Debug)]
pub struct Digesting<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Digesting<W> {
    /// Around a writer.
    #[must_use]
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// The SHA-256 in hexadecimal, the number of bytes, and the writer.
    #[must_use]
    pub fn finish(self) -> (String, u64, W) {
        (hex(&self.hash.finalize()), self.bytes, self.inner)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tree(at: &Path, content: &str) -> Tree {
        std::fs::create_dir_all(at.join("app/node_modules/a")).unwrap();
        std::fs::write(at.join("app/server.js"), content).unwrap();
        std::fs::write(at.join("app/node_modules/a/index.js"), "a").unwrap();
        Tree::read(at).unwrap()
    }

    #[test]
    fn the_same_files_have_the_same_digest_wherever_they_lie() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (tree(one.path(), "x"), tree(other.path(), "x"));
        for compression in [Compression::Gzip, Compression::Zstd] {
            for part in [Part::Dependencies, Part::App] {
                let here = pack(&first, part, compression, one.path()).unwrap();
                let there = pack(&second, part, compression, other.path()).unwrap();
                assert_eq!(here.descriptor, there.descriptor);
                assert_eq!(here.diff_id, diff_id(&second, part).unwrap());
            }
        }
    }

    #[test]
    fn a_file_that_keeps_its_length_has_another_time() {
        let folder = tempfile::tempdir().unwrap();
        let time = |content: &str| {
            tree(folder.path(), content);
            time_of(&folder.path().join("app/server.js")).unwrap()
        };
        assert_ne!(time("x"), time("y"));
        assert_eq!(time("x"), time("x"));
    }
}
