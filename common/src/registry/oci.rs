//! What an app's image is made of, whatever registry stores it: layers out of a tree, the configuration that makes it
//! run, its manifest, and the artifacts that refer to it
//! (<https://github.com/opencontainers/image-spec/blob/v1.1.1/spec.md>).
//!
//! The same tree of the same commit on the same base has the same digest, on every machine. No file that usually holds
//! secrets, and no variable of the project, is ever part of it.

mod artifact;
mod bill;
mod config;
mod document;
mod layer;
mod provenance;
mod tree;
mod unpack;

pub use artifact::{Artifact, artifacts};
pub use config::{Base, Image, assemble};
pub use document::{Document, sha256};
pub use layer::{Compression, Digesting, Layer, diff_id, pack};
pub use tree::{Part, Tree};
pub use unpack::{is_own, own_layers, start, unpack};

/// Key of the annotation that tells an app's own layers from those of its base.
pub const PART: &str = "dev.astrocloud.layer";
/// Label that carries the Node version.
pub(crate) const NODE: &str = "dev.astrocloud.node";
/// Where an app listens unless it is told another port.
pub const PORT: u16 = 8080;
/// Owner of an app's files and of its processes: nobody, by number, because names are the base image's.
pub(crate) const NOBODY: u64 = 65_534;
