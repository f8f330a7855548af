//! Whether an answer's signatures hold, from the root's trust anchor down; and if not, why.
//!
//! Hickory's validator judges (RFC 4035, RFC 5155), over answers that the walk brings from the authoritative servers.
//! It says that something is bogus, not what to mend; for that the zone's keys are looked at once more here.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, Stream, stream};
use hickory_net::{
    DnsError, DnsHandle, NetError, dnssec::DnssecDnsHandle, runtime::TokioRuntimeProvider, xfer::FirstAnswer,
};
use hickory_proto::{
    dnssec::{
        Proof,
        rdata::{DNSSECRData, RRSIG},
    },
    op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query},
    rr::{Name, RData, Record, RecordType},
};
use jiff::Timestamp;

use crate::{
    found::LookupError,
    judge::{cname, records},
    lookup::{CNAMES_MAX, Lookup, absolute},
    walk::{Path, Walk},
};

/// Queries that one validation may cost: keys and DS records of every zone on the way, and name servers' addresses.
const QUERIES_MAX: usize = 400;

/// Whether what the servers say is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Signed, from the trust anchor down (RFC 4035 4.3).
    Secure,
    /// A parent says that the zone is not signed, or the settings name no trust anchor.
    Insecure,
    /// It should be signed and is not, or wrongly: resolvers that validate give no answer at all.
    Bogus(Bogus),
}

/// Which zone's signatures do not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bogus {
    /// The zone, whose parent has DS records for it.
    pub zone: Name,
    /// The tags of these DS records.
    pub ds: Vec<u16>,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong with signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The zone has no keys at all: it was moved to servers that do not sign, and the DS records stayed.
    NoKeys,
    /// No key of the zone fits any DS record of the parent.
    OtherKeys,
    /// There are no signatures.
    Unsigned,
    /// Signatures ended at this time.
    Expired(Timestamp),
    /// Signatures begin at this time.
    NotYet(Timestamp),
    /// A signature, or the proof that there is nothing, does not hold.
    Wrong,
}

impl Lookup {
    /// Validates what the authoritative servers say of a name, with all names that it leads to by CNAME.
    ///
    /// # Errors
    /// When servers on the way do not answer, so that nothing can be said.
    pub async fn validate(&self, name: &Name, kind: RecordType) -> Result<Trust, LookupError> {
        let Some(keys) = self.shared.settings.trust_anchors.keys() else { return Ok(Trust::Insecure) };
        let chain = Chain {
            walk: Arc::new(Walk::new(Arc::clone(&self.shared), true, QUERIES_MAX)),
            known: Arc::default(),
            failed: Arc::default(),
        };
        let validator = DnssecDnsHandle::with_trust_anchor(chain.clone(), Arc::new(keys));
        self.limited(name, Box::pin(judge_chain(&chain, &validator, absolute(name), kind))).await
    }
}

async fn judge_chain(
    chain: &Chain,
    validator: &DnssecDnsHandle<Chain>,
    mut name: Name,
    kind: RecordType,
) -> Result<Trust, LookupError> {
    let mut trust = Trust::Secure;
    for _ in 0..=CNAMES_MAX {
        let query = Query::query(name.clone(), kind);
        let answer = validator.lookup(query, options()).first_answer().await;
        let (proof, next) = match answer {
            Ok(answer) => (proof(&answer, &name, kind), cname(&answer, &name)),
            Err(NetError::Dns(DnsError::Nsec { proof, .. })) => (proof, None),
            Err(_) => (Proof::Bogus, None),
        };
        match proof {
            Proof::Secure => {}
            Proof::Insecure => trust = Trust::Insecure,
            Proof::Bogus | Proof::Indeterminate => {
                if let Some(error) = chain.failed() {
                    return Err(error);
                }
                return Ok(Trust::Bogus(diagnose(chain, &name, kind).await?));
            }
        }
        match next {
            Some((target, _)) if kind != RecordType::CNAME => name = target,
            _ => return Ok(trust),
        }
    }
    // The same chain is refused where it is asked without signatures.
    Ok(trust)
}

fn options() -> DnsRequestOptions {
    let mut options = DnsRequestOptions::default();
    options.edns_set_dnssec_ok = true;
    options.recursion_desired = false;
    options
}

/// The least proof of the records that answer, or of those that say that there are none.
fn proof(message: &Message, name: &Name, kind: RecordType) -> Proof {
    let counts = |record: &&Record| {
        record.name == *name && (record.record_type() == kind || record.record_type() == RecordType::CNAME)
    };
    let answer = message.answers.iter().filter(counts).map(|record| record.proof).min();
    let nothing = || {
        let signed = message.authorities.iter().filter(|record| record.record_type() == RecordType::SOA);
        signed.map(|record| record.proof).min()
    };
    // The validator itself refuses an empty answer that should have a proof.
    answer.or_else(nothing).unwrap_or(Proof::Insecure)
}

