//! A small Azure: tokens, and record sets with ETags, by the published API.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, RawForm, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use azure_dns::{AzureDns, AzureError, Config, Credential, Endpoints};
use common::secret::Secret;
use serde_json::{Value, json};
use url::Url;

/// What the fake knows, and how it misbehaves.
#[derive(Default)]
struct Azure {
    /// Record sets by zone and name: ETag and properties.
    sets: HashMap<(String, String), (u64, Value)>,
    tokens: usize,
    /// Tokens that are no longer good.
    revoked: Vec<String>,
    /// Statuses to answer the next requests with.
    next: Vec<StatusCode>,
    /// A value that somebody else adds before the next write.
    meddle: Option<&'static str>,
    writes: Vec<String>,
}

type Shared = Arc<Mutex<Azure>>;

fn problem(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "error": { "code": code, "message": message } }))).into_response()
}

async fn login(State(azure): State<Shared>, RawForm(form): RawForm) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
    let word = |name: &str| form.get(name).map_or("", String::as_str);
    assert_eq!(word("grant_type"), "client_credentials");
    assert!(word("scope").ends_with("/.default"), "{form:?}");
    let proven = word("client_secret") == "hunter2"
        || (word("client_assertion") == "eyJ.federated"
            && word("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    if word("client_id") != "app" || !proven {
        let said =
            json!({ "error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace" });
        return (StatusCode::UNAUTHORIZED, Json(said)).into_response();
    }
    Json(json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": new_token(&azure) })).into_response()
}

async fn metadata(State(azure): State<Shared>, headers: HeaderMap, query: Query<HashMap<String, String>>) -> Response {
    assert_eq!((headers["metadata"].to_str().unwrap(), query["api-version"].as_str()), ("true", "2018-02-01"));
    assert_eq!(query["client_id"], "identity");
    Json(json!({ "expires_in": "3599", "access_token": new_token(&azure) })).into_response()
}

fn new_token(azure: &Shared) -> String {
    let mut azure = azure.lock().unwrap();
    azure.tokens += 1;
    format!("token{}", azure.tokens)
}

async fn record_set(
    State(azure): State<Shared>,
    Path((subscription, group, zone, name)): Path<(String, String, String, String)>,
    query: Query<HashMap<String, String>>,
    method: Method,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut azure = azure.lock().unwrap();
    assert_eq!(
        (subscription.as_str(), group.as_str(), query["api-version"].as_str()),
        ("sub", "group 1", "2018-05-01")
    );
    let token = headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ").to_owned();
    if azure.revoked.contains(&token) {
        return problem(StatusCode::UNAUTHORIZED, "ExpiredAuthenticationToken", "The access token expired.");
    }
    if let Some(status) = azure.next.pop() {
        return problem(status, "AuthorizationFailed", "The client does not have authorization.");
    }
    if zone == "absent.example" {
        return problem(StatusCode::NOT_FOUND, "ResourceNotFound", "The Resource was not found.");
    }
    let key = (zone.clone(), name.clone());
    if method != Method::GET
        && let Some(value) = azure.meddle.take()
    {
        let entry = azure.sets.entry(key.clone()).or_insert((0, json!({ "TTL": 300, "TXTRecords": [] })));
        entry.0 += 1;
        entry.1["TXTRecords"].as_array_mut().unwrap().push(json!({ "value": [value] }));
    }
    let there = azure.sets.get(&key).cloned();
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let etag = |number: u64| format!("etag-{number}");
    if method != Method::GET {
        let conditions = (header("if-match"), header("if-none-match"), &there);
        let holds = match conditions {
            (Some(wanted), None, Some((number, _))) => wanted == etag(*number),
            (None, Some(star), None) => star == "*",
            _ => false,
        };
        if !holds {
            let code = "PreconditionFailed";
            let said = json!({ "code": code, "message": "The condition was not satisfied." });
            return (StatusCode::PRECONDITION_FAILED, Json(said)).into_response();
        }
        azure.writes.push(format!("{method} {name}"));
    }
    match (method, there) {
        (Method::GET, Some((number, properties))) => Json(json!({
            "id": format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/dnsZones/{zone}/TXT/{name}"),
            "etag": etag(number), "name": name, "type": "Microsoft.Network/dnsZones/TXT", "properties": properties,
        }))
        .into_response(),
        (Method::GET, None) => {
            let said = json!({ "code": "NotFound", "message": "The resource record was not found." });
            (StatusCode::NOT_FOUND, Json(said)).into_response()
        }
        (Method::PUT, there) => {
            let body: Value = serde_json::from_str(&body).unwrap();
            let number = there.as_ref().map_or(0, |(number, _)| *number) + 1;
            azure.sets.insert(key, (number, body["properties"].clone()));
            let status = if there.is_some() { StatusCode::OK } else { StatusCode::CREATED };
            (status, Json(json!({ "etag": etag(number), "properties": body["properties"] }))).into_response()
        }
        (Method::DELETE, _) => {
            azure.sets.remove(&key);
            StatusCode::OK.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn start() -> (Shared, Endpoints) {
    let azure = Shared::default();
    let path = "/subscriptions/{s}/resourceGroups/{g}/providers/Microsoft.Network/dnsZones/{zone}/TXT/{name}";
    let router = Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(login))
        .route("/metadata/identity/oauth2/token", get(metadata))
        .route(path, any(record_set))
        .with_state(Arc::clone(&azure));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (
        azure,
        Endpoints {
            management: url.clone(),
            identity: azure_identity::Endpoints { login: url.clone(), metadata: url },
        },
    )
}

fn secret(text: &str) -> Credential {
    Credential::ClientSecret { tenant: "tenant".into(), client: "app".into(), secret: Secret::new(text) }
}

fn client(endpoints: &Endpoints, credential: Credential) -> AzureDns {
    let zones = ["example.com", "sub.example.com", "absent.example"].map(str::to_owned).to_vec();
    let config = Config {
        endpoints: endpoints.clone(),
        credential,
        subscription: "sub".into(),
        resource_group: "group 1".into(),
        zones,
    };
    AzureDns::new(config).unwrap()
}

fn values(azure: &Shared, zone: &str, name: &str) -> Vec<String> {
    let azure = azure.lock().unwrap();
    let Some((_, properties)) = azure.sets.get(&(zone.to_owned(), name.to_owned())) else { return Vec::new() };
    let records = properties["TXTRecords"].as_array().unwrap();
    records
        .iter()
        .map(|record| record["value"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect())
        .collect()
}

#[tokio::test]
async fn a_value_is_added_beside_others_and_taken_away_alone() {
    let (azure, endpoints) = start().await;
    let dns = client(&endpoints, secret("hunter2"));
    let record = "_acme-challenge.shop.example.com";
    for value in ["one", "two", "two"] {
        dns.set(record, value).await.unwrap();
    }
    assert_eq!(values(&azure, "example.com", "_acme-challenge.shop"), ["one", "two"]);
    dns.remove(record, "one").await.unwrap();
    assert_eq!(values(&azure, "example.com", "_acme-challenge.shop"), ["two"]);
    dns.remove(record, "two").await.unwrap();
    dns.remove(record, "two").await.unwrap();
    assert!(azure.lock().unwrap().sets.is_empty());
    let writes = azure.lock().unwrap().writes.clone();
    assert_eq!(writes, ["PUT", "PUT", "PUT", "DELETE"].map(|method| format!("{method} _acme-challenge.shop")));
    // One token served all.
    assert_eq!(azure.lock().unwrap().tokens, 1);
    let long = "x".repeat(300);
    dns.set("example.com", &long).await.unwrap();
    assert_eq!(values(&azure, "example.com", "@"), std::slice::from_ref(&long));
    dns.remove("example.com", &long).await.unwrap();
    assert!(azure.lock().unwrap().sets.is_empty());
}

#[tokio::test]
async fn what_others_write_at_the_same_time_is_kept() {
    let (azure, endpoints) = start().await;
    let dns = client(&endpoints, secret("hunter2"));
    azure.lock().unwrap().meddle = Some("theirs");
    dns.set("_a.example.com", "ours").await.unwrap();
    assert_eq!(values(&azure, "example.com", "_a"), ["theirs", "ours"]);
    assert_eq!(azure.lock().unwrap().sets[&("example.com".into(), "_a".into())].1["TTL"], 300);
    azure.lock().unwrap().meddle = Some("more");
    dns.remove("_a.example.com", "ours").await.unwrap();
    assert_eq!(values(&azure, "example.com", "_a"), ["theirs", "more"]);
}

#[tokio::test]
async fn the_deepest_zone_is_written_to() {
    let (azure, endpoints) = start().await;
    let dns = client(&endpoints, secret("hunter2"));
    dns.set("_a.sub.example.com", "v").await.unwrap();
    assert_eq!(values(&azure, "sub.example.com", "_a"), ["v"]);
    assert!(dns.serves("EXAMPLE.com.") && !dns.serves("notexample.com"));
    assert!(matches!(dns.set("_a.example.net", "v").await, Err(AzureError::NoZone(_))));
}

#[tokio::test]
async fn each_kind_of_identity_gets_a_token() {
    let (azure, endpoints) = start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "eyJ.federated\n").unwrap();
    let workload = Credential::WorkloadIdentity {
        tenant: "tenant".into(),
        client: "app".into(),
        token_file: file.path().to_owned(),
    };
    let managed = Credential::ManagedIdentity { client: Some("identity".into()) };
    for credential in [secret("hunter2"), workload.clone(), managed] {
        client(&endpoints, credential).set("_a.example.com", "v").await.unwrap();
    }
    assert_eq!(azure.lock().unwrap().tokens, 3);
    drop(file);
    let error = client(&endpoints, workload).set("_a.example.com", "v").await.unwrap_err();
    assert!(matches!(error, AzureError::Identity(azure_identity::IdentityError::TokenFile { .. })), "{error}");
    let error = client(&endpoints, secret("wrong")).set("_a.example.com", "v").await.unwrap_err().to_string();
    assert!(error.contains("AADSTS7000215") && !error.contains("wrong"), "{error}");
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_replaced_and_refusals_say_what_to_do() {
    let (azure, endpoints) = start().await;
    let dns = client(&endpoints, secret("hunter2"));
    dns.set("_a.example.com", "v").await.unwrap();
    azure.lock().unwrap().revoked.push("token1".into());
    dns.set("_a.example.com", "w").await.unwrap();
    assert_eq!(azure.lock().unwrap().tokens, 2);
    azure.lock().unwrap().next = vec![StatusCode::FORBIDDEN];
    let error = dns.set("_a.example.com", "x").await.unwrap_err().to_string();
    assert!(error.contains("DNS Zone Contributor") && error.contains("example.com"), "{error}");
    let error = dns.set("_a.absent.example", "x").await.unwrap_err();
    assert!(matches!(error, AzureError::Missing { .. }), "{error}");
}
