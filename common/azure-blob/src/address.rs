//! The address of a container.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Where the public cloud's accounts are.
const PUBLIC: &str = "blob.core.windows.net";

/// A container of a storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    account: String,
    container: String,
    /// Of the blob service: an address that was given says it, and nothing else the public cloud's.
    endpoint: Url,
}

/// A text that names no container.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is no address of Azure.
    #[error(
        "`{0}` names no container: write azure://ACCOUNT/CONTAINER or https://ACCOUNT.{PUBLIC}/CONTAINER, without \
         anything behind it (a SAS belongs into a file of its own)"
    )]
    NoContainer(String),
    /// Azure has no such names.
    #[error("`{0}` can't be a storage account: its name is 3 to 24 lower-case letters and digits")]
    Account(String),
    /// Azure has no such names.
    #[error(
        "`{0}` can't be a container: its name is 3 to 63 lower-case letters, digits and single hyphens, with a letter \
         or digit at both ends"
    )]
    Container(String),
    /// A key must not cross a network in the clear.
    #[error("`{0}` can't be an endpoint: write one with https; plain http is for this machine (127.0.0.1) only")]
    Endpoint(String),
}

impl Address {
    /// Whether a URL's scheme is one of these addresses'.
    #[must_use]
    pub fn is_scheme(scheme: &str) -> bool {
        matches!(scheme, "azure" | "az" | "https")
    }

    /// The storage account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The container.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The blob service of the account, without a slash at its end.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// Scheme, host and port of the endpoint.
    #[must_use]
    pub fn origin(&self) -> String {
        self.endpoint.origin().ascii_serialization()
    }

    /// The same container behind another endpoint: a private one, another cloud's, or an emulator's with the account in
    /// its path, like `http://127.0.0.1:10000/devstoreaccount1`.
    ///
    /// # Errors
    /// When requests must not go there.
    pub fn at(self, endpoint: &Url) -> Result<Self, AddressError> {
        let allowed = match endpoint.scheme() {
            "https" => endpoint.has_host(),
            "http" => match endpoint.host() {
                Some(Host::Ipv4(ip)) => ip.is_loopback(),
                Some(Host::Ipv6(ip)) => ip.is_loopback(),
                Some(Host::Domain(name)) => name == "localhost",
                None => false,
            },
            _ => false,
        };
        if !allowed || endpoint.query().is_some() {
            return Err(AddressError::Endpoint(crate::redacted(endpoint.as_str())));
        }
        Ok(Self { endpoint: endpoint.clone(), ..self })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let none = || AddressError::NoContainer(crate::redacted(text));
        let url = Url::parse(text).map_err(|_| none())?;
        let host = url.host_str().ok_or_else(none)?;
        let plain = url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
        let container = url.path().trim_start_matches('/').trim_end_matches('/');
        if !plain || container.is_empty() || container.contains('/') {
            return Err(none());
        }
        let (account, endpoint) = match url.scheme() {
            "azure" | "az" if url.port().is_none() => (host, format!("https://{host}.{PUBLIC}")),
            "https" => {
                let (account, service) = host.split_once('.').ok_or_else(none)?;
                if !service.starts_with("blob.") {
                    return Err(none());
                }
                (account, url.origin().ascii_serialization())
            }
            _ => return Err(none()),
        };
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !(3..=24).contains(&account.len()) || !word(account) {
            return Err(AddressError::Account(account.to_owned()));
        }
        if !(3..=63).contains(&container.len()) || !container.split('-').all(|part| !part.is_empty() && word(part)) {
            return Err(AddressError::Container(container.to_owned()));
        }
        let endpoint = endpoint.parse().map_err(|_| none())?;
        Ok(Self { account: account.to_owned(), container: container.to_owned(), endpoint })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.endpoint.host_str() == Some(&format!("{}.{PUBLIC}", self.account)) {
            return write!(f, "azure://{}/{}", self.account, self.container);
        }
        write!(f, "{}/{}", self.endpoint(), self.container)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_container_has_several_spellings() {
        for text in ["azure://acme1/sites", "az://acme1/sites/", "https://acme1.blob.core.windows.net/sites"] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.account(), address.container()), ("acme1", "sites"), "{text}");
            assert_eq!(address.endpoint(), "https://acme1.blob.core.windows.net", "{text}");
            assert_eq!(address.to_string(), "azure://acme1/sites");
        }
        let china: Address = "https://acme1.blob.core.chinacloudapi.cn/sites".parse().unwrap();
        assert_eq!(china.to_string(), "https://acme1.blob.core.chinacloudapi.cn/sites");
        assert_eq!(china.to_string().parse::<Address>().unwrap(), china);
    }

    #[test]
    fn what_is_no_container_is_refused_with_one_and_without_a_signature() {
        for wrong in [
            "azure://acme1",
            "azure://acme1/a/b",
            "https://acme1.example.com/sites",
            "ftp://acme1/sites",
            "acme1/sites",
            "azure://ACME/sites",
            "azure://acme1/Sites",
            "azure://acme1/si--tes",
            "https://acme1.blob.core.windows.net/sites?sv=1&sig=hidden",
        ] {
            let error = wrong.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("can't be") || error.contains("azure://ACCOUNT/CONTAINER"), "{wrong}: {error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn plain_http_leads_to_this_machine_only() {
        let address: Address = "azure://devstoreaccount1/sites".parse().unwrap();
        let there = address.clone().at(&"http://127.0.0.1:1/devstoreaccount1".parse().unwrap()).unwrap();
        assert_eq!(there.to_string(), "http://127.0.0.1:1/devstoreaccount1/sites");
        assert!(address.clone().at(&"http://10.0.0.1/devstoreaccount1".parse().unwrap()).is_err());
        assert!(address.at(&"ftp://127.0.0.1/".parse().unwrap()).is_err());
    }
}
