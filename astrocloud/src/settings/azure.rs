//! Settings of zones that Azure DNS holds.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use azure_dns::{Config, Credential, Endpoints};
use common::secret::Secret;
use serde::{Deserialize, Serialize};

use super::Maybe;
use crate::exit::Usage;

/// What a cluster tells its workloads of their identity
/// (<https://azure.github.io/azure-workload-identity/docs/concepts.html>).
pub(super) const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
pub(super) const CLIENT_VARIABLE: &str = "AZURE_CLIENT_ID";
pub(super) const TOKEN_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";

/// Zones of Azure DNS in which proofs for certificates are set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Azure {
    pub zones: Vec<String>,
    pub subscription: Maybe<String>,
    pub resource_group: Maybe<String>,
    pub identity: Identity,
    pub tenant: Maybe<String>,
    pub client: Maybe<String>,
    pub secret_file: Maybe<String>,
    pub token_file: Maybe<String>,
}

/// Who asks Azure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Identity {
    #[default]
    Managed,
    Workload,
    Secret,
}

impl Azure {
    /// What the client of Azure DNS takes; none when there are no zones. `variable` reads the environment.
    ///
    /// # Errors
    /// When something that this identity needs is not set.
    pub fn config(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Config>> {
        if self.zones.is_empty() {
            return Ok(None);
        }
        let needed = |setting: &Maybe<String>, name: &str, other: Option<&str>| {
            let value = setting.0.clone().or_else(|| other.and_then(&variable));
            let or = other.map(|other| format!(", or the variable {other}")).unwrap_or_default();
            value.ok_or_else(|| Usage::new(format!("dns.azure.zones needs the setting dns.azure.{name}{or}")))
        };
        let credential = match self.identity {
            Identity::Managed => Credential::ManagedIdentity { client: self.client.0.clone() },
            Identity::Workload => Credential::WorkloadIdentity {
                tenant: needed(&self.tenant, "tenant", Some(TENANT_VARIABLE))?,
                client: needed(&self.client, "client", Some(CLIENT_VARIABLE))?,
                token_file: PathBuf::from(needed(&self.token_file, "token_file", Some(TOKEN_VARIABLE))?),
            },
            Identity::Secret => Credential::ClientSecret {
                tenant: needed(&self.tenant, "tenant", None)?,
                client: needed(&self.client, "client", None)?,
                secret: secret(Path::new(&needed(&self.secret_file, "secret_file", None)?))?,
            },
        };
        Ok(Some(Config {
            endpoints: Endpoints::default(),
            credential,
            subscription: needed(&self.subscription, "subscription", None)?,
            resource_group: needed(&self.resource_group, "resource_group", None)?,
            zones: self.zones.iter().map(|zone| zone.trim_end_matches('.').to_ascii_lowercase()).collect(),
        }))
    }
}

fn secret(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the secret in {} (dns.azure.secret_file) can't be read", path.display()))?;
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn azure(text: &str) -> Azure {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn without_zones_nothing_is_asked_for() {
        assert!(Azure::default().config(|_| None).unwrap().is_none());
    }

    #[test]
    fn what_an_identity_needs_is_named() {
        let text =
            "zones = [\"Example.com.\"]\nsubscription = \"s\"\nresource_group = \"g\"\nidentity = \"workload\"\n";
        let error = azure(text).config(|_| None).unwrap_err().to_string();
        assert!(error.contains("dns.azure.tenant") && error.contains(TENANT_VARIABLE), "{error}");
        let config = azure(text).config(|name| Some(name.to_lowercase())).unwrap().unwrap();
        assert_eq!(config.zones, ["example.com"]);
        let Credential::WorkloadIdentity { token_file, .. } = config.credential else { unreachable!("a workload") };
        assert_eq!(token_file, Path::new("azure_federated_token_file"));
        let error = azure("zones = [\"a\"]\n").config(|_| None).unwrap_err().to_string();
        assert!(error.contains("dns.azure.subscription"), "{error}");
        let secret =
            "zones = [\"a\"]\nidentity = \"secret\"\ntenant = \"t\"\nclient = \"c\"\nsecret_file = \"/nowhere\"\n";
        assert!(format!("{:#}", azure(secret).config(|_| None).unwrap_err()).contains("/nowhere"));
    }
}
