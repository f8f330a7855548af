//! Access tokens: by a client secret or a workload's federated token
//! (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>), or by the machine's managed
//! identity (<https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>).

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use reqwest::header::CONTENT_TYPE;
use serde::{Deserialize, Deserializer};
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::answer::refusal;
use crate::identity::IdentityError;

/// A token that ends sooner than this is replaced: a request must not outlive it.
const MARGIN: Duration = Duration::from_secs(300);
/// Version of the metadata service's API.
const METADATA_VERSION: &str = "2018-02-01";
/// What a federated token is (RFC 7523 section 2.2).
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How one proves who one is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An app's secret.
    ClientSecret {
        /// The directory.
        tenant: String,
        /// The app.
        client: String,
        /// Its secret.
        secret: Secret,
    },
    /// A token that the cluster writes to a file, again and again.
    WorkloadIdentity {
        /// The directory.
        tenant: String,
        /// The app or identity that trusts the cluster.
        client: String,
        /// The file.
        token_file: PathBuf,
    },
    /// The identity of the machine.
    ManagedIdentity {
        /// Which, when the machine has several.
        client: Option<String>,
    },
}

/// Where Azure is: other clouds and tests are elsewhere.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Who gives tokens.
    pub login: Url,
    /// The machine's metadata service.
    pub metadata: Url,
}

impl Default for Endpoints {
    fn default() -> Self {
        let constant = |text: &str| Url::parse(text).unwrap_or_else(|_| unreachable!("a constant URL"));
        Self { login: constant("https://login.microsoftonline.com/"), metadata: constant("http://169.254.169.254/") }
    }
}

/// A token and its end.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) access: Secret,
    end: Instant,
}

impl Token {
    /// Whether a request may begin with it.
    pub(crate) fn is_good(&self) -> bool {
        self.end > Instant::now() + MARGIN
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: Secret,
    /// The metadata service writes the number as text.
    #[serde(deserialize_with = "seconds")]
    expires_in: u64,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Asks for a token for `resource`, like `https://management.azure.com/`.
pub(crate) async fn ask(
    http: &reqwest::Client,
    endpoints: &Endpoints,
    credential: &Credential,
    resource: &Url,
) -> Result<Token, IdentityError> {
    let asked = Instant::now();
    let (tenant, client, proof) = match credential {
        Credential::ManagedIdentity { client } => {
            let request = http.get(managed(endpoints, client.as_deref(), resource)?).header("Metadata", "true");
            return answer(request, asked).await;
        }
        Credential::ClientSecret { tenant, client, secret } => {
            (tenant, client, vec![("client_secret", secret.reveal().to_owned())])
        }
        Credential::WorkloadIdentity { tenant, client, token_file } => {
            let token = tokio::fs::read_to_string(token_file)
                .await
                .map_err(|source| IdentityError::TokenFile { path: token_file.display().to_string(), source })?;
            let proof =
                vec![("client_assertion_type", ASSERTION.to_owned()), ("client_assertion", token.trim().to_owned())];
            (tenant, client, proof)
        }
    };
    let url = join(&endpoints.login, &[tenant, "oauth2", "v2.0", "token"])?;
    let scope = format!("{resource}.default");
    let mut words =
        vec![("grant_type", "client_credentials".to_owned()), ("client_id", client.clone()), ("scope", scope)];
    words.extend(proof);
    let form = Serializer::new(String::new()).extend_pairs(words).finish();
    let request = http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    answer(request, asked).await
}

fn managed(endpoints: &Endpoints, client: Option<&str>, resource: &Url) -> Result<Url, IdentityError> {
    let mut url = join(&endpoints.metadata, &["metadata", "identity", "oauth2", "token"])?;
    url.query_pairs_mut()
        .append_pair("api-version", METADATA_VERSION)
        .append_pair("resource", resource.as_str())
        .extend_pairs(client.map(|client| ("client_id", client)));
    Ok(url)
}

async fn answer(request: reqwest::RequestBuilder, asked: Instant) -> Result<Token, IdentityError> {
    let response = request.send().await?;
    if !response.status().is_success() {
        return Err(IdentityError::Login(refusal(response).await));
    }
    let answer: Answer = response.json().await?;
    Ok(Token { access: answer.access_token, end: asked + Duration::from_secs(answer.expires_in) })
}

/// An address below one, its segments escaped.
fn join(base: &Url, segments: &[&str]) -> Result<Url, IdentityError> {
    let mut url = base.clone();
    url.path_segments_mut().map_err(|()| IdentityError::Endpoint(base.clone()))?.pop_if_empty().extend(segments);
    Ok(url)
}
