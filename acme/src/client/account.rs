//! Our account with an authority: made once, and its key kept sealed.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use instant_acme::{Account, ExternalAccountKey, Key, NewAccount};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::asking::again;
use super::internal;
use crate::authority::Authority;
use crate::client::trouble::failure;
use crate::failure::Failure;
use crate::store::{Store, StoreError};
use crate::transport::{Transport, seeing};

/// What is kept, sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    /// PKCS #8 in base64url.
    key: Secret,
    /// Its address; none until the authority answered.
    uri: Option<String>,
}

impl Kept {
    fn key(&self) -> Result<PrivatePkcs8KeyDer<'static>, Failure> {
        let der = URL_SAFE_NO_PAD.decode(self.key.reveal()).map_err(|e| internal(&e))?;
        Ok(PrivatePkcs8KeyDer::from(der))
    }
}

/// How often an account is opened that others open at the same time: the second time theirs is there.
const OPEN_TRIES: u32 = 4;

/// The account of one authority.
pub(super) struct Accounts {
    store: Arc<dyn Store>,
    keys: KeyRing,
    transport: Transport,
    /// The account once it was opened; held while it is, so that it is made once.
    open: Mutex<Option<Account>>,
}

impl Accounts {
    pub(super) fn new(store: Arc<dyn Store>, keys: KeyRing, transport: Transport) -> Self {
        Self { store, keys, transport, open: Mutex::new(None) }
    }

    /// The account, made when there is none.
    pub(super) async fn get(&self, authority: &Authority) -> Result<Account, Failure> {
        let mut open = self.open.lock().await;
        if let Some(account) = &*open {
            return Ok(account.clone());
        }
        for _ in 0..OPEN_TRIES {
            if let Some(account) = self.opened(authority).await? {
                *open = Some(account.clone());
                return Ok(account);
            }
        }
        Err(internal(&"other processes opened the account again and again at the same time"))
    }

    /// The authority knows it no longer.
    pub(super) async fn forget(&self, authority: &Authority) {
        let mut open = self.open.lock().await;
        *open = None;
        let forgotten = async {
            let sealed = self.store.account(&authority.id).await?;
            self.store.set_account(&authority.id, sealed.as_deref(), None).await
        };
        if let Err(error) = forgotten.await {
            tracing::warn!(authority = authority.id, %error, "a lost account can't be removed");
        }
    }

    /// The account; none when another process opened it at the same time, whose account counts then.
    async fn opened(&self, authority: &Authority) -> Result<Option<Account>, Failure> {
        let stored = |e: StoreError| internal(&e);
        let sealed = self.store.account(&authority.id).await.map_err(stored)?;
        let mut kept: Option<Kept> = match &sealed {
            Some(sealed) => {
                let text = self.keys.open(sealed).map_err(|e| internal(&e))?;
                Some(serde_json::from_str(text.reveal()).map_err(|e| internal(&e))?)
            }
            None => None,
        };
        // An authority that moved is another one.
        kept = kept.filter(|kept| kept.directory == authority.directory);
        if let Some(Kept { uri: Some(uri), .. }) = &kept {
            let key = kept.as_ref().map(Kept::key).transpose()?.ok_or_else(|| internal(&"no account key"))?;
            let builder = Account::builder_with_http(Box::new(self.transport.clone()));
            let (account, seen) = seeing(builder.from_parts(uri.clone(), key, authority.directory.clone())).await;
            let account = account.map_err(|e| failure(e, seen.as_ref(), Timestamp::now()))?;
            if let Some(anew) = sealed.as_deref().and_then(|sealed| self.keys.reseal(sealed).ok().flatten()) {
                self.store.set_account(&authority.id, sealed.as_deref(), Some(&anew)).await.map_err(stored)?;
            }
            return Ok(Some(account));
        }
        let (account, kept, before) = match &authority.external_account {
            None => {
                // The key is kept first: an account whose answer was lost is found again by it.
                let (kept, before) = match kept {
                    Some(kept) => (kept, sealed),
                    None => {
                        let (_, der) = Key::generate_pkcs8().map_err(|e| internal(&e))?;
                        let key = Secret::new(URL_SAFE_NO_PAD.encode(der.secret_pkcs8_der()));
                        let kept = Kept { directory: authority.directory.clone(), key, uri: None };
                        let Some(anew) = self.keep(authority, sealed.as_deref(), &kept).await? else {
                            return Ok(None);
                        };
                        (kept, Some(anew))
                    }
                };
                (self.create(authority, &kept).await?, kept, before)
            }
            // Here the client makes the key itself; an account whose answer is lost stays unused.
            Some(_) => {
                let (account, key) = self.create_bound(authority).await?;
                (account, Kept { directory: authority.directory.clone(), key, uri: None }, sealed)
            }
        };
        let kept = Kept { uri: Some(account.id().to_owned()), ..kept };
        if self.keep(authority, before.as_deref(), &kept).await?.is_none() {
            return Ok(None);
        }
        tracing::info!(authority = authority.id, account = account.id(), "opened an account");
        Ok(Some(account))
    }

    /// Keeps an account in place of `old`, and gives it sealed; none when another process kept one.
    async fn keep(&self, authority: &Authority, old: Option<&str>, kept: &Kept) -> Result<Option<String>, Failure> {
        let text = Secret::new(serde_json::to_string(kept).map_err(|e| internal(&e))?);
        let sealed = self.keys.seal(&text);
        let is_kept = self.store.set_account(&authority.id, old, Some(&sealed)).await.map_err(|e| internal(&e))?;
        Ok(is_kept.then_some(sealed))
    }

    async fn create(&self, authority: &Authority, kept: &Kept) -> Result<Account, Failure> {
        let contacts: Vec<&str> = authority.contacts.iter().map(String::as_str).collect();
        let key = kept.key()?;
        let (created, seen) = again(|| async {
            let pair = (Key::from_pkcs8_der(key.clone_key())?, PrivateKeyDer::Pkcs8(key.clone_key()));
            let builder = Account::builder_with_http(Box::new(self.transport.clone()));
            builder.create_from_key(pair, authority.directory.clone()).await
        })
        .await;
        let (account, _) = created.map_err(|e| failure(e, seen.as_ref(), Timestamp::now()))?;
        if !contacts.is_empty() {
            let (set, seen) = again(|| account.update_contacts(&contacts)).await;
            set.map_err(|e| failure(e, seen.as_ref(), Timestamp::now()))?;
        }
        Ok(account)
    }

    /// RFC 8555 section 7.3.4.
    async fn create_bound(&self, authority: &Authority) -> Result<(Account, Secret), Failure> {
        let contacts: Vec<&str> = authority.contacts.iter().map(String::as_str).collect();
        let external = authority.external_account.as_ref().ok_or_else(|| internal(&"no external account"))?;
        let key = URL_SAFE_NO_PAD.decode(external.key.reveal().trim_end_matches('=')).map_err(|e| internal(&e))?;
        let binding = ExternalAccountKey::new(external.id.clone(), &key);
        let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
        let (created, seen) = again(|| {
            let builder = Account::builder_with_http(Box::new(self.transport.clone()));
            builder.create(&new, authority.directory.clone(), Some(&binding))
        })
        .await;
        let (account, credentials) = created.map_err(|e| failure(e, seen.as_ref(), Timestamp::now()))?;
        let key = URL_SAFE_NO_PAD.encode(credentials.private_key().secret_pkcs8_der());
        Ok((account, Secret::new(key)))
    }
}
