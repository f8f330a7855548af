//! Azure Container Registry's exchange of tokens, against a small registry that answers as the vendor documents it
//! (<https://azure.github.io/acr/AAD-OAuth.html>).

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use azure_identity::{Credential, Endpoints, Identity};
use common::registry::ImageRegistry as _;
use common::secret::Secret;
use oci_registry::Login;
use serde_json::json;
use url::Url;

use crate::kit::registry;

type Pairs = Vec<(String, String)>;

/// What was asked, in order.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<(&'static str, Pairs)>>>);

impl Asked {
    fn note(&self, what: &'static str, pairs: Pairs) {
        self.0.lock().unwrap().push((what, pairs));
    }
}

async fn login(State(asked): State<Asked>, Form(form): Form<Pairs>) -> Response {
    asked.note("login", form);
    axum::Json(json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": "entra" })).into_response()
}

async fn exchange(State(asked): State<Asked>, Form(form): Form<Pairs>) -> Response {
    asked.note("exchange", form);
    axum::Json(json!({ "refresh_token": "refresh" })).into_response()
}

async fn token(State(asked): State<Asked>, Form(form): Form<Pairs>) -> Response {
    asked.note("token", form);
    axum::Json(json!({ "access_token": "acr" })).into_response()
}

async fn api(headers: HeaderMap) -> Response {
    let host = headers["host"].to_str().unwrap();
    match headers.get("authorization").map(|value| value.to_str().unwrap()) {
        Some("Bearer acr") => StatusCode::NOT_FOUND.into_response(),
        None => {
            let challenge = format!(r#"Bearer realm="http://{host}/oauth2/token",service="shop.azurecr.io""#);
            (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response()
        }
        Some(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_directorys_token_is_exchanged_for_one_of_the_registrys() {
    let asked = Asked::default();
    let routes = Router::new()
        .route("/contoso/oauth2/v2.0/token", post(login))
        .route("/oauth2/exchange", post(exchange))
        .route("/oauth2/token", post(token))
        .route("/v2/{*path}", get(api).delete(api))
        .with_state(asked.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });

    let url = Url::parse(&format!("http://{host}/")).unwrap();
    let credential =
        Credential::ClientSecret { tenant: "contoso".into(), client: "app".into(), secret: Secret::new("s3cret") };
    let resource = Url::parse("https://containerregistry.azure.net/").unwrap();
    let identity = Identity::new(credential, Endpoints { login: url.clone(), metadata: url }, resource).unwrap();
    let adapter =
        registry(&host, &host, Login::Azure { identity: Box::new(identity), tenant: Some("contoso".to_owned()) });
    for name in ["shop", "blog"] {
        adapter.remove(&format!("{host}/apps/{name}@sha256:{}", "a".repeat(64))).await.unwrap();
    }

    let asked = asked.0.lock().unwrap();
    let word = |pairs: &Pairs, name: &str| {
        pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let steps: Vec<&str> = asked.iter().map(|(what, _)| *what).collect();
    // Reading and deleting in two repositories: the directory and the exchange are asked once.
    assert_eq!(steps, ["login", "exchange", "token", "token", "token", "token"]);
    assert_eq!(word(&asked[0].1, "scope"), ["https://containerregistry.azure.net/.default"]);
    assert_eq!(word(&asked[1].1, "grant_type"), ["access_token"]);
    assert_eq!(word(&asked[1].1, "access_token"), ["entra"]);
    assert_eq!(word(&asked[1].1, "tenant"), ["contoso"]);
    assert_eq!(word(&asked[2].1, "grant_type"), ["refresh_token"]);
    assert_eq!(word(&asked[2].1, "refresh_token"), ["refresh"]);
    assert_eq!(word(&asked[2].1, "service"), ["shop.azurecr.io"]);
    assert_eq!(word(&asked[2].1, "scope"), ["repository:apps/shop:pull"]);
    assert_eq!(word(&asked[3].1, "scope"), ["repository:apps/shop:pull,push,delete"]);
}
