//! What an order's authorisations ask for, and why they failed.

use common::time::Timestamp;
use instant_acme::{Account, AuthorizationStatus, ChallengeType, Order as Remote};
use serde::Deserialize;

use super::issued::raw;
use super::trouble::{failure, of_problem};
use crate::challenge::{Answer, Method};
use crate::failure::Failure;
use crate::issuer::Wanted;

/// The method's type on the wire.
pub(super) fn type_of(method: Method) -> ChallengeType {
    match method {
        Method::Http01 => ChallengeType::Http01,
        Method::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Method::Dns01 => ChallengeType::Dns01,
        Method::DnsPersist01 => ChallengeType::Unknown(method.as_str().to_owned()),
    }
}

/// How control of a name is proven by these answers.
pub(super) fn method_for(name: &str, answers: &[Answer]) -> Option<Method> {
    // A wildcard and its base share a record, and the base may be proven otherwise.
    let by_host = answers.iter().find_map(|answer| match answer {
        Answer::Http01 { host, .. } if host == name => Some(Method::Http01),
        Answer::TlsAlpn01 { host, .. } if host == name => Some(Method::TlsAlpn01),
        _ => None,
    });
    let domain = name.strip_prefix("*.").unwrap_or(name);
    let by_record = || {
        answers.iter().find_map(|answer| match answer {
            Answer::Dns01 { record, .. } if *record == dns_record(domain) => Some(Method::Dns01),
            Answer::DnsPersist01 { record, .. } if *record == persistent_record(domain) => Some(Method::DnsPersist01),
            _ => None,
        })
    };
    by_host.or_else(by_record)
}

fn dns_record(domain: &str) -> String {
    format!("_acme-challenge.{domain}")
}

fn persistent_record(domain: &str) -> String {
    format!("_validation-persist.{domain}")
}

/// What has to be shown for an order.
pub(super) async fn answers(
    account: &Account,
    remote: &mut Remote,
    wanted: Wanted<'_>,
    now: Timestamp,
) -> Result<Vec<Answer>, Failure> {
    let mut answers = Vec::new();
    let mut authorizations = remote.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|e| failure(e, None, now))?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let domain = name.strip_prefix("*.").unwrap_or(&name).to_owned();
        let wildcard = authorization.wildcard;
        let offered = |method: &&Method| authorization.challenges.iter().any(|c| c.r#type == type_of(**method));
        let may = |method: &&Method| !wildcard || method.proves_wildcards();
        let Some(method) = wanted.methods.iter().filter(may).find(offered).copied() else {
            let types: Vec<_> = authorization.challenges.iter().map(|c| format!("{:?}", c.r#type)).collect();
            let detail = format!("for {name} it offers {types:?}, and we can prove by {:?}", wanted.methods);
            return Err(Failure::Refused { detail });
        };
        let url = authorization.url().to_owned();
        let Some(challenge) = authorization.challenge(type_of(method)) else { continue };
        let proof = challenge.key_authorization();
        answers.push(match method {
            Method::Http01 => Answer::Http01 {
                host: name,
                token: challenge.token.clone(),
                key_authorization: proof.as_str().to_owned(),
            },
            Method::TlsAlpn01 => Answer::TlsAlpn01 { host: name, key_authorization: proof.as_str().to_owned() },
            Method::Dns01 => Answer::Dns01 { record: dns_record(&domain), value: proof.dns_value() },
            Method::DnsPersist01 => persistent(account, &url, &domain, wildcard).await?,
        });
    }
    Ok(answers)
}

/// Members of a persistent challenge that the client does not know. Earlier drafts had one domain, later ones several.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Persistent {
    r#type: String,
    #[serde(default)]
    issuer_domain_names: Vec<String>,
    issuer_domain_name: Option<String>,
}

#[derive(Deserialize)]
struct Authorization {
    challenges: Vec<Persistent>,
}

/// The record of draft-ietf-acme-dns-persist: `ca.example; accounturi=…`, for a wildcard with `policy=wildcard`.
async fn persistent(account: &Account, url: &str, domain: &str, wildcard: bool) -> Result<Answer, Failure> {
    let seen = raw(account, url).await?;
    let read: Authorization = serde_json::from_slice(&seen.body)
        .map_err(|e| Failure::Unreachable { detail: format!("its authorisation can't be read: {e}") })?;
    let challenge = read.challenges.into_iter().find(|c| c.r#type == Method::DnsPersist01.as_str());
    let issuer = challenge.and_then(|c| c.issuer_domain_names.into_iter().next().or(c.issuer_domain_name));
    let issuer = issuer.ok_or_else(|| Failure::Unreachable {
        detail: "its persistent challenge does not say by which domain it is known".into(),
    })?;
    let policy = if wildcard { "; policy=wildcard" } else { "" };
    let value = format!("{issuer}; accounturi={}{policy}", account.id());
    Ok(Answer::DnsPersist01 { record: persistent_record(domain), value })
}

/// Why an order failed: what the authority said of the authorisation, else of the order.
pub(super) async fn failed(remote: &mut Remote, now: Timestamp) -> Failure {
    let order = remote.state().error.clone();
    let mut authorizations = remote.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = match authorization {
            Ok(authorization) => authorization,
            Err(error) => return failure(error, None, now),
        };
        let name = authorization.identifier().to_string();
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return of_problem(problem, Some(&name), None, now);
        }
    }
    match order {
        Some(problem) => of_problem(&problem, None, None, now),
        None => Failure::OrderLost { detail: "the authority gave it up without saying why".into() },
    }
}
