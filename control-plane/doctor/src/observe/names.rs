//! What name servers say.

use jiff::Timestamp;
use lookup::{Lookup, LookupError, Name, RData, RecordType, settings::ServerAddress};

use crate::{
    expected::{Expected, Proof, ProofKind},
    observation::{Answer, Caa, CaaRecord, Observation},
};

/// Types that may be found beside a CNAME.
const BESIDE: [RecordType; 6] =
    [RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::NS, RecordType::TXT, RecordType::CAA];

/// Asks name servers all that they can tell, at once where no question needs another's answer. What others tell is not
/// looked at yet.
pub(crate) async fn look(
    lookup: &Lookup,
    name: &Name,
    base: &Name,
    expected: &Expected,
    resolvers: &[ServerAddress],
) -> Observation {
    let (cname, a, aaaa, each, proofs, caa, trust, remembered) = tokio::join!(
        lookup.ask(name, RecordType::CNAME),
        lookup.ask(name, RecordType::A),
        lookup.ask(name, RecordType::AAAA),
        lookup.ask_each(name, RecordType::A),
        futures::future::join_all(expected.proofs.iter().map(|proof| prove(lookup, proof))),
        caa(lookup, base),
        lookup.validate(name, RecordType::A),
        futures::future::join_all(resolvers.iter().map(async |resolver| {
            (resolver.to_string(), lookup.ask_resolver(*resolver, name, RecordType::A).await)
        })),
    );
    let beside = match &cname {
        Ok(found) if !found.records.is_empty() => beside(lookup, name).await,
        _ => Vec::new(),
    };
    let soa = match &cname {
        Ok(found) => lookup.ask_each(&found.zone, RecordType::SOA).await,
        Err(error) => Err(error.clone()),
    };
    Observation {
        at: Timestamp::now(),
        cname,
        a,
        aaaa,
        beside,
        each,
        soa,
        proofs,
        caa,
        trust,
        remembered,
        registration: None,
        visits: Vec::new(),
    }
}

async fn prove(lookup: &Lookup, proof: &Proof) -> Answer {
    let kind = match proof.kind {
        ProofKind::Txt => RecordType::TXT,
        ProofKind::Cname => RecordType::CNAME,
    };
    lookup.ask(&proof.name, kind).await
}

/// The types that a name has beside its CNAME. A server that is right answers each of these questions with the CNAME.
async fn beside(lookup: &Lookup, name: &Name) -> Vec<RecordType> {
    let own = futures::future::join_all(BESIDE.iter().map(async |kind| {
        let each = lookup.ask_each(name, *kind).await.unwrap_or_default();
        let stands = each.iter().any(|(_, answer)| answer.as_ref().is_ok_and(|found| !found.records.is_empty()));
        stands.then_some(*kind)
    }));
    own.await.into_iter().flatten().collect()
}

/// The CAA records that count: climbing from the name until there are some (RFC 8659 3). Those of a public suffix
/// count too.
async fn caa(lookup: &Lookup, base: &Name) -> Result<Caa, LookupError> {
    let mut at = base.clone();
    while !at.is_root() {
        let found = lookup.ask(&at, RecordType::CAA).await?;
        let records = found.records.into_iter().filter_map(|record| match record.data {
            RData::CAA(caa) => Some(CaaRecord {
                critical: caa.flags() & 0x80 != 0,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            _ => None,
        });
        let records: Vec<CaaRecord> = records.collect();
        if !records.is_empty() {
            return Ok(Caa { at: Some(at), records });
        }
        at = at.base_name();
    }
    Ok(Caa::default())
}
