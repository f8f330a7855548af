//! The configuration and the manifest that make layers an image which runs.

use std::collections::HashMap;

use oci_spec::image::{
    ANNOTATION_BASE_IMAGE_DIGEST, ANNOTATION_BASE_IMAGE_NAME, ANNOTATION_REVISION, ANNOTATION_SOURCE, ANNOTATION_TITLE,
    Arch, Config, ConfigBuilder, Descriptor, ImageConfiguration, ImageConfigurationBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, Os, RootFs, RootFsBuilder,
};

use super::super::NewImage;
use super::document::Document;
use super::{NOBODY, NODE, PORT};

/// Where programs are when the base does not say.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The image that an app's own layers lie on.
#[derive(Clone, Debug)]
pub struct Base {
    /// As it is called, for people.
    pub name: String,
    /// Digest of its manifest, `sha256:…`.
    pub digest: String,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Its configuration.
    pub config: ImageConfiguration,
}

/// An image's documents.
#[derive(Clone, Debug)]
pub struct Image {
    /// The configuration.
    pub config: Document,
    /// The manifest.
    pub manifest: Document,
}

/// The documents of an app's image: `layers` are its own, each with the digest of its tar archive.
///
/// # Errors
/// When a document can't be written, which would be a fault of the base's.
pub fn assemble(image: &NewImage<'_>, base: Option<&Base>, layers: &[(Descriptor, String)]) -> std::io::Result<Image> {
    let below = base.map(|base| base.config.rootfs().diff_ids().clone()).unwrap_or_default();
    let diff_ids: Vec<String> = below.into_iter().chain(layers.iter().map(|(_, diff_id)| diff_id.clone())).collect();
    let spec = |e: oci_spec::OciSpecError| std::io::Error::other(e);
    let rootfs: RootFs = RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().map_err(spec)?;
    let (arch, os) =
        base.map_or((host_arch(), Os::Linux), |base| (base.config.architecture().clone(), base.config.os().clone()));
    // No time of creation: the same input has the same digest.
    let mut config = ImageConfigurationBuilder::default()
        .architecture(arch)
        .os(os)
        .config(run(image, base).map_err(spec)?)
        .rootfs(rootfs)
        .build()
        .map_err(spec)?;
    config.set_variant(base.and_then(|base| base.config.variant().clone()));
    let config = Document::json(MediaType::ImageConfig, &config)?;
    let all = base.map(|base| base.layers.clone()).unwrap_or_default();
    let all: Vec<Descriptor> = all.into_iter().chain(layers.iter().map(|(layer, _)| layer.clone())).collect();
    let mut manifest: ImageManifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(config.descriptor.clone())
        .layers(all)
        .build()
        .map_err(spec)?;
    if let Some(base) = base {
        manifest.set_annotations(Some(based_on(base)));
    }
    Ok(Image { manifest: Document::json(MediaType::ImageManifest, &manifest)?, config })
}

/// How the app is run.
fn run(image: &NewImage<'_>, base: Option<&Base>) -> Result<Config, oci_spec::OciSpecError> {
    let dir = format!("/{}", image.start.working_dir);
    let given = base.and_then(|base| base.config.config().as_ref()?.env().clone()).unwrap_or_default();
    let path = given.iter().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or(SYSTEM_PATH).to_owned();
    let own = [
        ("PATH", format!("{dir}/node_modules/.bin:{path}")),
        ("NODE_ENV", "production".to_owned()),
        ("PORT", PORT.to_string()),
        // What Next listens on, and others.
        ("HOST", "0.0.0.0".to_owned()),
        ("HOSTNAME", "0.0.0.0".to_owned()),
        // The one folder that can be written also when the root can't be.
        ("HOME", "/tmp".to_owned()),
    ];
    let is_own = |pair: &&String| own.iter().any(|(name, _)| pair.split('=').next() == Some(name));
    let kept: Vec<String> = given.iter().filter(|pair| !is_own(pair)).cloned().collect();
    let env: Vec<String> = kept.into_iter().chain(own.iter().map(|(name, value)| format!("{name}={value}"))).collect();
    let origin = image.origin;
    let told = [
        (ANNOTATION_TITLE, Some(image.name.to_owned())),
        (ANNOTATION_SOURCE, origin.source.clone()),
        (ANNOTATION_REVISION, origin.commit.clone()),
        (NODE, Some(image.start.node.clone())),
    ];
    let told = told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let labels: HashMap<String, String> = told.chain(base.map(based_on).unwrap_or_default()).collect();
    ConfigBuilder::default()
        // The base's own entry point would stand before the command.
        .entrypoint(vec!["/bin/sh".to_owned(), "-c".to_owned()])
        .cmd(vec![image.start.command.clone()])
        .working_dir(dir)
        .env(env)
        .exposed_ports(vec![format!("{PORT}/tcp")])
        .labels(labels)
        .stop_signal("SIGTERM")
        .user(format!("{NOBODY}:{NOBODY}"))
        .build()
}

fn based_on(base: &Base) -> HashMap<String, String> {
    [
        (ANNOTATION_BASE_IMAGE_NAME.to_owned(), base.name.clone()),
        (ANNOTATION_BASE_IMAGE_DIGEST.to_owned(), base.digest.clone()),
    ]
    .into()
}

/// What this machine builds for.
fn host_arch() -> Arch {
    if cfg!(target_arch = "aarch64") { Arch::ARM64 } else { Arch::Amd64 }
}
