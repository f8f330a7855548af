//! An image read again: which layers are the app's own, how it is started, and its files.

use std::io::Read;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest, MediaType};

use super::super::{RegistryError, Start};
use super::{NODE, PART};

/// Whether a layer is the app's own and not its base's.
#[must_use]
pub fn is_own(layer: &Descriptor) -> bool {
    layer.annotations().as_ref().is_some_and(|all| all.contains_key(PART))
}

/// The app's own layers, the lowest first. Images of earlier versions have one layer and no base.
#[must_use]
pub fn own_layers(manifest: &ImageManifest) -> Vec<&Descriptor> {
    let own: Vec<&Descriptor> = manifest.layers().iter().filter(|layer| is_own(layer)).collect();
    if own.is_empty() { manifest.layers().iter().collect() } else { own }
}

/// How an image's app is started.
///
/// # Errors
/// When it is no image of an app.
pub fn start(reference: &str, config: &ImageConfiguration) -> Result<Start, RegistryError> {
    let damaged = |detail: &str| RegistryError::Damaged { reference: reference.to_owned(), detail: detail.to_owned() };
    let config = config.config().as_ref().ok_or_else(|| damaged("it has no configuration"))?;
    let command = config.cmd().as_ref().and_then(|words| words.last()).cloned();
    let label = config.labels().as_ref().and_then(|labels| labels.get(NODE)).cloned();
    Ok(Start {
        command: command.ok_or_else(|| damaged("it has no command"))?,
        working_dir: config.working_dir().as_deref().unwrap_or("/").trim_start_matches('/').to_owned(),
        node: label.unwrap_or_default(),
    })
}

/// Unpacks one layer over what is there.
///
/// # Errors
/// When it can't be read or written.
pub fn unpack(layer: &Descriptor, from: impl Read, into: &Path) -> std::io::Result<()> {
    let plain: Box<dyn Read> = match layer.media_type() {
        MediaType::ImageLayerZstd => Box::new(zstd::Decoder::new(from)?),
        MediaType::ImageLayerGzip => Box::new(flate2::read::MultiGzDecoder::new(from)),
        MediaType::ImageLayer => Box::new(from),
        other => return Err(std::io::Error::other(format!("a layer is of the unknown type {other}"))),
    };
    let mut archive = tar::Archive::new(plain);
    archive.set_preserve_mtime(false);
    archive.unpack(into)
}
