//! A small authority that speaks what Pebble 2.4 does not: renewal information (RFC 9773), certificate profiles
//! (draft-ietf-acme-profiles) and persistent records (draft-ietf-acme-dns-persist). It holds its clients to the
//! rules: a nonce counts once, a request is for the address that it was signed for, by an account that is known.
//! Signatures themselves are Pebble's to check.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use acme::authority::Authority;
use acme::challenge::{Answer, ChallengeError, Challenges};
use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::time::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::server::TlsStream;

use super::pebble::api_certificate;

/// Shows answers to the small authority, which looks here.
#[derive(Default)]
pub struct Shelf {
    pub answers: Mutex<Vec<Answer>>,
}

#[async_trait]
impl Challenges for Shelf {
    async fn publish(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        self.answers.lock().unwrap().extend_from_slice(answers);
        Ok(())
    }
    async fn withdraw(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
        self.answers.lock().unwrap().retain(|answer| !answers.contains(answer));
        Ok(())
    }
}

struct Order {
    names: Vec<String>,
    proven: Vec<bool>,
    profile: Option<String>,
    replaces: Option<String>,
    chain: Option<String>,
}

#[derive(Default)]
pub struct Books {
    nonces: HashSet<String>,
    accounts: Vec<Value>,
    orders: Vec<Order>,
    /// What was asked of new orders.
    pub placed: Vec<Value>,
    /// Renewal windows by certificate, in seconds of the Unix epoch; two days around now for others.
    pub windows: HashMap<String, (i64, i64)>,
    replaced: HashSet<String>,
    /// Reasons of what was revoked, as numbers (RFC 5280 section 5.3.1).
    pub revoked: Vec<Value>,
    /// Answers that it can't revoke now.
    pub keeps: bool,
    /// Answers each new order so: its status, type and wait.
    pub refuse: Option<(u16, &'static str, Option<u64>)>,
}

pub struct Small {
    url: String,
    api_root: String,
    shelf: Arc<Shelf>,
    issuer: Issuer<'static, KeyPair>,
    root: String,
    books: Mutex<Books>,
}

struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = std::net::SocketAddr;
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (socket, address) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(socket).await {
                return (stream, address);
            }
        }
    }
    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

