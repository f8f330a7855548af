//! Where sites, uploads and sources are kept.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use azure_blob::{Address, Config, Credential};
use common::secret::Secret;
use control_plane::GarbageConfig;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use serde::{Deserialize, Serialize};
use url::Url;

use super::Maybe;
use crate::exit::Usage;

// What clusters and Azure's own tools call these things
// (<https://azure.github.io/azure-workload-identity/docs/concepts.html>,
// <https://learn.microsoft.com/cli/azure/storage#az-storage-environment-variables>).
const TENANT_VARIABLE: &str = "AZURE_TENANT_ID";
const CLIENT_VARIABLE: &str = "AZURE_CLIENT_ID";
const TOKEN_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_VARIABLE: &str = "AZURE_AUTHORITY_HOST";
const KEY_VARIABLE: &str = "AZURE_STORAGE_KEY";
const SAS_VARIABLE: &str = "AZURE_STORAGE_SAS_TOKEN";

/// The object store, and who asks it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Objects {
    pub url: Maybe<StoreUrl>,
    pub endpoint: Maybe<Url>,
    pub ca_file: Maybe<String>,
    pub identity: Identity,
    pub tenant: Maybe<String>,
    pub client: Maybe<String>,
    pub token_file: Maybe<String>,
    pub key_file: Maybe<String>,
    pub sas_file: Maybe<String>,
    #[serde(with = "span")]
    pub garbage_grace: Duration,
    #[serde(with = "span")]
    pub garbage_every: Duration,
}

impl Default for Objects {
    fn default() -> Self {
        let garbage = GarbageConfig::default();
        Self {
            url: Maybe(None),
            endpoint: Maybe(None),
            ca_file: Maybe(None),
            identity: Identity::Workload,
            tenant: Maybe(None),
            client: Maybe(None),
            token_file: Maybe(None),
            key_file: Maybe(None),
            sas_file: Maybe(None),
            garbage_grace: garbage.grace,
            garbage_every: garbage.every,
        }
    }
}

/// Who asks Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Identity {
    Workload,
    Managed,
    Key,
    Sas,
}

/// An object store's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A folder.
    Folder(Url),
    /// A container of Azure Blob Storage.
    Azure(Address),
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        if scheme == "file" {
            let url: Url = text.parse().map_err(|e| format!("this is no address: {e}"))?;
            return match url.to_file_path() {
                Ok(_) => Ok(Self::Folder(url)),
                Err(()) => Err("a folder's address has three slashes: file:///srv/astrocloud/objects".to_owned()),
            };
        }
        if Address::is_scheme(scheme) {
            return text.parse().map(Self::Azure).map_err(|e: azure_blob::AddressError| e.to_string());
        }
        Err("an object store is file:///absolute/folder, azure://ACCOUNT/CONTAINER or \
             https://ACCOUNT.blob.core.windows.net/CONTAINER"
            .to_owned())
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(url) => url.fmt(f),
            Self::Azure(address) => address.fmt(f),
        }
    }
}

impl Objects {
    /// When garbage is removed.
    pub const fn garbage(&self) -> GarbageConfig {
        GarbageConfig { grace: self.garbage_grace, every: self.garbage_every }
    }