/// Looks from the name upwards for the zone whose DS records do not fit.
async fn diagnose(chain: &Chain, name: &Name, kind: RecordType) -> Result<Bogus, LookupError> {
    let mut at = name.clone();
    while !at.is_root() {
        let parent = chain.walk.resolve(&at, RecordType::DS, &Path::START).await?;
        let ds: Vec<_> = records(&parent.message, &at, RecordType::DS)
            .into_iter()
            .filter_map(|record| match record.data {
                RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds),
                _ => None,
            })
            .collect();
        if ds.is_empty() {
            at = at.base_name();
            continue;
        }
        let bogus = |cause| Bogus { zone: at.clone(), ds: ds.iter().map(|ds| ds.key_tag()).collect(), cause };
        let child = chain.walk.resolve(&at, RecordType::DNSKEY, &Path::START).await?;
        let keys: Vec<_> = records(&child.message, &at, RecordType::DNSKEY)
            .into_iter()
            .filter_map(|record| match record.data {
                RData::DNSSEC(DNSSECRData::DNSKEY(key)) => Some(key),
                _ => None,
            })
            .collect();
        if keys.is_empty() {
            return Ok(bogus(Cause::NoKeys));
        }
        if !keys.iter().any(|key| ds.iter().any(|ds| ds.covers(&at, key).unwrap_or(false))) {
            return Ok(bogus(Cause::OtherKeys));
        }
        let answer = chain.walk.resolve(name, kind, &Path::START).await?;
        let own = signatures(&answer.message);
        return Ok(bogus(signature_cause(signatures(&child.message).chain(own), &answer.message)));
    }
    Ok(Bogus { zone: at, ds: Vec::new(), cause: Cause::Wrong })
}

fn signatures(message: &Message) -> impl Iterator<Item = &RRSIG> {
    message.answers.iter().chain(&message.authorities).filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    })
}

fn signature_cause<'a>(all: impl Iterator<Item = &'a RRSIG>, answer: &Message) -> Cause {
    let now = Timestamp::now();
    for signature in all {
        let input = signature.input();
        let (begin, end) = (time(input.sig_inception.get(), now), time(input.sig_expiration.get(), now));
        if end < now {
            return Cause::Expired(end);
        }
        if begin > now {
            return Cause::NotYet(begin);
        }
    }
    if signatures(answer).next().is_none() { Cause::Unsigned } else { Cause::Wrong }
}

/// The time that 32 bits stand for, at most 68 years from now (RFC 4034 3.1.5).
fn time(seconds: u32, now: Timestamp) -> Timestamp {
    let distance = i64::from(seconds.wrapping_sub(now.as_second() as u32) as i32);
    Timestamp::from_second(now.as_second() + distance).unwrap_or(now)
}

type Known = HashMap<(Name, RecordType), Message>;

/// The walk, in the shape in which the validator asks.
#[derive(Clone)]
struct Chain {
    walk: Arc<Walk>,
    /// The same keys are asked for again and again within one validation.
    known: Arc<Mutex<Known>>,
    /// What could not be asked; the validator calls that bogus too.
    failed: Arc<Mutex<Option<LookupError>>>,
}

impl Chain {
    fn failed(&self) -> Option<LookupError> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn answer(self, request: DnsRequest) -> Result<DnsResponse, NetError> {
        let Some(query) = request.queries.first() else { return Err(NetError::from("no question")) };
        let key = (query.name.clone(), query.query_type);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let message = match known {
            Some(message) => message,
            None => match self.walk.resolve(&key.0, key.1, &Path::START).await {
                Ok(reply) => {
                    let message = needed(reply.message);
                    self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, message.clone());
                    message
                }
                Err(error) => {
                    let text = error.to_string();
                    self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return Err(NetError::from(text));
                }
            },
        };
        Ok(DnsResponse::from_message(message)?)
    }
}

/// What the validator needs: not the name servers and addresses that come along, each of which it would validate too.
fn needed(mut message: Message) -> Message {
    message.additionals.clear();
    message.authorities.retain(|record| match &record.data {
        RData::SOA(_) => true,
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => proves(signature.input().type_covered),
        _ => proves(record.record_type()),
    });
    message
}

fn proves(kind: RecordType) -> bool {
    matches!(kind, RecordType::SOA | RecordType::NSEC | RecordType::NSEC3)
}

impl DnsHandle for Chain {
    type Response = Pin<Box<dyn Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(self.clone().answer(request).boxed()))
    }
}
