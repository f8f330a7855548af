//! Who sets TXT records for DNS-01 (RFC 8555 section 8.4): zones held here, zones that Azure DNS holds, and names whose
//! owner delegated their proofs to a zone held here by a CNAME.

use std::sync::Arc;
use std::time::Duration;

use acme::challenge::ChallengeError;
use async_trait::async_trait;
use azure_dns::{AzureDns, AzureError};
use dns::{Name, RecordType, name};
use lookup::{Lookup, RData};
use tokio::time::{Instant, sleep};

use crate::issuing::TxtRecords;
use crate::zones::{DnsConfig, Zones};

/// How long a provider's servers may take to answer with a record: Azure says within a minute.
const PROVIDER: Duration = Duration::from_secs(120);
/// Between two looks at them.
const LOOK: Duration = Duration::from_secs(2);
/// Characters of the label that a delegated name gets, in hexadecimal: 128 bits, so nobody else's is hit.
const LABEL_CHARS: usize = 32;

/// All that set records for this installation; the first that serves a name does.
///
/// # Errors
/// When the client of a provider can't be made.
pub fn all(zones: &Zones, lookup: &Lookup, config: &DnsConfig) -> Result<Vec<Arc<dyn TxtRecords>>, AzureError> {
    let mut all: Vec<Arc<dyn TxtRecords>> = vec![Arc::new(zones.clone())];
    if let Some(azure) = &config.azure {
        all.push(Arc::new(Azure { client: AzureDns::new(azure.clone())?, lookup: lookup.clone() }));
    }
    if let Some(below) = &config.challenges {
        let below = below.to_lowercase();
        all.push(Arc::new(Delegated { zones: zones.clone(), lookup: lookup.clone(), below }));
    }
    Ok(all)
}

fn failed(error: impl ToString) -> ChallengeError {
    ChallengeError(error.to_string())
}

#[async_trait]
impl TxtRecords for Zones {
    async fn serves(&self, record: &str) -> bool {
        self.serves_proof(record).await
    }

    async fn set(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.set_proof(record, value).await.map_err(failed)
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.remove_proof(record, value).await.map_err(failed)
    }
}

/// Zones that Azure DNS holds.
struct Azure {
    client: AzureDns,
    lookup: Lookup,
}

#[async_trait]
impl TxtRecords for Azure {
    async fn serves(&self, record: &str) -> bool {
        self.client.serves(record)
    }

    async fn set(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.client.set(record, value).await.map_err(failed)?;
        answered(&self.lookup, record, value).await
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.client.remove(record, value).await.map_err(|error: AzureError| failed(error))
    }
}

/// Waits until every server of a record's zone answers with a value.
async fn answered(lookup: &Lookup, record: &str, value: &str) -> Result<(), ChallengeError> {
    let owner = name::parse(record.trim_end_matches('.'), &Name::root()).map_err(failed)?;
    let until = Instant::now() + PROVIDER;
    loop {
        let missing = match lookup.ask_each(&owner, RecordType::TXT).await {
            Ok(answers) => {
                let has = |found: &lookup::Found| found.records.iter().any(|record| is(&record.data, value));
                let missing = answers.iter().find(|(_, answer)| !answer.as_ref().is_ok_and(has));
                match missing {
                    None if !answers.is_empty() => return Ok(()),
                    None => format!("{record} has no name server"),
                    Some((server, Ok(_))) => format!("{server} does not answer with it yet"),
                    Some((server, Err(fault))) => format!("{server}: {fault}"),
                }
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= until {
            return Err(ChallengeError(format!("the record {record} was set, but is not seen: {missing}")));
        }
        sleep(LOOK).await;
    }
}

fn is(data: &RData, value: &str) -> bool {
    matches!(data, RData::TXT(text) if text.txt_data.concat() == value.as_bytes())
}

/// Proofs of names elsewhere, whose owner set a CNAME from the record to a name in a zone held here.
struct Delegated {
    zones: Zones,
    lookup: Lookup,
    /// Below this name stand the proofs.
    below: Name,
}

/// What the CNAME at a record has to say, so that its proofs stand below a name. The same for ever: it is set once.
pub fn delegated(record: &str, below: &Name) -> String {
    let owner = record.trim_end_matches('.').to_ascii_lowercase();
    let mut label = blake3::hash(owner.as_bytes()).to_hex().to_string();
    label.truncate(LABEL_CHARS);
    format!("{label}.{}", name::text(below).trim_end_matches('.'))
}

#[async_trait]
impl TxtRecords for Delegated {
    async fn serves(&self, record: &str) -> bool {
        let (target, owner) =
            (delegated(record, &self.below), name::parse(record.trim_end_matches('.'), &Name::root()));
        let (Ok(owner), Ok(wanted)) = (owner, name::parse(&target, &Name::root())) else { return false };
        match self.lookup.ask(&owner, RecordType::CNAME).await {
            Ok(found) => {
                let leads = |record: &lookup::Record| matches!(&record.data, RData::CNAME(to) if to.0 == wanted);
                found.records.iter().any(leads) && self.zones.serves_proof(&target).await
            }
            Err(error) => {
                tracing::debug!(record, %error, "whether a proof is delegated is not known");
                false
            }
        }
    }

    fn remedy(&self, record: &str) -> Option<String> {
        let record = record.trim_end_matches('.');
        Some(format!("set the CNAME record {record} to {}", delegated(record, &self.below)))
    }

    async fn set(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.zones.set_proof(&delegated(record, &self.below), value).await.map_err(failed)
    }

    async fn remove(&self, record: &str, value: &str) -> Result<(), ChallengeError> {
        self.zones.remove_proof(&delegated(record, &self.below), value).await.map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_delegated_name_is_the_same_each_time_and_another_for_each_record() {
        let below = name::parse("_acme.apps.example", &Name::root()).unwrap();
        let first = delegated("_acme-challenge.Shop.example.com.", &below);
        assert_eq!(first, delegated("_acme-challenge.shop.example.com", &below));
        assert_ne!(first, delegated("_acme-challenge.example.com", &below));
        assert!(first.ends_with("._acme.apps.example") && first.find('.') == Some(LABEL_CHARS), "{first}");
    }
}
