//! What CAA records must name for certificates to be issued.

use std::sync::Arc;
use std::time::Duration;

use acme::authority::Authority;
use acme::challenge::Method;
use acme::client::Client;
use url::Url;

use super::Issuing;

/// How long an authority may take to say which account is ours; without an answer accounts are not judged.
const ACCOUNT: Duration = Duration::from_secs(5);

/// An authority that is asked.
pub(super) struct Asked {
    id: String,
    directory: Option<Url>,
    client: Arc<Client>,
}

impl Asked {
    pub(super) fn new(authority: &Authority, client: Arc<Client>) -> Self {
        // The client refuses a directory that is no address when it first needs it, and says so.
        Self { id: authority.id.clone(), directory: authority.directory.parse().ok(), client }
    }
}

impl Issuing {
    /// The authorities in order, as CAA records see them (RFC 8659, RFC 8657), for names proven by these methods.
    pub(crate) async fn in_caa(&self, methods: &[Method]) -> Vec<doctor::Authority> {
        let asked = self.0.asked.iter().map(async |asked| {
            let account = match tokio::time::timeout(ACCOUNT, asked.client.account_uri()).await {
                Ok(Ok(account)) => Some(account),
                Ok(Err(error)) => {
                    tracing::warn!(authority = asked.id, %error, "an account can't be told, so CAA is judged without it");
                    None
                }
                Err(_) => None,
            };
            doctor::Authority {
                name: asked.id.clone(),
                identities: Vec::new(),
                directory: asked.directory.clone(),
                accounts: account.into_iter().collect(),
                methods: methods.iter().map(|method| method.as_str().to_owned()).collect(),
            }
        });
        futures::future::join_all(asked).await
    }
}
