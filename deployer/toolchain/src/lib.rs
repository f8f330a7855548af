//! Provides Node and package managers, from the host or from the package registry.
//!
//! In: what a plan asks for ([`NodeChoice`], [`PackageManager`]). Out: folders that hold it ([`Node`], [`Manager`]),
//! to be put first on the `PATH` of a sandbox, and the folders of the host that must be visible there. What the host
//! does not have is fetched with the host's own npm as ordinary packages, without running their scripts, once for each
//! version, and kept below one folder.
//!
//! It must never run a project's code on the host, and never hand on a token: fetching happens outside the sandbox
//! with the operator's settings, building inside it without them.

use std::path::PathBuf;
use std::sync::Arc;

use detect::{NodeChoice, PackageManager, Toolchain, Version};

mod error;
mod host;
mod manager;
mod npm;
mod registry;
mod resolve;
mod store;

pub use error::ToolError;
pub use manager::{Manager, VENDORED_ENV};

use host::Host;
use npm::Npm;
use registry::Registry;
use resolve::Resolver;
use store::{Package, Store};

/// The tools of this host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tools(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    host: Option<Host>,
    store: Store,
    resolver: Resolver,
    registry: Registry,
}

/// One version of Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Exact, for example `22.12.0`.
    pub version: String,
    /// The folder with the program `node`.
    pub bin: PathBuf,
    /// Folders and files of the host that must be visible, read-only, besides the system's own.
    pub mounts: Vec<PathBuf>,
    /// The folder whose `include/node` has the headers that native packages are compiled with.
    pub headers: Option<PathBuf>,
}

impl Tools {
    /// Looks the host's tools up, and takes `folder` for what will be fetched. A host without Node is no error: sites
    /// that need no build can be deployed all the same.
    ///
    /// # Errors
    /// When the folder can't be used.
    pub async fn open(folder: PathBuf) -> Result<Self, ToolError> {
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let store = Store::open(&folder)?;
        let host = Host::find(&folder).await;
        let registry = Registry::read(host.as_ref().and_then(|host| host.npm.as_ref()), &folder).await;
        let resolver = Resolver::open(folder.join("versions.json"));
        if let Some(host) = &host {
            manager::link_host(host, &folder)?;
        }
        manager::link_vendored(&folder)?;
        Ok(Self(Arc::new(Inner { folder, host, store, resolver, registry })))
    }

    /// Where fetched tools lie. Every mount that is below it is ours, every other one the host's.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        &self.0.folder
    }

    /// What this host has to plan with.
    #[must_use]
    pub fn host(&self) -> Toolchain {
        let host = self.0.host.as_ref();
        Toolchain {
            node: host.map(|host| host.version),
            can_fetch: host.is_some_and(|host| host.npm.is_some()) && host::prebuilt_node().is_some(),
        }
    }

    /// The Node that a plan asks for.
    ///
    /// # Errors
    /// When it is neither here nor to be had.
    pub async fn node(&self, choice: &NodeChoice) -> Result<Node, ToolError> {
        match &self.0.host {
            Some(host) if choice.use_host => Ok(host.node()),
            _ => {
                let package = prebuilt(&choice.want)?;
                let npm = self.npm(&format!("Node {}", choice.want))?;
                let version = self.0.resolver.version(npm, package, &choice.want).await?;
                self.fetched_node(package, &version).await
            }
        }
    }

    /// The Node that an app was built with. The host's is taken when it is of the same major and minor version:
    /// patches repair and do not change what an app can rely on, and nothing need be fetched then.
    ///
    /// # Errors
    /// When it is neither here nor to be had.
    pub async fn node_exact(&self, version: &str) -> Result<Node, ToolError> {
        let bad = || ToolError::BadVersion { tool: "Node".into(), wanted: version.into() };
        let wanted: Version = version.parse().map_err(|_| bad())?;
        match &self.0.host {
            Some(host) if (host.version.major, host.version.minor) == (wanted.major, wanted.minor) => Ok(host.node()),
            _ => self.fetched_node(prebuilt(version)?, &resolve::exact(version).ok_or_else(bad)?).await,
        }
    }

    /// The package manager that a plan asks for, fit to run with `node`.
    ///
    /// # Errors
    /// When it is neither here nor to be had.
    pub async fn manager(&self, wanted: &PackageManager, node: &Node) -> Result<Manager, ToolError> {
        manager::provide(self, wanted, node).await
    }

    /// The operator's registry, its certificates and proxies, as the package managers' environment. Never a token.
    #[must_use]
    pub fn registry_env(&self) -> Vec<(String, String)> {
        self.0.registry.env.clone()
    }

    /// Files that [`Self::registry_env`] refers to and that must be visible, read-only.
    #[must_use]
    pub fn registry_mounts(&self) -> Vec<PathBuf> {
        self.0.registry.mounts.clone()
    }

    fn npm(&self, what: &str) -> Result<&Npm, ToolError> {
        let npm = self.0.host.as_ref().and_then(|host| host.npm.as_ref());
        npm.ok_or_else(|| ToolError::NoNpm { what: what.to_owned() })
    }

    /// A version of a package, fetched if it is not here yet: the folder that its `node_modules` lies in.
    async fn package(&self, kind: &str, name: &str, version: &str) -> Result<PathBuf, ToolError> {
        let npm = self.0.host.as_ref().and_then(|host| host.npm.as_ref());
        self.0.store.package(npm, Package { kind, name, version }).await
    }

    async fn fetched_node(&self, package: &str, version: &str) -> Result<Node, ToolError> {
        let folder = self.package("node", package, version).await?;
        let home = folder.join("node_modules").join(package);
        let has_headers = home.join("include/node/node.h").is_file();
        Ok(Node {
            version: version.to_owned(),
            bin: home.join("bin"),
            mounts: vec![folder],
            headers: has_headers.then_some(home),
        })
    }
}

fn prebuilt(wanted: &str) -> Result<&'static str, ToolError> {
    host::prebuilt_node().ok_or_else(|| ToolError::NoPrebuilt { wanted: wanted.to_owned() })
}
