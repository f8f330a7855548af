//! The embedded registry: an OCI image layout in a local folder
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>).

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use async_trait::async_trait;
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, ImageConfiguration, ImageConfigurationBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, Os, RootFsBuilder, Sha256Digest,
};
use sha2::{Digest as _, Sha256};

use super::{ImageRegistry, RegistryError, Start};

/// Label that carries the Node version.
const NODE_LABEL: &str = "dev.astrocloud.node";
/// Compression of layers: fast, because an image is unpacked on this machine at once.
const LAYER_LEVEL: i32 = 3;

/// The embedded adapter.
pub struct OciLayout {
    root: PathBuf,
}

impl OciLayout {
    /// A layout below `root`, which is created when absent.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub fn new(root: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(root.join("blobs/sha256"))?;
        std::fs::write(root.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}")?;
        Ok(Self { root })
    }
}

/// Paths and operations on the files of a layout; all of it blocks.
#[derive(Clone)]
struct Files(PathBuf);

impl Files {
    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest)
    }

    /// Stores bytes under their digest.
    fn put(&self, bytes: &[u8]) -> std::io::Result<String> {
        let digest = hex(&Sha256::digest(bytes));
        if !self.blob(&digest).exists() {
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.write_all(bytes)?;
            file.persist(self.blob(&digest))?;
        }
        Ok(digest)
    }

    fn read<T: serde::de::DeserializeOwned>(&self, reference: &str, digest: &str) -> Result<T, RegistryError> {
        let bytes = match std::fs::read(self.blob(digest)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(RegistryError::NotFound(reference.to_owned()));
            }
            other => other?,
        };
        serde_json::from_slice(&bytes).map_err(|e| damaged(reference, &e))
    }

    /// Packs a tree as one layer: sorted, without times and owners, so that the same tree has the same
    /// digest. Returns the digest of the compressed layer, its size and the digest of the tar.
    fn put_layer(&self, root: &Path) -> std::io::Result<(String, u64, String)> {
        let file = tempfile::NamedTempFile::new_in(&self.0)?;
        let compressed = Hashing::new(file);
        let mut encoder = zstd::Encoder::new(compressed, LAYER_LEVEL)?;
        let plain = {
            let mut tar = tar::Builder::new(Hashing::new(&mut encoder));
            tar.mode(tar::HeaderMode::Deterministic);
            tar.follow_symlinks(false);
            append_sorted(&mut tar, root, Path::new(""))?;
            tar.into_inner()?.digest()
        };
        let compressed = encoder.finish()?;
        let (digest, size, file) = compressed.into_parts();
        file.persist(self.blob(&digest))?;
        Ok((digest, size, plain))
    }

    fn push(&self, root: &Path, start: &Start) -> Result<String, RegistryError> {
        let (layer, layer_size, plain) = self.put_layer(root)?;
        let spec = |e: oci_spec::OciSpecError| std::io::Error::other(e);
        let config = ConfigBuilder::default()
            .cmd(vec!["/bin/sh".to_owned(), "-c".to_owned(), start.command.clone()])
            .working_dir(format!("/{}", start.working_dir))
            .labels(HashMap::from([(NODE_LABEL.to_owned(), start.node.clone())]))
            .user("65534:65534")
            .build()
            .map_err(spec)?;
        let arch = if cfg!(target_arch = "aarch64") { Arch::ARM64 } else { Arch::Amd64 };
        let config = ImageConfigurationBuilder::default()
            .architecture(arch)
            .os(Os::Linux)
            .config(config)
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids(vec![format!("sha256:{plain}")])
                    .build()
                    .map_err(spec)?,
            )
            .build()
            .map_err(spec)?;
        let config = serde_json::to_vec(&config).map_err(std::io::Error::other)?;
        let config_digest = self.put(&config)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, config.len() as u64, &config_digest)?)
            .layers(vec![descriptor(MediaType::ImageLayerZstd, layer_size, &layer)?])
            .build()
            .map_err(spec)?;
        Ok(self.put(&serde_json::to_vec(&manifest).map_err(std::io::Error::other)?)?)
    }

    fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError> {
        let manifest: ImageManifest = self.read(reference, digest_of(reference)?)?;
        let config: ImageConfiguration = self.read(reference, manifest.config().digest().digest())?;
        for layer in manifest.layers() {
            let file = std::fs::File::open(self.blob(layer.digest().digest()))?;
            let mut archive = tar::Archive::new(zstd::Decoder::new(file)?);
            archive.set_preserve_mtime(false);
            archive.unpack(into)?;
        }
        let config = config.config().as_ref().ok_or_else(|| damaged(reference, &"it has no configuration"))?;
        let command = config.cmd().as_ref().and_then(|c| c.last()).cloned();
        let label = config.labels().as_ref().and_then(|l| l.get(NODE_LABEL)).cloned();
        Ok(Start {
            command: command.ok_or_else(|| damaged(reference, &"it has no command"))?,
            working_dir: config.working_dir().as_deref().unwrap_or("/").trim_start_matches('/').to_owned(),
            node: label.unwrap_or_default(),
        })
    }

    fn remove(&self, reference: &str) -> Result<(), RegistryError> {
        // Layers may be shared with other images; collecting them is the garbage collector's job.
        match std::fs::remove_file(self.blob(digest_of(reference)?)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

fn append_sorted<W: std::io::Write>(tar: &mut tar::Builder<W>, root: &Path, below: &Path) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(root.join(below))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = below.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tar.append_dir(&name, entry.path())?;
            append_sorted(tar, root, &name)?;
        } else if kind.is_file() || kind.is_symlink() {
            tar.append_path_with_name(entry.path(), &name)?;
        }
    }
    Ok(())
}

