//! The image registry on any registry that speaks the OCI distribution protocol, version 1.1
//! (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>), Azure Container Registry among them.
//!
//! In: an app's tree. Out: an image that any container runtime runs, on a base image whose layers are named and not
//! touched, with a bill of materials and provenance that refer to it. A layer that the registry has is neither packed
//! nor sent again, and one whose upload broke goes on where the registry says that it stopped.
//!
//! The crate `oci-client` is not used: its uploads begin anew when a connection breaks, nothing of it waits and tries
//! again, and it deletes nothing; what is left of it would be a second HTTP client with a second store of tokens.
//! It must never show a credential, or send one to another host than the registry and who gives its tokens.

mod address;
mod auth;
mod base;
mod client;
mod download;
mod failure;
mod manifests;
mod push;
mod referrers;
mod registry;
mod retry;
mod upload;

pub use address::{Address, AddressError};
pub use auth::Login;
pub use registry::{Config, OciRegistry};
