//! An ACME authority (RFC 8555): the steps of an order carried out with `instant-acme`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::secret::{KeyRing, Secret};
use common::time::Timestamp;
use instant_acme::{
    Account, CertificateIdentifier, ChallengeStatus, Identifier, NewOrder, Order as Remote, OrderStatus,
    RevocationRequest,
};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::authority::Authority;
use crate::challenge::{Answer, Challenges};
use crate::check::leaf;
use crate::clock::Clock;
use crate::entry::{Current, Order, RevocationReason, Step, Window};
use crate::failure::{Failure, detail};
use crate::issuer::{Advance, Issuer, Wanted};
use crate::store::{SealedCertificate, Store};
use crate::transport::{Transport, TransportError, seeing};

mod account;
mod asking;
mod issued;
mod proof;
mod trouble;

use account::Accounts;
use asking::{Asking, again};
use trouble::{failure, of_order};

/// Longest wait for every edge to show an answer; well within [`crate::manager::STEP_LIMIT`].
const SHOWING: Duration = Duration::from_secs(60);
/// How often a refused nonce is answered with a fresh one, beyond what `instant-acme` does (RFC 8555 section 6.5).
const NONCE_TRIES: u32 = 5;

/// An ACME authority with our account.
pub struct Client {
    authority: Authority,
    accounts: Accounts,
    keys: KeyRing,
    challenges: Arc<dyn Challenges>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client of an authority. Nothing is sent yet.
    ///
    /// # Errors
    /// When the roots that its API is to be trusted by can't be used.
    pub fn new(
        authority: Authority,
        store: Arc<dyn Store>,
        challenges: Arc<dyn Challenges>,
        keys: KeyRing,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TransportError> {
        let transport = Transport::new(authority.api_roots.as_deref())?;
        let accounts = Accounts::new(store, keys.clone(), transport);
        Ok(Self { authority, accounts, keys, challenges, clock })
    }

    /// The address of our account, for CAA records (RFC 8657) and persistent DNS records; the account is made when
    /// there is none yet.
    ///
    /// # Errors
    /// When the authority refuses the account or is away.
    pub async fn account_uri(&self) -> Result<String, Failure> {
        Ok(self.account().await?.id().to_owned())
    }

    async fn account(&self) -> Result<Account, Failure> {
        self.accounts.get(&self.authority).await
    }

    /// An order as the authority has it, and how long it wants to be left alone with it.
    async fn remote(&self, url: &str) -> Result<(Remote, Option<Duration>), Failure> {
        let account = self.account().await?;
        let (order, seen) = again(|| account.order(url.to_owned())).await;
        match order {
            Ok(order) => Ok((order, seen.and_then(|seen| seen.retry_after))),
            Err(error) => {
                self.notice(&error).await;
                Err(of_order(error, seen.as_ref(), self.clock.now()))
            }
        }
    }

    /// An order with all its authorisations, so that nothing is asked while they are gone through.
    async fn loaded(&self, url: &str) -> Result<Remote, Failure> {
        let mut tries = NONCE_TRIES;
        'order: loop {
            let (mut remote, _) = self.remote(url).await?;
            let mut authorizations = remote.authorizations();
            loop {
                let (authorization, seen) = seeing(authorizations.next()).await;
                let error = match authorization {
                    None => return Ok(remote),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => error,
                };
                tries -= 1;
                if tries == 0 || !trouble::is_nonce(&error) {
                    return Err(of_order(error, seen.as_ref(), self.clock.now()));
                }
                continue 'order;
            }
        }
    }

    /// Why an order failed.
    async fn why(&self, url: &str) -> Failure {
        match self.loaded(url).await {
            Ok(mut remote) => proof::failed(&mut remote, self.clock.now()).await,
            Err(failure) => failure,
        }
    }

    /// An account that the authority forgot is made anew with the next order.
    async fn notice(&self, error: &instant_acme::Error) {
        if trouble::is_unknown_account(error) {
            self.accounts.forget(&self.authority).await;
        }
    }

