//! The operator's registry settings, as far as builds need them and may see them.

use std::path::{Path, PathBuf};

use url::Url;

use crate::host::is_visible;
use crate::npm::{Npm, QUESTION};

/// Folders with certificates that every sandbox shows besides the system's programs.
const CERTIFICATES: [&str; 3] = ["/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted"];
/// Under which names the package managers take a registry: npm, pnpm from 11 on, Yarn 1, Yarn, Bun.
const REGISTRY: [&str; 5] =
    ["npm_config_registry", "pnpm_config_registry", "YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER", "BUN_CONFIG_REGISTRY"];
/// Under which names they take a file of certificates. Yarn has a name of its own in each major version and refuses to
/// start when it finds another one's; it goes by Node's.
const CAFILE: [&str; 3] = ["npm_config_cafile", "pnpm_config_cafile", NODE_CERTIFICATES];
/// Where Node finds more certificates.
const NODE_CERTIFICATES: &str = "NODE_EXTRA_CA_CERTS";
/// Variables of the platform that name a file of certificates and are handed on.
const CERTIFICATE_FILES: [&str; 2] = [NODE_CERTIFICATES, "SSL_CERT_FILE"];
/// Variables of the platform that name a proxy.
const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Variables of the platform that name what needs no proxy.
const NO_PROXY: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// What builds get.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<PathBuf>,
}

impl Registry {
    /// Reads the settings of the host's npm and of the platform's environment.
    pub(crate) async fn read(npm: Option<&Npm>, folder: &Path) -> Self {
        let (registry, cafile) = match npm {
            Some(npm) => tokio::join!(setting(npm, folder, "registry"), setting(npm, folder, "cafile")),
            None => (None, None),
        };
        Self::from(registry.as_deref(), cafile.as_deref(), |name| std::env::var(name).ok())
    }

    fn from(registry: Option<&str>, cafile: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Self {
        let mut all = Self::default();
        if let Some(registry) = registry.filter(|url| is_public("the registry", url)) {
            all.set(&REGISTRY, registry);
        }
        if let Some(cafile) = cafile {
            all.set(&CAFILE, cafile);
            all.show(cafile);
        }
        for name in CERTIFICATE_FILES {
            if let Some(file) = variable(name).filter(|file| Path::new(file).is_file()) {
                all.set(&[name], &file);
                all.show(&file);
            }
        }
        let mut proxied = false;
        for name in PROXIES {
            if let Some(proxy) = variable(name).filter(|proxy| !proxy.is_empty() && is_public(name, proxy)) {
                all.set(&[name], &proxy);
                proxied = true;
            }
        }
        for name in NO_PROXY {
            if let Some(hosts) = variable(name).filter(|hosts| proxied && !hosts.is_empty()) {
                all.set(&[name], &hosts);
            }
        }
        all
    }

    fn set(&mut self, names: &[&str], value: &str) {
        for name in names {
            self.env.retain(|(other, _)| other != name);
            self.env.push(((*name).to_owned(), value.to_owned()));
        }
    }

    /// Makes a file visible where it lies, unless it is anyway.
    fn show(&mut self, file: &str) {
        let path = PathBuf::from(file);
        let shown = is_visible(&path) || CERTIFICATES.iter().any(|folder| path.starts_with(folder));
        if path.is_absolute() && path.is_file() && !shown && !self.mounts.contains(&path) {
            self.mounts.push(path);
        }
    }
}

async fn setting(npm: &Npm, folder: &Path, key: &str) -> Option<String> {
    match npm.run(folder, &["config", "get", key], QUESTION).await {
        Ok(text) => Some(text.trim().to_owned()).filter(|text| !matches!(text.as_str(), "" | "null" | "undefined")),
        Err(failed) => {
            tracing::warn!(key, ?failed, "a setting of the host's npm can't be read");
            None
        }
    }
}

/// Whether an address carries nothing that builds must not see.
fn is_public(what: &str, address: &str) -> bool {
    let secret = match Url::parse(address) {
        Ok(url) => !url.username().is_empty() || url.password().is_some(),
        Err(_) => address.contains('@'),
    };
    if secret {
        tracing::warn!(what, "builds do not get this address, because it carries a password");
    }
    !secret
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_stay_outside() {
        let variable = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://user:word@proxy:3128".to_owned()),
            "HTTP_PROXY" => Some("http://proxy:3128".to_owned()),
            "NO_PROXY" => Some("localhost".to_owned()),
            _ => None,
        };
        let registry = Registry::from(Some("https://me:token@packages.example/"), None, variable);
        let names: Vec<&str> = registry.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["HTTP_PROXY", "NO_PROXY"]);
        let registry = Registry::from(Some("https://packages.example/"), None, |_| None);
        assert_eq!(registry.env.len(), REGISTRY.len());
    }

    #[test]
    fn a_file_of_certificates_is_made_visible_where_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "").unwrap();
        let registry = Registry::from(None, file.to_str(), |_| None);
        assert_eq!(registry.mounts, [file]);
        assert!(Registry::from(None, Some("/etc/ssl/certs/ca-certificates.crt"), |_| None).mounts.is_empty());
    }
}