    /// What the client of Azure takes for a container. `variable` reads the environment.
    ///
    /// # Errors
    /// When something that this identity needs is not set or can't be read.
    pub fn azure(&self, address: &Address, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Config> {
        let address = match &self.endpoint.0 {
            Some(endpoint) => address.clone().at(endpoint).context("objects.endpoint can't be used")?,
            None => address.clone(),
        };
        let needed = |setting: &Maybe<String>, name: &str, other: &str| {
            let value = setting.0.clone().or_else(|| variable(other)).filter(|value| !value.is_empty());
            let identity = self.word();
            value.ok_or_else(|| {
                Usage::new(format!(
                    "objects.identity = \"{identity}\" needs the setting objects.{name}, or the variable {other}"
                ))
            })
        };
        let secret = |file: &Maybe<String>, name: &str, other: &str| match &file.0 {
            Some(path) => read(Path::new(path), name),
            None => needed(&Maybe(None), name, other).map(Secret::new).map_err(Into::into),
        };
        let credential = match self.identity {
            Identity::Key => Credential::SharedKey(secret(&self.key_file, "key_file", KEY_VARIABLE)?),
            Identity::Sas => Credential::Sas(secret(&self.sas_file, "sas_file", SAS_VARIABLE)?),
            Identity::Managed => Credential::ManagedIdentity { client: self.client.0.clone() },
            Identity::Workload => Credential::WorkloadIdentity {
                tenant: needed(&self.tenant, "tenant", TENANT_VARIABLE)?,
                client: needed(&self.client, "client", CLIENT_VARIABLE)?,
                token_file: PathBuf::from(needed(&self.token_file, "token_file", TOKEN_VARIABLE)?),
                authority: variable(AUTHORITY_VARIABLE)
                    .map(|text| text.parse().with_context(|| format!("{AUTHORITY_VARIABLE} is no address")))
                    .transpose()?,
            },
        };
        Ok(Config { address, credential, ca_file: self.ca_file.0.as_ref().map(PathBuf::from) })
    }

    const fn word(&self) -> &'static str {
        match self.identity {
            Identity::Workload => "workload",
            Identity::Managed => "managed",
            Identity::Key => "key",
            Identity::Sas => "sas",
        }
    }
}

fn read(path: &Path, name: &str) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the secret in {} (objects.{name}) can't be read", path.display()))?;
    match text.trim() {
        "" => anyhow::bail!("{} (objects.{name}) is empty", path.display()),
        secret => Ok(Secret::new(secret)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn objects(text: &str) -> Objects {
        toml::from_str(text).unwrap()
    }

    fn config(text: &str, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Config> {
        let objects = objects(text);
        let Some(StoreUrl::Azure(address)) = objects.url.0.clone() else { unreachable!("it names a container") };
        objects.azure(&address, variable)
    }

    #[test]
    fn an_address_is_a_folder_or_a_container() {
        for right in ["file:///srv/objects", "azure://acme1/sites", "https://acme1.blob.core.chinacloudapi.cn/sites"] {
            assert_eq!(right.parse::<StoreUrl>().unwrap().to_string(), right);
        }
        for wrong in ["file://srv/objects", "s3://bucket", "sites", "azure://acme1"] {
            assert!(wrong.parse::<StoreUrl>().unwrap_err().contains("://"), "{wrong}");
        }
    }

    #[test]
    fn what_an_identity_needs_is_named_and_taken_from_the_clusters_variables() {
        let text = "url = \"azure://acme1/sites\"\n";
        let error = config(text, |_| None).unwrap_err().to_string();
        assert!(error.contains("objects.tenant") && error.contains(TENANT_VARIABLE), "{error}");
        let set = |name: &str| (name != AUTHORITY_VARIABLE).then(|| name.to_lowercase());
        let Credential::WorkloadIdentity { token_file, authority, .. } = config(text, set).unwrap().credential else {
            unreachable!("a workload")
        };
        assert_eq!(token_file, Path::new("azure_federated_token_file"));
        assert!(authority.is_none());
        let error = config(&format!("{text}identity = \"key\"\n"), |_| None).unwrap_err().to_string();
        assert!(error.contains("objects.key_file") && error.contains(KEY_VARIABLE), "{error}");
    }

    #[test]
    fn secrets_are_read_from_files_and_shown_by_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sas");
        std::fs::write(&file, "sv=1&sig=hidden\n").unwrap();
        let text = format!("url = \"azure://acme1/sites\"\nidentity = \"sas\"\nsas_file = {:?}\n", file);
        let config = config(&text, |_| None).unwrap();
        assert!(!format!("{config:?}").contains("hidden"));
        let Credential::Sas(sas) = config.credential else { unreachable!("a SAS") };
        assert_eq!(sas.reveal(), "sv=1&sig=hidden");
    }
}
