//! The object store on Azure Blob Storage.
//!
//! In: the address of a container and who asks. Out: the port ([`AzureBlob::port`]) over `object_store`'s adapter, URLs
//! signed for one upload each, and what `astrocloud setup` does once: the container, the rules for browsers, a check of
//! what this identity may do.
//!
//! `object_store` makes no containers and no rules for browsers. These are three requests of the REST API, signed by its
//! own authoriser; Microsoft's `azure_storage_blob` is not used for them, because it knows no shared key and would bring
//! a second HTTP stack.
//!
//! It must never show a key, a token or a signature, in no error and no log line.

mod address;
mod check;
mod cors;
mod credential;
mod error;
mod patience;
mod port;
mod redact;
mod service;
mod store;

pub use address::{Address, AddressError};
pub use credential::Credential;
pub use error::AzureBlobError;
pub use redact::redacted;
pub use service::Made;
pub use store::{AzureBlob, Config};
