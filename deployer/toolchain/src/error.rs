//! Why a tool can't be provided.

use std::path::PathBuf;

/// Why a tool can't be provided, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The folder for fetched tools can't be used.
    #[error("the tools folder {} can't be used: {source}; check its permissions and the free space", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something has to be fetched, and there is nothing to fetch it with.
    #[error("{what} is needed, and this host has no Node.js with npm to fetch it with; install Node.js on the host")]
    NoNpm {
        /// What is needed.
        what: String,
    },
    /// There is no ready-made Node for this kind of host.
    #[error(
        "Node {wanted} is needed, and there is no ready-made one for this kind of machine; install it on the host, or let the project ask for the host's version"
    )]
    NoPrebuilt {
        /// The version or range.
        wanted: String,
    },
    /// What is asked for is no version.
    #[error("the project asks for {tool} {wanted:?}, which is no version; write for example \"22\" or \"10.4.1\"")]
    BadVersion {
        /// Which tool.
        tool: String,
        /// As written.
        wanted: String,
    },
    /// The registry does not have it.
    #[error("the package registry has no {package} {wanted}; correct the version that the project asks for")]
    NoSuchVersion {
        /// The package.
        package: String,
        /// The version or range.
        wanted: String,
    },
    /// It is not the one that the project wants.
    #[error(
        "the package registry's {package} {version} is not the one whose hash packageManager gives; correct the hash in package.json, or leave it out"
    )]
    OtherHash {
        /// The package.
        package: String,
        /// Its version.
        version: String,
    },
    /// It could not be fetched.
    #[error(
        "{package} {wanted} can't be fetched from the package registry: {detail}; deploy again when it can be reached"
    )]
    Fetch {
        /// The package.
        package: String,
        /// The version or range.
        wanted: String,
        /// What npm said.
        detail: String,
    },
}
