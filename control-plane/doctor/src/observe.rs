//! Looking: name servers, the registry, and what answers at the addresses.

mod directory;
mod json;
mod names;
mod registry;
mod web;

pub(crate) use directory::Directories;
pub(crate) use json::Json;
pub(crate) use names::look;
pub(crate) use registry::Registry;
pub(crate) use web::Web;
