//! What refers to an image: the list of its packages and its provenance, each an artifact with the image as its subject
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidelines-for-artifact-usage>).

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};

use super::super::{NewImage, RegistryError};
use super::config::{Base, Image};
use super::document::Document;
use super::tree::Tree;
use super::{bill, provenance};

/// Media type of CycloneDX in JSON.
const CYCLONE_DX: &str = "application/vnd.cyclonedx+json";
/// Media type of in-toto statements.
const IN_TOTO: &str = "application/vnd.in-toto+json";

/// An artifact: its manifest refers to the image.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The manifest.
    pub manifest: Document,
    /// What it is, as an index of referrers lists it: the manifest's descriptor with its type.
    pub listed: Descriptor,
    /// The empty configuration.
    pub config: Document,
    /// What it is about.
    pub payload: Document,
}

impl Artifact {
    fn new(kind: &str, payload: Vec<u8>, subject: &Descriptor) -> std::io::Result<Self> {
        let kind = MediaType::Other(kind.to_owned());
        let config = Document::new(MediaType::EmptyJSON, b"{}".to_vec())?;
        let payload = Document::new(kind.clone(), payload)?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .artifact_type(kind.clone())
            .config(config.descriptor.clone())
            .layers(vec![payload.descriptor.clone()])
            .subject(subject.clone())
            .build()
            .map_err(std::io::Error::other)?;
        let manifest = Document::json(MediaType::ImageManifest, &manifest)?;
        let mut listed = manifest.descriptor.clone();
        listed.set_artifact_type(Some(kind));
        Ok(Self { manifest, listed, config, payload })
    }
}

/// All artifacts of an image that was just assembled.
///
/// # Errors
/// When the tree can't be read.
pub fn artifacts(
    new: &NewImage<'_>,
    tree: &Tree,
    base: Option<&Base>,
    image: &Image,
) -> Result<Vec<Artifact>, RegistryError> {
    let subject = &image.manifest.descriptor;
    let bill = bill::of(new, tree)?;
    let provenance = provenance::of(new, base, &image.manifest.digest())?;
    Ok(vec![Artifact::new(CYCLONE_DX, bill, subject)?, Artifact::new(IN_TOTO, provenance, subject)?])
}
