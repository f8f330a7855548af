//! Record sets read and written.

use std::time::Duration;

use azure_identity::{Credential, Identity, IdentityError, cause, refusal};
use reqwest::header::{IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

/// Version of the API.
const VERSION: &str = "2018-05-01";
/// Seconds that others may keep a record set that is made here.
const TTL: u64 = 60;
/// How often a write is tried: others may be faster, and Azure may ask to wait.
const TRIES: usize = 6;
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait that Azure may ask for, and the wait when it does not say.
const WAIT_MAX: Duration = Duration::from_secs(20);
const WAIT: Duration = Duration::from_secs(2);
/// Bytes of one string of a TXT record at most (RFC 1035 section 3.3).
const STRING_MAX: usize = 255;

/// Where Azure is: other clouds and tests are elsewhere.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The resource manager.
    pub management: Url,
    /// Who gives tokens.
    pub identity: azure_identity::Endpoints,
}

impl Default for Endpoints {
    fn default() -> Self {
        let management = Url::parse("https://management.azure.com/").unwrap_or_else(|_| unreachable!("a constant URL"));
        Self { management, identity: azure_identity::Endpoints::default() }
    }
}

/// Which zones, and who asks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Azure is.
    pub endpoints: Endpoints,
    /// Who asks.
    pub credential: Credential,
    /// The subscription's id.
    pub subscription: String,
    /// The resource group of the zones.
    pub resource_group: String,
    /// The zones' names, in lower case and without a final dot.
    pub zones: Vec<String>,
}

/// Why a record is not as wanted.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    /// The record lies in none of the zones.
    #[error("`{0}` lies in no zone of Azure DNS that is named in the settings")]
    NoZone(String),
    /// The setting is no base of addresses.
    #[error("`{0}` can't be Azure's address: write one like https://management.azure.com/")]
    Endpoint(Url),
    /// No token.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The identity may not.
    #[error("Azure does not let this identity change the zone {zone}: give it the role DNS Zone Contributor ({said})")]
    Forbidden {
        /// The zone.
        zone: String,
        /// What Azure said.
        said: String,
    },
    /// There is no such zone.
    #[error("Azure knows no zone {zone} in this subscription and resource group ({said})")]
    Missing {
        /// The zone.
        zone: String,
        /// What Azure said.
        said: String,
    },
    /// Another refusal.
    #[error("Azure refuses: {0}")]
    Refused(String),
    /// Others write all the time, or Azure asks to wait for longer than makes sense.
    #[error("the record set could not be written {TRIES} times in a row: {0}")]
    Busy(String),
    /// No answer.
    #[error("Azure can't be reached: {}", cause(.0))]
    Unreachable(#[from] reqwest::Error),
}

/// A record set as the API has it. What is not understood is kept and written back.
#[derive(Debug, Default, Deserialize)]
struct RecordSet {
    #[serde(default)]
    etag: Option<String>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Properties {
    #[serde(rename = "TTL", default)]
    ttl: u64,
    #[serde(rename = "TXTRecords", default)]
    records: Vec<Txt>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    metadata: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Txt {
    value: Vec<String>,
}

impl Txt {
    fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        // Proofs are ASCII, so a character is a byte.
        Self { value: chars.chunks(STRING_MAX).map(|part| part.iter().collect()).collect() }
    }

    fn is(&self, text: &str) -> bool {
        self.value.concat() == text
    }
}

/// What one try came to.
enum Tried {
    Done,
    Again(String, Duration),
}

/// A client of some zones.
#[derive(Debug)]
pub struct AzureDns {
    http: reqwest::Client,
    config: Config,
    identity: Identity,
}

impl AzureDns {
    /// A client.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub fn new(config: Config) -> Result<Self, AzureError> {
        let (credential, endpoints) = (config.credential.clone(), config.endpoints.identity.clone());
        let identity = Identity::new(credential, endpoints, config.endpoints.management.clone())?;
        Ok(Self { http: reqwest::Client::builder().timeout(TIMEOUT).build()?, config, identity })
    }

    /// Whether a record, without a final dot, lies in one of the zones.
    pub fn serves(&self, record: &str) -> bool {
        self.place(record).is_some()
    }

    /// The deepest of the zones that a record lies in, and the record's name within it.
    fn place(&self, record: &str) -> Option<(&str, String)> {
        let record = record.trim_end_matches('.').to_ascii_lowercase();
        let within = |zone: &&String| record == **zone || record.ends_with(&format!(".{zone}"));
        let zone = self.config.zones.iter().filter(within).max_by_key(|zone| zone.len())?;
        let relative = record.strip_suffix(zone.as_str())?.trim_end_matches('.');
        Some((zone, if relative.is_empty() { "@".to_owned() } else { relative.to_owned() }))
    }

