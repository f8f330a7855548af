//! What the DNS says of a domain, asked of the servers in charge.

use std::net::IpAddr;
use std::time::Duration;

use common::domain::{DomainName, Record, RecordKind};
use common::secret::random_bytes;
use lookup::{Existence, Lookup, LookupError, Name, RData, RecordType};

use super::records::{Records, proof_name};

/// Longest that a look may take, with all its questions: less than its lease.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the DNS said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where CNAME records lead, in order, up to an address of a project.
    pub cnames: Vec<String>,
    /// The addresses that follow, where they lead to no project.
    pub addresses: Vec<IpAddr>,
    /// The texts at the name of the proof.
    pub texts: Vec<String>,
}

/// Why the DNS can't be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    /// It did not say.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It took too long.
    #[error("the DNS did not answer all questions within {} s", PATIENCE.as_secs())]
    Late,
}

/// Looks at the DNS of a domain.
pub async fn look(lookup: &Lookup, records: &Records, name: &DomainName) -> Result<Seen, Unasked> {
    let questions = async {
        let (lead, texts) = tokio::join!(lead(lookup, records, name), texts(lookup, name));
        let (cnames, addresses) = lead?;
        Ok(Seen { cnames, addresses, texts: texts? })
    };
    tokio::time::timeout(PATIENCE, questions).await.map_err(|_| Unasked::Late)?
}

/// Where the name leads. A wildcard is asked for a host below it that nobody has.
async fn lead(
    lookup: &Lookup,
    records: &Records,
    name: &DomainName,
) -> Result<(Vec<String>, Vec<IpAddr>), LookupError> {
    let at = match name.is_wildcard() {
        true => format!("check-{}.{}", u32::from_ne_bytes(random_bytes()), name.base()),
        false => name.as_str().to_owned(),
    };
    let at = absolute(&at);
    // What a project's own address leads to is not asked, nor whether it can be asked at all.
    let is_project = |name: &Name| records.project_of(&relative(name)).is_some();
    let (four, six) = tokio::join!(
        lookup.ask_until(&at, RecordType::A, is_project),
        lookup.ask_until(&at, RecordType::AAAA, is_project)
    );
    let (four, six) = (four?, six?);
    let cnames = four.cnames.iter().map(relative).collect();
    let addresses = four.records.into_iter().chain(six.records).filter_map(|record| match record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    });
    Ok((cnames, addresses.collect()))
}

async fn texts(lookup: &Lookup, name: &DomainName) -> Result<Vec<String>, LookupError> {
    let found = lookup.ask(&absolute(&proof_name(name)), RecordType::TXT).await?;
    if found.existence != Existence::Name {
        return Ok(Vec::new());
    }
    let texts = found.records.into_iter().filter_map(|record| match record.data {
        RData::TXT(text) => Some(text.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
        _ => None,
    });
    Ok(texts.collect())
}

/// A name as the DNS has it. What is asked for was checked before or came from the DNS.
fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap_or_default();
    name.set_fqdn(true);
    name
}

fn relative(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

impl Seen {
    /// What was seen as records, for people.
    pub fn records(&self, name: &DomainName) -> Vec<Record> {
        let mut at = name.as_str().to_owned();
        let mut records = Vec::new();
        for next in &self.cnames {
            let name = std::mem::replace(&mut at, next.clone());
            records.push(Record { name, kind: RecordKind::Cname, value: next.clone() });
        }
        records.extend(self.addresses.iter().map(|address| {
            let kind = if address.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
            Record { name: at.clone(), kind, value: address.to_string() }
        }));
        let text = |text: &String| Record { name: proof_name(name), kind: RecordKind::Txt, value: text.clone() };
        records.extend(self.texts.iter().map(text));
        records
    }
}
