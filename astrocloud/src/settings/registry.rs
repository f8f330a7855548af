//! Where apps' images are kept.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use azure_identity::{Credential, Endpoints, Identity as Entra};
use common::secret::Secret;
use oci_registry::{Address, Login};
use serde::{Deserialize, Serialize};
use url::Url;

use super::Maybe;
use super::azure::{CLIENT_VARIABLE, TENANT_VARIABLE, TOKEN_VARIABLE};
use crate::exit::Usage;

/// What a token of Microsoft Entra is for when it is shown to Azure Container Registry.
const AZURE_REGISTRY: &str = "https://containerregistry.azure.net/";

/// Where apps' images are kept; a folder on this machine when the address is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Registry {
    pub url: Maybe<Address>,
    pub base_image: String,
    pub keep: u32,
    pub login: LoginKind,
    pub username: Maybe<String>,
    pub password_file: Maybe<String>,
    pub tenant: Maybe<String>,
    pub client: Maybe<String>,
    pub token_file: Maybe<String>,
}

/// How the registry is shown who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LoginKind {
    #[default]
    None,
    Password,
    Managed,
    Workload,
    Secret,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            url: Maybe(None),
            base_image: "docker.io/library/node:{major}-bookworm-slim".to_owned(),
            keep: 10,
            login: LoginKind::None,
            username: Maybe(None),
            password_file: Maybe(None),
            tenant: Maybe(None),
            client: Maybe(None),
            token_file: Maybe(None),
        }
    }
}

impl Registry {
    /// What the adapter for a registry takes; none when images stay on this machine. `scratch` is for layers on their
    /// way, `variable` reads the environment.
    ///
    /// # Errors
    /// When something that this login needs is not set.
    pub fn config(
        &self,
        scratch: impl FnOnce() -> anyhow::Result<PathBuf>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> anyhow::Result<Option<oci_registry::Config>> {
        let Some(address) = self.url.0.clone() else { return Ok(None) };
        let login = self.login(variable)?;
        Ok(Some(oci_registry::Config::new(address, login, self.base_image.clone(), scratch()?)))
    }

    fn login(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Login> {
        let needed = |setting: &Maybe<String>, name: &str, other: Option<&str>| {
            let value = setting.0.clone().or_else(|| other.and_then(&variable));
            let or = other.map(|other| format!(", or the variable {other}")).unwrap_or_default();
            value.ok_or_else(|| Usage::new(format!("registry.login needs the setting registry.{name}{or}")))
        };
        let secret =
            || needed(&self.password_file, "password_file", None).map_err(Into::into).and_then(|path| read(&path));
        let credential = match self.login {
            LoginKind::None => return Ok(Login::Anonymous),
            LoginKind::Password => {
                return Ok(Login::Password {
                    username: needed(&self.username, "username", None)?,
                    password: secret()?,
                });
            }
            LoginKind::Managed => Credential::ManagedIdentity { client: self.client.0.clone() },
            LoginKind::Workload => Credential::WorkloadIdentity {
                tenant: needed(&self.tenant, "tenant", Some(TENANT_VARIABLE))?,
                client: needed(&self.client, "client", Some(CLIENT_VARIABLE))?,
                token_file: PathBuf::from(needed(&self.token_file, "token_file", Some(TOKEN_VARIABLE))?),
            },
            LoginKind::Secret => Credential::ClientSecret {
                tenant: needed(&self.tenant, "tenant", None)?,
                client: needed(&self.client, "client", None)?,
                secret: secret()?,
            },
        };
        let identity = Entra::new(credential, Endpoints::default(), Url::parse(AZURE_REGISTRY)?)?;
        Ok(Login::Azure { identity: Box::new(identity), tenant: self.tenant.0.clone() })
    }
}

fn read(path: &str) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(Path::new(path))
        .with_context(|| format!("the secret in {path} (registry.password_file) can't be read"))?;
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config(text: &str) -> anyhow::Result<Option<oci_registry::Config>> {
        let settings: Registry = toml::from_str(text)?;
        settings
            .config(|| Ok(PathBuf::from("scratch")), |name| name.ends_with("TENANT_ID").then(|| "contoso".to_owned()))
    }

    #[test]
    fn without_an_address_images_stay_here() {
        assert!(config("").unwrap().is_none());
    }

    #[test]
    fn who_asks_is_a_user_or_an_identity() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret\n").unwrap();
        let url = "url = 'https://shop.azurecr.io/apps'";
        assert!(matches!(config(url).unwrap().unwrap().login, Login::Anonymous));
        let text = format!("{url}\nlogin = 'password'\nusername = 'u'\npassword_file = '{}'", file.path().display());
        let Login::Password { password, .. } = config(&text).unwrap().unwrap().login else { unreachable!("a user") };
        assert_eq!(password.reveal(), "s3cret");
        let text = format!("{url}\nlogin = 'workload'\nclient = 'c'\ntoken_file = '/token'");
        assert!(matches!(config(&text).unwrap().unwrap().login, Login::Azure { .. }));
    }

    #[test]
    fn what_is_missing_is_named() {
        let url = "url = 'https://shop.azurecr.io/apps'";
        for (text, said) in [
            (format!("{url}\nlogin = 'password'"), "registry.username"),
            (format!("{url}\nlogin = 'workload'"), "registry.client, or the variable AZURE_CLIENT_ID"),
            (format!("{url}\nlogin = 'secret'\ntenant = 't'\nclient = 'c'\npassword_file = '/nowhere'"), "/nowhere"),
            ("url = 'http://10.0.0.1/'".to_owned(), "not encrypted"),
        ] {
            let error = format!("{:#}", config(&text).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
