//! Who asks, and the tokens that a registry's own issuer gives for it
//! (<https://distribution.github.io/distribution/spec/auth/token/>, RFC 6750); for Azure Container Registry the exchange
//! of a directory's token for one of the registry's (<https://azure.github.io/acr/AAD-OAuth.html>).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use azure_identity::{Identity, IdentityError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::registry::RegistryError;
use common::secret::Secret;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::address::is_loopback;
use crate::failure::Failure;

/// How long a token is good for when its issuer does not say.
const DEFAULT: Duration = Duration::from_secs(60);
/// A token that ends sooner is not used any more: a request must not outlive it.
const MARGIN: Duration = Duration::from_secs(15);
/// How long a refresh token of Azure's registry is used; it is good for three hours.
const REFRESH: Duration = Duration::from_secs(60 * 60);
/// Tokens that are kept: one a project that was deployed lately.
const TOKENS: usize = 1024;

/// Who asks.
#[derive(Debug)]
pub enum Login {
    /// Nobody: what is public can be read.
    Anonymous,
    /// A user of the registry, or of the issuer of its tokens.
    Password {
        /// Its name.
        username: String,
        /// Its password or long-lived token.
        password: Secret,
    },
    /// An identity in a directory of Microsoft Entra, for Azure Container Registry.
    Azure {
        /// Gets the directory's tokens.
        identity: Box<Identity>,
        /// The directory, when the registry does not find out by itself.
        tenant: Option<String>,
    },
}

/// Proves to one registry who asks.
#[derive(Debug)]
pub(crate) struct Auth {
    http: reqwest::Client,
    registry: Url,
    login: Arc<Login>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    scheme: Option<Scheme>,
    tokens: HashMap<String, Token>,
    refresh: Option<Token>,
}

/// What a registry wants to see.
#[derive(Clone, Debug)]
enum Scheme {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    end: Instant,
}

