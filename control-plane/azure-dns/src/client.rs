//! Record sets read and written.

use std::time::Duration;

use reqwest::header::{IF_MATCH, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use crate::token::{self, Credential, Endpoints, Token, join};

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
    /// The file that the cluster should write.
    #[error("the workload's token {path} can't be read: {source}")]
    TokenFile {
        /// Its path.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// No token.
    #[error("Azure gives no token: {0}")]
    Login(String),
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

/// The innermost reason: the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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
    token: Mutex<Option<Token>>,
}

impl AzureDns {
    /// A client.
    ///
    /// # Errors
    /// When the system's certificates can't be read.
    pub fn new(config: Config) -> Result<Self, AzureError> {
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if matches!(config.credential, Credential::ManagedIdentity { .. }) {
            // The metadata service answers the machine itself alone.
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build()?, config, token: Mutex::new(None) })
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
                *self.token.lock().await = None;
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
        let mut url = join(&config.endpoints.management, &segments)?;
        url.query_pairs_mut().append_pair("api-version", VERSION);
        Ok(self.http.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, AzureError> {
        let mut token = self.token.lock().await;
        let access = match &*token {
            Some(kept) if kept.is_good() => kept.access.clone(),
            _ => {
                let new = token::ask(&self.http, &self.config.endpoints, &self.config.credential).await?;
                token.insert(new).access.clone()
            }
        };
        drop(token);
        Ok(request.bearer_auth(access.reveal()).send().await?)
    }
}

fn wait(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    seconds.map_or(WAIT, Duration::from_secs).min(WAIT_MAX)
}

/// What Azure says of a refusal: its code and sentence.
pub(crate) async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Detail {
        code: Option<String>,
        message: Option<String>,
    }
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    // The resource manager wraps its errors, the DNS does not, and the login has words of its own (RFC 6749 section 5.2).
    let detail: Option<Detail> = [body.get("error"), Some(&body)]
        .into_iter()
        .flatten()
        .find_map(|value| Detail::deserialize(value).ok().filter(|detail| detail.code.is_some()));
    let said = match detail {
        Some(detail) => (detail.code, detail.message),
        None => {
            let word = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
            (word("error"), word("error_description"))
        }
    };
    let line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    match said {
        (Some(code), Some(message)) => format!("{code}: {}", line(message)),
        (Some(code), None) => code,
        _ => format!("HTTP {status}"),
    }
}

/// An answer's body.
pub(crate) async fn read<T: DeserializeOwned>(response: Response) -> Result<T, AzureError> {
    Ok(response.json().await?)
}