fn descriptor(kind: MediaType, size: u64, digest: &str) -> Result<Descriptor, RegistryError> {
    let digest = Sha256Digest::from_str(digest).map_err(std::io::Error::other)?;
    let built = DescriptorBuilder::default().media_type(kind).size(size).digest(digest).build();
    Ok(built.map_err(std::io::Error::other)?)
}

fn digest_of(reference: &str) -> Result<&str, RegistryError> {
    let digest = reference.rsplit_once("@sha256:").map(|(_, d)| d);
    digest
        .filter(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| RegistryError::NotFound(reference.to_owned()))
}

fn damaged(reference: &str, detail: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Damaged { reference: reference.to_owned(), detail: detail.to_string() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hashes and counts what is written through it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    fn digest(self) -> String {
        hex(&self.hash.finalize())
    }

    fn into_parts(self) -> (String, u64, W) {
        (hex(&self.hash.finalize()), self.bytes, self.inner)
    }
}

impl<W: std::io::Write> std::io::Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[async_trait]
impl ImageRegistry for OciLayout {
    async fn push(&self, name: &str, root: &Path, start: &Start) -> Result<String, RegistryError> {
        let (files, root, start) = (Files(self.root.clone()), root.to_owned(), start.clone());
        let digest = blocking(move || files.push(&root, &start)).await?;
        Ok(format!("{name}@sha256:{digest}"))
    }

    async fn pull(&self, reference: &str, into: &Path) -> Result<Start, RegistryError> {
        let (files, reference, into) = (Files(self.root.clone()), reference.to_owned(), into.to_owned());
        blocking(move || files.pull(&reference, &into)).await
    }

    async fn remove(&self, reference: &str) -> Result<(), RegistryError> {
        let (files, reference) = (Files(self.root.clone()), reference.to_owned());
        blocking(move || files.remove(&reference)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RegistryError> + Send + 'static,
) -> Result<T, RegistryError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| RegistryError::Io(std::io::Error::other(e)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::registry::{Registry, conformance};

    #[tokio::test]
    async fn the_oci_layout_conforms() {
        let folder = tempfile::tempdir().unwrap();
        let registry: Registry = Arc::new(OciLayout::new(folder.path().to_owned()).unwrap());
        conformance(&registry).await.unwrap();
    }
}