impl Token {
    fn is_good(&self) -> bool {
        self.end > Instant::now()
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

impl Auth {
    pub(crate) fn new(http: reqwest::Client, registry: Url, login: Arc<Login>) -> Self {
        Self { http, registry, login, state: Mutex::default() }
    }

    /// A request with proof that it may do what `scopes` name. Without proof while the registry has not asked for any.
    pub(crate) async fn sign(&self, request: RequestBuilder, scopes: &[String]) -> Result<RequestBuilder, Failure> {
        let mut state = self.state.lock().await;
        let value = match (&state.scheme, &*self.login) {
            (None, _) => return Ok(request),
            (Some(Scheme::Basic), Login::Password { username, password }) => basic(username, password),
            (Some(Scheme::Basic), _) => return Ok(request),
            (Some(Scheme::Bearer { realm, service }), _) => {
                let key = scopes.join(" ");
                let token = match state.tokens.get(&key).filter(|token| token.is_good()) {
                    Some(kept) => kept.text.clone(),
                    None => {
                        let (realm, service) = (realm.clone(), service.clone());
                        let new = self.token(&mut state, &realm, service.as_deref(), scopes).await?;
                        if state.tokens.len() >= TOKENS {
                            state.tokens.clear();
                        }
                        state.tokens.insert(key, new.clone());
                        new.text
                    }
                };
                format!("Bearer {}", token.reveal())
            }
        };
        drop(state);
        Ok(request.header(AUTHORIZATION, hidden(&value)?))
    }

    /// Learns what a registry wants, after it refused a request for want of it.
    pub(crate) async fn challenged(&self, headers: &HeaderMap, scopes: &[String]) -> Result<(), Failure> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let schemes = texts.filter_map(|text| parse_challenges(text).ok()).flatten();
        let mut wanted: Vec<Scheme> = schemes.filter_map(|challenge| self.scheme(&challenge)).collect();
        // A token rather than the password itself.
        wanted.sort_by_key(|scheme| matches!(scheme, Scheme::Basic));
        let Some(scheme) = wanted.into_iter().next() else {
            return Err(Failure::Refused {
                status: StatusCode::UNAUTHORIZED,
                said: "it asks for a login of a kind that is not known here".to_owned(),
            });
        };
        let mut state = self.state.lock().await;
        state.scheme = Some(scheme);
        state.tokens.remove(&scopes.join(" "));
        drop(state);
        Ok(())
    }

    fn scheme(&self, challenge: &ChallengeRef<'_>) -> Option<Scheme> {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Scheme::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let find = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = self.registry.join(&find("realm")?).ok()?;
        // The login goes there: never in clear over a network.
        let is_safe = realm.scheme() == "https" || is_loopback(&realm);
        is_safe.then(|| Scheme::Bearer { realm, service: find("service") })
    }

    async fn token(
        &self,
        state: &mut State,
        realm: &Url,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<Token, Failure> {
        let begun = Instant::now();
        let service = service.map(|service| ("service", service));
        let scopes = scopes.iter().map(|scope| ("scope", scope.as_str()));
        let request = match &*self.login {
            Login::Azure { identity, tenant } => {
                let refresh = match state.refresh.as_ref().filter(|token| token.is_good()) {
                    Some(kept) => kept.text.clone(),
                    None => state.refresh.insert(self.exchange(identity, tenant.as_deref()).await?).text.clone(),
                };
                let form = [("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())];
                self.form(realm.clone(), form.into_iter().chain(service).chain(scopes))
            }
            other => {
                let mut url = realm.clone();
                url.query_pairs_mut().extend_pairs(service.into_iter().chain(scopes));
                let request = self.http.get(url);
                match other {
                    Login::Password { username, password } => {
                        request.header(AUTHORIZATION, hidden(&basic(username, password))?)
                    }
                    _ => request,
                }
            }
        };
        let response = request.send().await?;
        if !response.status().is_success() {
            // A refresh token that was taken back is not shown again.
            state.refresh = None;
            return Err(refused(response).await);
        }
        let answer: Answer = response.json().await?;
        let text = answer.token.or(answer.access_token).ok_or_else(no_token)?;
        let good = answer.expires_in.map_or(DEFAULT, Duration::from_secs);
        Ok(Token { text, end: begun + good.saturating_sub(MARGIN) })
    }

    /// A refresh token of the registry's for the directory's token.
    async fn exchange(&self, identity: &Identity, tenant: Option<&str>) -> Result<Token, Failure> {
        #[derive(Deserialize)]
        struct Exchanged {
            refresh_token: Secret,
        }
        let access = identity.token().await.map_err(of_identity)?;
        let url = self.registry.join("oauth2/exchange").map_err(|_| no_token())?;
        let service = self.registry.host_str().unwrap_or_default();
        let form = [("grant_type", "access_token"), ("service", service), ("access_token", access.reveal())];
        let request = self.form(url, form.into_iter().chain(tenant.map(|tenant| ("tenant", tenant))));
        let begun = Instant::now();
        let response = request.send().await?;
        if !response.status().is_success() {
            identity.forget().await;
            return Err(refused(response).await);
        }
        let Exchanged { refresh_token } = response.json().await?;
        Ok(Token { text: refresh_token, end: begun + REFRESH })
    }

    fn form<'a>(&self, url: Url, words: impl Iterator<Item = (&'a str, &'a str)>) -> RequestBuilder {
        let body = Serializer::new(String::new()).extend_pairs(words).finish();
        self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
    }
}

/// Why there is no token, in the words of its issuer.
async fn refused(response: reqwest::Response) -> Failure {
    match Failure::of(response).await {
        Failure::Missing(said) => Failure::Refused { status: StatusCode::UNAUTHORIZED, said },
        Failure::Refused { said, .. } => {
            Failure::Refused { status: StatusCode::UNAUTHORIZED, said: format!("no token is given: {said}") }
        }
        other => other,
    }
}

fn of_identity(error: IdentityError) -> Failure {
    match error {
        IdentityError::Unreachable(_) => Failure::Passing { why: error.to_string(), wait: None },
        other => Failure::Other(RegistryError::Refused(other.to_string())),
    }
}

fn no_token() -> Failure {
    Failure::Other(RegistryError::Refused("its issuer of tokens answers without a token".to_owned()))
}

fn basic(username: &str, password: &Secret) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal())))
}

fn hidden(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(value).map_err(|_| no_token())?;
    value.set_sensitive(true);
    Ok(value)
}
