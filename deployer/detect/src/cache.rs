//! The key under which an install's result is kept: equal keys, equal `node_modules`.

use std::path::Path;

use crate::lockfile;
use crate::manifest::Manifest;
use crate::plan::{InstallStep, NodeChoice, PackageManager};
use crate::tree::Tree;

/// Changed when what is kept changes its form, so that older entries are not taken.
const FORM: &[u8] = b"detect install 1";
/// Configuration that decides what an install produces.
const CONFIGURATION: [&str; 6] =
    [".npmrc", ".yarnrc", ".yarnrc.yml", "bunfig.toml", "pnpm-workspace.yaml", ".pnpmfile.cjs"];

/// From which a dependency's own install script makes code.
const GENERATED_FROM: [&str; 2] = ["prisma/schema.prisma", "schema.prisma"];

/// What an install is made from.
pub(crate) struct Install<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) dir: &'a Path,
    pub(crate) app_dir: &'a Path,
    pub(crate) manager: &'a PackageManager,
    pub(crate) node: &'a NodeChoice,
    pub(crate) steps: &'a [InstallStep],
    /// Every package.json that takes part, in a steady order.
    pub(crate) manifests: &'a [&'a Manifest],
}

/// Hashes everything that decides what the install produces.
pub(crate) fn key(install: &Install<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(FORM);
    // Native modules are compiled for one platform.
    part(std::env::consts::ARCH.as_bytes());
    part(install.manager.tool.name().as_bytes());
    part(install.manager.version.as_deref().unwrap_or_default().as_bytes());
    part(install.node.want.as_bytes());
    for step in install.steps {
        part(step.command.as_bytes());
    }
    for manifest in install.manifests {
        manifest.hash_into(&mut hasher);
    }
    if let Some(copy) = &install.manager.vendored {
        install.tree.hash_into(&install.dir.join(copy), &mut hasher);
    }
    for name in lockfile::names().chain(CONFIGURATION) {
        install.tree.hash_into(&install.dir.join(name), &mut hasher);
    }
    for name in GENERATED_FROM {
        install.tree.hash_into(&install.app_dir.join(name), &mut hasher);
    }
    if install.app_dir != install.dir {
        install.tree.hash_into(&install.app_dir.join(".npmrc"), &mut hasher);
    }
    hasher.finalize().to_hex().to_string()
}