type Refusal = (StatusCode, &'static str);

impl Small {
    pub async fn start() -> Arc<Self> {
        let (api_root, certificate, key) = api_certificate();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().pem();
        let small = Arc::new(Self {
            url,
            api_root,
            shelf: Arc::default(),
            issuer: Issuer::new(params, key),
            root,
            books: Mutex::default(),
        });
        let app = axum::Router::new().fallback(answer).with_state(small.clone());
        tokio::spawn(async move { axum::serve(Tls(listener, Arc::new(config).into()), app).await });
        small
    }

    pub fn shelf(&self) -> Arc<Shelf> {
        self.shelf.clone()
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    pub fn authority(&self, id: &str) -> Authority {
        Authority { api_roots: Some(self.api_root.clone()), ..Authority::new(id, format!("{}/directory", self.url)) }
    }

    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.url);
        json!({
            "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
            "revokeCert": at("revoke"), "keyChange": at("key"), "renewalInfo": at("renewal"),
            "meta": { "profiles": { "classic": "90 days", "shortlived": "six days" } },
        })
    }

    /// Gives the payload, and the account's number unless it is a new one.
    fn judged(&self, uri: &Uri, body: &[u8]) -> Result<(Value, Value, Option<usize>), Refusal> {
        let bad = (StatusCode::BAD_REQUEST, "malformed");
        let part = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str().unwrap_or("?")).map_err(|_| bad);
        let body: Value = serde_json::from_slice(body).map_err(|_| bad)?;
        let head: Value = serde_json::from_slice(&part(&body["protected"])?).map_err(|_| bad)?;
        let payload = part(&body["payload"])?;
        let payload =
            if payload.is_empty() { Value::Null } else { serde_json::from_slice(&payload).map_err(|_| bad)? };
        if head["alg"] != "ES256" || head["url"] != format!("{}{}", self.url, uri.path()) {
            return Err(bad);
        }
        let mut books = self.books();
        if !books.nonces.remove(head["nonce"].as_str().unwrap_or("")) {
            return Err((StatusCode::BAD_REQUEST, "badNonce"));
        }
        let account = match head["kid"].as_str() {
            None => None,
            Some(kid) => {
                let number = kid.strip_prefix(&format!("{}/account/", self.url)).and_then(|n| n.parse::<usize>().ok());
                let known = number.filter(|n| *n < books.accounts.len());
                Some(known.ok_or((StatusCode::BAD_REQUEST, "accountDoesNotExist"))?)
            }
        };
        Ok((payload, head["jwk"].clone(), account))
    }

    fn thumbprint(&self, account: usize) -> String {
        let jwk = &self.books().accounts[account];
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        URL_SAFE_NO_PAD.encode(Sha256::digest(text.as_bytes()))
    }

    fn order(&self, number: usize) -> Value {
        let books = self.books();
        let order = &books.orders[number];
        let at = |path: String| format!("{}/{path}", self.url);
        let status = match (&order.chain, order.proven.iter().all(|p| *p)) {
            (Some(_), _) => "valid",
            (None, true) => "ready",
            (None, false) => "pending",
        };
        let mut shown = json!({
            "status": status,
            "identifiers": order.names.iter().map(|n| json!({"type": "dns", "value": n})).collect::<Vec<_>>(),
            "authorizations": (0..order.names.len()).map(|i| at(format!("authz/{number}/{i}"))).collect::<Vec<_>>(),
            "finalize": at(format!("finalize/{number}")),
        });
        if order.chain.is_some() {
            shown["certificate"] = at(format!("certificate/{number}")).into();
        }
        for (member, value) in [("replaces", &order.replaces), ("profile", &order.profile)] {
            if let Some(value) = value {
                shown[member] = value.as_str().into();
            }
        }
        shown
    }

    fn authorization(&self, number: usize, name: usize) -> Value {
        let books = self.books();
        let order = &books.orders[number];
        let (status, full) = (if order.proven[name] { "valid" } else { "pending" }, &order.names[name]);
        let domain = full.strip_prefix("*.").unwrap_or(full);
        let at = |kind: &str| format!("{}/challenge/{number}/{name}/{kind}", self.url);
        let mut challenges = vec![json!({
            "type": "dns-persist-01", "url": at("persist"), "status": status, "issuer-domain-names": ["small.example"],
        })];
        if domain == full {
            let token = format!("token-{number}-{name}");
            challenges.push(json!({ "type": "http-01", "url": at("http"), "status": status, "token": token }));
        }
        json!({
            "status": status, "identifier": { "type": "dns", "value": domain }, "wildcard": domain != full,
            "challenges": challenges,
        })
    }

    /// Looks whether what a challenge asks for is shown.
    fn look(&self, number: usize, name: usize, kind: &str, account: usize) -> bool {
        let full = self.books().orders[number].names[name].clone();
        let domain = full.strip_prefix("*.").unwrap_or(&full);
        let shown = self.shelf.answers.lock().unwrap().clone();
        let expected = match kind {
            "persist" => Answer::DnsPersist01 {
                record: format!("_validation-persist.{domain}"),
                value: format!(
                    "small.example; accounturi={}/account/{account}{}",
                    self.url,
                    if domain == full { "" } else { "; policy=wildcard" }
                ),
            },
            _ => {
                let token = format!("token-{number}-{name}");
                let key_authorization = format!("{token}.{}", self.thumbprint(account));
                Answer::Http01 { host: full.clone(), token, key_authorization }
            }
        };
        shown.contains(&expected)
    }

    fn new_order(&self, payload: &Value) -> Result<usize, Refusal> {
        let mut books = self.books();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let profile = text(&payload["profile"]);
        if profile.as_ref().is_some_and(|p| p != "classic" && p != "shortlived") {
            return Err((StatusCode::BAD_REQUEST, "invalidProfile"));
        }
        let replaces = text(&payload["replaces"]);
        if let Some(replaced) = &replaces
            && !books.replaced.insert(replaced.clone())
        {
            return Err((StatusCode::CONFLICT, "alreadyReplaced"));
        }
        books.placed.push(payload.clone());
        let names: Vec<String> =
            payload["identifiers"].as_array().unwrap().iter().filter_map(|i| text(&i["value"])).collect();
        let proven = vec![false; names.len()];
        books.orders.push(Order { names, proven, profile, replaces, chain: None });
        Ok(books.orders.len() - 1)
    }

    fn finalize(&self, number: usize, payload: &Value) -> Result<(), Refusal> {
        let bad = (StatusCode::BAD_REQUEST, "badCSR");
        let csr = URL_SAFE_NO_PAD.decode(payload["csr"].as_str().ok_or(bad)?).map_err(|_| bad)?;
        let mut csr =
            CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr)).map_err(|_| bad)?;
        let mut books = self.books();
        let order = &mut books.orders[number];
        if !order.proven.iter().all(|p| *p) {
            return Err((StatusCode::FORBIDDEN, "orderNotReady"));
        }
        let days = if order.profile.as_deref() == Some("shortlived") { 6 } else { 90 };
        let now = Duration::from_secs(Timestamp::now().since(Timestamp::from_millis(0)).as_secs());
        csr.params.not_before = date_time_ymd(1970, 1, 1) + now;
        csr.params.not_after = csr.params.not_before + Duration::from_secs(days * 86400);
        csr.params.use_authority_key_identifier_extension = true;
        csr.params.serial_number = Some(SerialNumber::from(1000 + number as u64));
        let leaf = csr.signed_by(&self.issuer).map_err(|_| bad)?;
        order.chain = Some(format!("{}{}", leaf.pem(), self.root));
        Ok(())
    }

    fn renewal(&self, id: &str) -> Value {
        let (start, end) = self.books().windows.get(id).copied().unwrap_or_else(|| {
            let now = Timestamp::now().as_millis() / 1000;
            (now + 40 * 86400, now + 42 * 86400)
        });
        let time = |seconds: i64| Timestamp::from_millis(seconds * 1000).to_string();
        let window = json!({ "start": time(start), "end": time(end) });
        json!({ "suggestedWindow": window, "explanationURL": "https://small.example/why" })
    }
}

