//! How a project is built and run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::deployment::Kind;

/// A project's settings. What is `None` is detected from the source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `static` or `node`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Folder of the app inside the source, for monorepos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_dir: Option<String>,
    /// Shell command that installs dependencies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_command: Option<String>,
    /// Shell command that builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_command: Option<String>,
    /// Shell command that starts the server (`node` only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_command: Option<String>,
    /// Folder with the built site, relative to the root folder (`static` only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dir: Option<String>,
    /// Branch to deploy of a git repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Path that must answer below 500 before a server gets traffic; a TCP connect when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_path: Option<String>,
}

impl Settings {
    /// These settings with every field that `other` sets replaced by it.
    #[must_use]
    pub fn overlaid(self, other: Self) -> Self {
        Self {
            kind: other.kind.or(self.kind),
            root_dir: other.root_dir.or(self.root_dir),
            install_command: other.install_command.or(self.install_command),
            build_command: other.build_command.or(self.build_command),
            start_command: other.start_command.or(self.start_command),
            output_dir: other.output_dir.or(self.output_dir),
            branch: other.branch.or(self.branch),
            health_path: other.health_path.or(self.health_path),
        }
    }
}
