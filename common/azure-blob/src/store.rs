//! The store itself.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::blob::{BlobError, DirectUploads, ObjectStore, SignedPut};
use http::Method;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpConnector as _;
use object_store::path::Path;
use object_store::signer::Signer as _;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use crate::patience::Connector;
use crate::port::Container;
use crate::service::Service;
use crate::{Address, AzureBlobError, Credential, redacted};

/// Azure accepts a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Silence within an answer, and the time for one block that is sent: 8 MiB at 2 Mbit/s.
const SILENCE: Duration = Duration::from_secs(35);
/// Tries of one request, and for how long new ones begin. A store that is away for longer is told to the caller, who
/// has pauses and reasons of its own.
const RETRIES: usize = 30;
const RETRY_FOR: Duration = Duration::from_secs(60);
/// First and longest pause between tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// What a PUT of a whole blob must say
/// (<https://learn.microsoft.com/rest/api/storageservices/put-blob>).
const BLOB_TYPE: (&str, &str) = ("x-ms-blob-type", "BlockBlob");

/// Which container, and who asks.
#[derive(Clone, Debug)]
pub struct Config {
    /// The container.
    pub address: Address,
    /// Who asks.
    pub credential: Credential,
    /// File (PEM) of certificates that the endpoint's is checked with, besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// A container.
#[derive(Clone)]
pub struct AzureBlob {
    pub(crate) service: Service,
    container: Container,
    signs: bool,
}

impl fmt::Debug for AzureBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AzureBlob({})", self.service.address)
    }
}

impl AzureBlob {
    /// A client. Nothing is asked yet, so a container that is away or not made yet is no error.
    ///
    /// # Errors
    /// When the credential or the certificates can't be used.
    pub fn open(config: Config) -> Result<Self, AzureBlobError> {
        let Config { address, credential, ca_file } = config;
        let plain = address.endpoint().starts_with("http:") || credential.tokens_over_http() || {
            // Checked here, because a token would cross the network.
            let authority = match &credential {
                Credential::WorkloadIdentity { authority: Some(authority), .. } => Some(authority),
                _ => None,
            };
            match authority {
                Some(authority) if authority.scheme() == "http" => {
                    address.clone().at(authority).map_err(|e| AzureBlobError::Config(e.to_string()))?;
                    true
                }
                _ => false,
            }
        };
        let mut options = ClientOptions::new()
            .with_connect_timeout(CONNECT)
            .with_read_timeout(SILENCE)
            .with_timeout_disabled()
            .with_allow_http(plain);
        if let Some(path) = ca_file {
            let bad = |detail: String| AzureBlobError::Certificates { path: path.clone(), detail };
            let pem = std::fs::read(&path).map_err(|e| bad(e.to_string()))?;
            let certificates = Certificate::from_pem_bundle(&pem).map_err(|e| bad(e.to_string()))?;
            if certificates.is_empty() {
                return Err(bad("it holds none".to_owned()));
            }
            options = certificates.into_iter().fold(options, ClientOptions::with_root_certificate);
        }
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: BACKOFF.0, max_backoff: BACKOFF.1, base: 2.0 },
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
        };
        let config_error = |e: object_store::Error| AzureBlobError::Config(redacted(&e.to_string()));
        let builder = MicrosoftAzureBuilder::new()
            .with_account(address.account())
            .with_container_name(address.container())
            .with_endpoint(address.endpoint().to_owned())
            .with_client_options(options.clone())
            .with_retry(retry)
            .with_http_connector(Connector);
        let azure = credential.apply(builder).build().map_err(config_error)?;
        let http = Connector.connect(&options).map_err(config_error)?;
        let service = Service { http, address, credentials: azure.credentials().clone() };
        let signs = credential.signs();
        let one_by_one = (!signs).then(|| service.clone());
        Ok(Self { service, container: Container { azure, one_by_one }, signs })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> ObjectStore {
        Arc::new(self.container.clone())
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.service.address
    }

    /// What signs URLs for uploads; nothing for a SAS, which can't sign others.
    #[must_use]
    pub fn uploads(&self) -> Option<Arc<dyn DirectUploads>> {
        self.signs.then(|| Arc::new(self.clone()) as Arc<dyn DirectUploads>)
    }
}

#[async_trait]
impl DirectUploads for AzureBlob {
    /// A service SAS, or a user delegation SAS for identities, with the permission to write and create this one blob
    /// (<https://learn.microsoft.com/rest/api/storageservices/create-service-sas>).
    async fn sign_put(&self, key: &str, lifetime: Duration) -> Result<SignedPut, BlobError> {
        let url = self.container.azure.signed_url(Method::PUT, &Path::from(key), lifetime).await?;
        Ok(SignedPut { url, headers: [BLOB_TYPE].map(|(name, value)| (name.to_owned(), value.to_owned())).into() })
    }

    fn origin(&self) -> String {
        self.service.address.origin()
    }
}
