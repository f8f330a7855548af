//! An authority that exchanges the cluster's tokens, as Microsoft Entra does
//! (<https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Form, Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// The directory.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The workload.
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
/// What the cluster wrote.
const CLUSTERS: &str = "the-clusters-token";

pub struct Authority {
    folder: TempDir,
    url: Url,
    asked: Arc<AtomicUsize>,
}

impl Authority {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), CLUSTERS).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new().route("/{tenant}/oauth2/v2.0/token", post(token)).with_state(Arc::clone(&asked));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { folder, url, asked }
    }

    pub fn url(&self) -> Url {
        self.url.clone()
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn token(
    State(asked): State<Arc<AtomicUsize>>,
    Path(tenant): Path<String>,
    Form(form): Form<HashMap<String, String>>,
) -> Json<Value> {
    assert_eq!(tenant, TENANT);
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    assert_eq!([field("client_id"), field("client_assertion")], [CLIENT, CLUSTERS]);
    asked.fetch_add(1, Ordering::Relaxed);
    let claims = json!({
        "iss": format!("https://sts.windows.net/{TENANT}/"), "aud": "https://storage.azure.com",
        "nbf": 0, "iat": 0, "exp": 4_000_000_000_u64, "oid": CLIENT, "tid": TENANT, "ver": "1.0",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let access = format!("{}.{}.{}", part(&json!({ "alg": "RS256", "typ": "JWT" })), part(&claims), "c2lnbmF0dXJl");
    Json(json!({ "access_token": access, "token_type": "Bearer", "expires_in": 3600 }))
}