    async fn place(&self, order: &Order, wanted: Wanted<'_>) -> Result<Step, Failure> {
        let account = self.account().await?;
        let names: Vec<Identifier> = wanted.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let mut new = NewOrder::new(&names);
        if let Some(profile) = &self.authority.profile {
            let offered: Vec<&str> = account.profiles().map(|p| p.name).collect();
            if !offered.contains(&profile.as_str()) {
                let detail = format!("there is no certificate profile {profile:?}; there are {offered:?}");
                return Err(Failure::Refused { detail });
            }
            new = new.profile(profile);
        }
        if let Some((key, serial)) = order.replaces.as_deref().and_then(|id| id.split_once('.')) {
            let id = CertificateIdentifier { authority_key_identifier: key.into(), serial: serial.into() };
            new = new.replaces(id);
        }
        let (placed, seen) = again(|| account.new_order(&new)).await;
        match placed {
            Ok(placed) => Ok(Step::Placed { url: placed.url().to_owned() }),
            Err(error) if order.replaces.is_some() && trouble::is_about_replacing(&error) => {
                Err(Failure::NotReplaceable { detail: detail(&error.to_string()) })
            }
            Err(error) => {
                self.notice(&error).await;
                Err(failure(error, seen.as_ref(), self.clock.now()))
            }
        }
    }

    async fn ask(&self, url: &str, wanted: Wanted<'_>) -> Result<Step, Failure> {
        let account = self.account().await?;
        let mut remote = self.loaded(url).await?;
        match remote.state().status {
            OrderStatus::Pending => {}
            // Proven for an earlier order.
            OrderStatus::Ready => return self.keyed(url),
            OrderStatus::Invalid => return Err(self.why(url).await),
            OrderStatus::Processing | OrderStatus::Valid => return Err(lost("it went on without our key")),
        }
        let answers = proof::answers(&account, &mut remote, wanted, self.clock.now()).await?;
        Ok(Step::Answering { url: url.to_owned(), answers })
    }

    /// That edges are slow is not the authority's fault, so that this wait has a bound of its own.
    async fn show(&self, answers: &[Answer]) -> Result<(), Failure> {
        let shown = tokio::time::timeout(SHOWING, self.challenges.publish(answers)).await;
        let failed = |detail| Failure::Challenges { detail };
        shown
            .map_err(|_| failed(format!("not everybody showed it within {} s", SHOWING.as_secs())))?
            .map_err(|e| failed(detail(&e.to_string())))
    }