async fn answer(State(small): State<Arc<Small>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut response = match respond(&small, &method, &uri, &body) {
        Ok(response) => response,
        Err((status, kind)) => {
            let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": kind, "status": status.as_u16() });
            (status, problem.to_string()).into_response()
        }
    };
    let nonce = common::secret::Secret::random("").reveal().to_owned();
    response.headers_mut().insert("replay-nonce", nonce.parse().unwrap());
    small.books().nonces.insert(nonce);
    response
}

fn respond(small: &Small, method: &Method, uri: &Uri, body: &[u8]) -> Result<Response, Refusal> {
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let json = |value: Value| value.to_string().into_response();
    let number = |text: &str| text.parse::<usize>().map_err(|_| (StatusCode::NOT_FOUND, "malformed"));
    if *method != Method::POST {
        return match path[..] {
            ["directory"] => Ok(json(small.directory())),
            ["nonce"] => Ok(StatusCode::OK.into_response()),
            ["renewal", id] => Ok(([("retry-after", "21600")], small.renewal(id).to_string()).into_response()),
            _ => Err((StatusCode::NOT_FOUND, "malformed")),
        };
    }
    let (payload, jwk, account) = small.judged(uri, body)?;
    let located =
        |at: String, value: Value| (StatusCode::CREATED, [("location", at)], value.to_string()).into_response();
    if path[..] == ["account"] {
        let mut books = small.books();
        let known = books.accounts.iter().position(|known| *known == jwk);
        let number = known.unwrap_or_else(|| {
            books.accounts.push(jwk);
            books.accounts.len() - 1
        });
        return Ok(located(format!("{}/account/{number}", small.url), json!({ "status": "valid" })));
    }
    let account = account.ok_or((StatusCode::UNAUTHORIZED, "unauthorized"))?;
    match path[..] {
        ["account", _] => Ok(json(json!({ "status": "valid" }))),
        ["order"] => {
            let refuse = small.books().refuse;
            if let Some((status, kind, wait)) = refuse {
                let status = StatusCode::from_u16(status).unwrap();
                let problem = json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": kind });
                let mut response = (status, problem.to_string()).into_response();
                if let Some(wait) = wait {
                    response.headers_mut().insert("retry-after", wait.to_string().parse().unwrap());
                }
                return Ok(response);
            }
            let number = small.new_order(&payload)?;
            Ok(located(format!("{}/order/{number}", small.url), small.order(number)))
        }
        ["order", n] => Ok(json(small.order(number(n)?))),
        ["authz", n, i] => Ok(json(small.authorization(number(n)?, number(i)?))),
        ["challenge", n, i, kind] => {
            let (n, i) = (number(n)?, number(i)?);
            let seen = small.look(n, i, kind, account);
            small.books().orders[n].proven[i] |= seen;
            let status = if seen { "valid" } else { "pending" };
            let token = format!("token-{n}-{i}");
            let kind = if kind == "persist" { "dns-persist-01" } else { "http-01" };
            Ok(json(json!({ "type": kind, "url": uri.to_string(), "status": status, "token": token })))
        }
        ["finalize", n] => {
            small.finalize(number(n)?, &payload)?;
            Ok(json(small.order(number(n)?)))
        }
        ["certificate", n] => small.books().orders[number(n)?]
            .chain
            .clone()
            .map(|chain| ([("content-type", "application/pem-certificate-chain")], chain).into_response())
            .ok_or((StatusCode::NOT_FOUND, "malformed")),
        ["revoke"] => {
            let mut books = small.books();
            if books.keeps {
                return Err((StatusCode::SERVICE_UNAVAILABLE, "serverInternal"));
            }
            books.revoked.push(payload["reason"].clone());
            Ok(StatusCode::OK.into_response())
        }
        _ => Err((StatusCode::NOT_FOUND, "malformed")),
    }
}