    /// Adds a value to a name's TXT records; one that is there already stays.
    ///
    /// # Errors
    /// Why it is not there.
    pub async fn set(&self, record: &str, value: &str) -> Result<(), AzureError> {
        self.change(record, |records| {
            if !records.iter().any(|there| there.is(value)) {
                records.push(Txt::new(value));
            }
        })
        .await
    }

    /// Takes a value away; one that is not there is no error.
    ///
    /// # Errors
    /// Why it may still be there.
    pub async fn remove(&self, record: &str, value: &str) -> Result<(), AzureError> {
        self.change(record, |records| records.retain(|there| !there.is(value))).await
    }

    async fn change(&self, record: &str, change: impl Fn(&mut Vec<Txt>)) -> Result<(), AzureError> {
        let (zone, name) = self.place(record).ok_or_else(|| AzureError::NoZone(record.to_owned()))?;
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.attempt(zone, &name, &change).await? {
                Tried::Done => return Ok(()),
                Tried::Again(why, wait) => {
                    tracing::debug!(zone, name, why, "a record set is written again");
                    last = why;
                    tokio::time::sleep(wait).await;
                }
            }
        }
        Err(AzureError::Busy(last))
    }

    async fn attempt(&self, zone: &str, name: &str, change: impl Fn(&mut Vec<Txt>)) -> Result<Tried, AzureError> {
        let response = self.send(self.request(Method::GET, zone, name)?).await?;
        let found: Option<RecordSet> = match response.status() {
            StatusCode::OK => Some(read(response).await?),
            StatusCode::NOT_FOUND => {
                let said = refusal(response).await;
                // A record set that is not there yet, or the whole zone.
                if said.contains("ResourceNotFound") || said.contains("ResourceGroupNotFound") {
                    return Err(AzureError::Missing { zone: zone.to_owned(), said });
                }
                None
            }
            _ => return self.trouble(zone, response).await,
        };
        let set = found.as_ref();
        let before = set.map(|set| set.properties.clone()).unwrap_or_default();
        let mut after = before.clone();
        change(&mut after.records);
        if after.records == before.records {
            return Ok(Tried::Done);
        }
        let etag = set.and_then(|set| set.etag.as_deref());
        let request = if after.records.is_empty() {
            self.request(Method::DELETE, zone, name)?
        } else {
            after.ttl = if after.ttl == 0 { TTL } else { after.ttl };
            self.request(Method::PUT, zone, name)?.json(&serde_json::json!({ "properties": after }))
        };
        let request = match etag {
            Some(etag) => request.header(IF_MATCH, etag),
            None => request.header(IF_NONE_MATCH, "*"),
        };
        let response = self.send(request).await?;
        match response.status() {
            status if status.is_success() => Ok(Tried::Done),
            StatusCode::PRECONDITION_FAILED => {
                Ok(Tried::Again("others changed it meanwhile".to_owned(), Duration::ZERO))
            }
            _ => self.trouble(zone, response).await,
        }
    }

    async fn trouble(&self, zone: &str, response: Response) -> Result<Tried, AzureError> {
        let (status, zone) = (response.status(), zone.to_owned());
        let wait = wait(&response);
        let said = refusal(response).await;
        match status {
            // A token that was taken back: the next try asks for another.
            StatusCode::UNAUTHORIZED => {
                self.identity.forget().await;
                Ok(Tried::Again(said, Duration::ZERO))
            }
            StatusCode::FORBIDDEN => Err(AzureError::Forbidden { zone, said }),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
                Ok(Tried::Again(said, wait))
            }
            status if status.is_server_error() => Ok(Tried::Again(said, wait)),
            _ => Err(AzureError::Refused(said)),
        }
    }

    fn request(&self, method: Method, zone: &str, name: &str) -> Result<RequestBuilder, AzureError> {
        let config = &self.config;
        let segments = [
            "subscriptions",
            &config.subscription,
            "resourceGroups",
            &config.resource_group,
            "providers",
            "Microsoft.Network",
            "dnsZones",
            zone,
            "TXT",
            name,
        ];
        let base = &config.endpoints.management;
        let mut url = base.clone();
        url.path_segments_mut().map_err(|()| AzureError::Endpoint(base.clone()))?.pop_if_empty().extend(segments);
        url.query_pairs_mut().append_pair("api-version", VERSION);
        Ok(self.http.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, AzureError> {
        let access = self.identity.token().await?;
        Ok(request.bearer_auth(access.reveal()).send().await?)
    }
}

fn wait(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(WAIT, Duration::from_secs).min(WAIT_MAX)
}

/// An answer's body.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T, AzureError> {
    Ok(response.json().await?)
}