    async fn tell(&self, url: &str, answers: &[Answer]) -> Result<(), Failure> {
        let mut remote = self.loaded(url).await?;
        let mut authorizations = remote.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(|e| failure(e, None, self.clock.now()))?;
            let name = authorization.identifier().to_string();
            let Some(method) = proof::method_for(&name, answers) else { continue };
            let Some(mut challenge) = authorization.challenge(proof::type_of(method)) else { continue };
            // After a crash, some may have been told.
            if challenge.status == ChallengeStatus::Pending {
                let mut tries = NONCE_TRIES;
                loop {
                    let (told, seen) = seeing(challenge.set_ready()).await;
                    let Err(error) = told else { break };
                    tries -= 1;
                    if tries == 0 || !trouble::is_nonce(&error) {
                        return Err(trouble::of_challenge(error, &name, seen.as_ref(), self.clock.now()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the authority to have looked.
    async fn looked(&self, url: &str, answers: &[Answer]) -> Result<Waited, Failure> {
        let mut wait = Asking::new();
        loop {
            let (mut remote, rest) = self.remote(url).await?;
            match remote.state().status {
                OrderStatus::Pending => {}
                OrderStatus::Ready => break,
                OrderStatus::Invalid => return Err(self.why(url).await),
                OrderStatus::Processing | OrderStatus::Valid => return Err(lost("it went on without our key")),
            }
            if let Some(rest) = wait.next(rest).await {
                return Ok(Waited::Rest(rest));
            }
        }
        self.withdraw(answers).await?;
        Ok(Waited::Step(self.keyed(url)?))
    }

    fn keyed(&self, url: &str) -> Result<Step, Failure> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| internal(&e))?;
        let sealed_key = self.keys.seal(&Secret::new(key.serialize_pem()));
        Ok(Step::Keyed { url: url.to_owned(), sealed_key })
    }

    async fn withdraw(&self, answers: &[Answer]) -> Result<(), Failure> {
        let passing: Vec<Answer> = answers.iter().filter(|answer| !answer.stays()).cloned().collect();
        if passing.is_empty() {
            return Ok(());
        }
        self.challenges.withdraw(&passing).await.map_err(|e| Failure::Challenges { detail: detail(&e.to_string()) })
    }
}

/// What a wait led to.
enum Waited {
    Step(Step),
    Rest(Duration),
}

#[async_trait]
impl Issuer for Client {
    async fn advance(&self, order: &Order, wanted: Wanted<'_>) -> Result<Advance, Failure> {
        let step = match &order.step {
            Step::Intended { .. } => self.place(order, wanted).await?,
            Step::Placed { url } => self.ask(url, wanted).await?,
            Step::Answering { url, answers } => {
                self.show(answers).await?;
                Step::Shown { url: url.clone(), answers: answers.clone() }
            }
            Step::Shown { url, answers } => {
                self.tell(url, answers).await?;
                Step::Told { url: url.clone(), answers: answers.clone() }
            }
            Step::Told { url, answers } => match self.looked(url, answers).await? {
                Waited::Step(step) => step,
                Waited::Rest(rest) => return Ok(Advance::Wait(rest)),
            },
            Step::Keyed { url, sealed_key } => return self.finish(url, sealed_key, wanted).await,
        };
        Ok(Advance::Next(Order { step, ..order.clone() }))
    }

    async fn give_up(&self, order: &Order) -> Result<(), Failure> {
        self.withdraw(order.step.answers()).await
    }

    async fn window(&self, current: &Current) -> Result<Option<(Window, Duration)>, Failure> {
        let Some((key, serial)) = current.renewal_id.as_deref().and_then(|id| id.split_once('.')) else {
            return Ok(None);
        };
        let account = self.account().await?;
        let id = CertificateIdentifier { authority_key_identifier: key.into(), serial: serial.into() };
        let (info, seen) = seeing(account.renewal_info(&id)).await;
        let (info, until) = match info {
            Ok(info) => info,
            Err(instant_acme::Error::Unsupported(_)) => return Ok(None),
            Err(error) => return Err(failure(error, seen.as_ref(), self.clock.now())),
        };
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let window = Window {
            start: time(info.suggested_window.start.unix_timestamp()),
            end: time(info.suggested_window.end.unix_timestamp()),
            explanation: info.explanation_url.as_deref().map(detail),
        };
        Ok(Some((window, until)))
    }

    async fn revoke(&self, certificate: &SealedCertificate, reason: RevocationReason) -> Result<(), Failure> {
        let leaf = leaf(&certificate.chain_pem)
            .ok_or_else(|| Failure::Internal { detail: "the certificate to revoke can't be read".into() })?;
        let account = self.account().await?;
        let reason = match reason {
            RevocationReason::Unspecified => instant_acme::RevocationReason::Unspecified,
            RevocationReason::KeyCompromise => instant_acme::RevocationReason::KeyCompromise,
            RevocationReason::Superseded => instant_acme::RevocationReason::Superseded,
            RevocationReason::CessationOfOperation => instant_acme::RevocationReason::CessationOfOperation,
        };
        let request = RevocationRequest { certificate: &leaf, reason: Some(reason) };
        let (revoked, seen) = again(|| account.revoke(&request)).await;
        match revoked {
            Err(error) if !trouble::is_revoked(&error) => Err(failure(error, seen.as_ref(), self.clock.now())),
            _ => Ok(()),
        }
    }
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::Internal { detail: error.to_string() }
}

fn lost(why: &str) -> Failure {
    Failure::OrderLost { detail: why.to_owned() }
}
