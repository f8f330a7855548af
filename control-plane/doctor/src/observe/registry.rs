//! What the registry says, over RDAP (RFC 9082, RFC 9083), found through IANA's list of services (RFC 9224).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Deserialize;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;

use super::json::{self, Json};
use crate::observation::Registration;

/// How long IANA's list is kept; it changes a few times a month.
const LIST_KEPT: Duration = Duration::from_secs(24 * 3600);
/// The registries' services.
pub(crate) struct Registry {
    json: Json,
    bootstrap: Url,
    services: Mutex<Option<(Instant, HashMap<String, Url>)>>,
}

/// Why a registry could not be asked.
#[derive(Debug, Error)]
enum Trouble {
    #[error(transparent)]
    Json(#[from] json::Trouble),
    #[error("the registry of .{0} has no RDAP service")]
    NoService(String),
    #[error("{0} is no address")]
    Address(String),
}

#[derive(Deserialize)]
struct List {
    services: Vec<(Vec<String>, Vec<String>)>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Domain {
    status: Vec<String>,
    events: Vec<Event>,
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_action: String,
    event_date: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entity {
    roles: Vec<String>,
    vcard_array: serde_json::Value,
}

impl Registry {
    pub(crate) fn new(bootstrap: Url, json: Json) -> Self {
        Self { json, bootstrap, services: Mutex::new(None) }
    }

    /// What the registry of a domain says of it.
    pub(crate) async fn ask(&self, domain: &str) -> Registration {
        match self.registration(domain).await {
            Ok(registration) => registration,
            Err(trouble) => {
                tracing::debug!(domain, %trouble, "the registry cannot be asked");
                Registration::Unknown(trouble.to_string())
            }
        }
    }

    async fn registration(&self, domain: &str) -> Result<Registration, Trouble> {
        let service = self.service(domain).await?;
        let text = format!("{}/domain/{domain}", service.as_str().trim_end_matches('/'));
        let url = Url::parse(&text).map_err(|_| Trouble::Address(text))?;
        let found: Domain = match self.json.get(&url).await {
            Err(json::Trouble::Status(_, StatusCode::NOT_FOUND)) => return Ok(Registration::NotRegistered),
            other => other?,
        };
        let expires = found.events.iter().find(|event| event.event_action == "expiration");
        Ok(Registration::Registered {
            status: found.status.iter().map(|status| status.to_ascii_lowercase()).collect(),
            expires: expires.and_then(|event| event.event_date.parse::<Timestamp>().ok()),
            registrar: found.entities.iter().find_map(registrar),
        })
    }

    /// The service of a domain's registry: that of the longest end of its name in the list.
    async fn service(&self, domain: &str) -> Result<Url, Trouble> {
        let mut services = self.services.lock().await;
        let fresh = services.as_ref().is_some_and(|(learned, _)| learned.elapsed() < LIST_KEPT);
        if !fresh {
            let list: List = self.json.get(&self.bootstrap).await?;
            let mut known = HashMap::new();
            for (ends, urls) in list.services {
                let mut urls: Vec<Url> = urls.iter().filter_map(|url| url.parse().ok()).collect();
                // HTTPS where there is a choice (RFC 9224 3).
                urls.sort_by_key(|url| url.scheme() != "https");
                if let Some(url) = urls.first() {
                    known.extend(ends.into_iter().map(|end| (end.to_ascii_lowercase(), url.clone())));
                }
            }
            *services = Some((Instant::now(), known));
        }
        let mut end = domain;
        while let Some((_, rest)) = end.split_once('.') {
            end = rest;
            if let Some(url) = services.as_ref().and_then(|(_, known)| known.get(end)) {
                return Ok(url.clone());
            }
        }
        Err(Trouble::NoService(end.to_owned()))
    }
}

/// The registrar's name out of its jCard (RFC 7095): `["vcard", [["fn", {}, "text", "…"], …]]`.
fn registrar(entity: &Entity) -> Option<String> {
    if !entity.roles.iter().any(|role| role == "registrar") {
        return None;
    }
    let properties = entity.vcard_array.get(1)?.as_array()?;
    let name = properties.iter().find(|property| property.get(0).is_some_and(|key| key == "fn"))?;
    name.get(3)?.as_str().map(str::to_owned)
}
