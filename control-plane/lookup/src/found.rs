//! What is found, and what is in the way.

use std::{fmt, net::IpAddr, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record},
};
use thiserror::Error;

/// What a name's own servers say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The names that the asked name leads to by CNAME, in order; the last one is what the records stand at.
    pub cnames: Vec<Name>,
    /// The records of the asked type, their owner and names in lower case. Empty unless `existence` is `Name`.
    pub records: Vec<Record>,
    /// Whether there are such records, and if not, whether there is the name.
    pub existence: Existence,
    /// The zone that the last name lies in.
    pub zone: Name,
    /// How long others may still keep what was seen: the shortest of the chain's and the records' times to live, and of
    /// the zone's negative one (RFC 2308 5) when there is nothing.
    pub ttl: Duration,
}

/// Whether a name has records of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Existence {
    /// The name has records of the type.
    Name,
    /// The name exists, with records of other types or names below it (RFC 2308 2.2).
    NoData,
    /// There is no such name (RFC 2308 2.1).
    NoName,
}

/// One name server of a zone, at one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    /// Its name; the root for a root server of the settings.
    pub name: Name,
    /// Its address; `None` when the name has none.
    pub address: Option<IpAddr>,
    /// Who says that it is one of the zone's.
    pub listed: Listed,
}

/// Who names a server as one of the zone's: the two lists should be one (RFC 1034 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listed {
    /// The parent zone alone: its delegation was not brought up to date, or the zone forgot one.
    Parent,
    /// The zone itself alone.
    Zone,
    /// Both, as it should be.
    Both,
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.is_root(), self.address) {
            (true, Some(address)) => write!(formatter, "root server {address}"),
            (false, Some(address)) => write!(formatter, "{} ({address})", self.name),
            (_, None) => write!(formatter, "{}", self.name),
        }
    }
}

/// Why a server gave no answer that counts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServerFault {
    /// Nothing came in time.
    #[error("it did not answer in time")]
    Timeout,
    /// The network said no.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It answered with an error (RFC 1035 4.1.1).
    #[error("it answered with the error {0}")]
    Code(ResponseCode),
    /// It answered without being in charge of the zone: the delegation is lame (RFC 9499 7).
    #[error("it does not serve the zone")]
    NotAuthoritative,
    /// What came was no answer to what was asked.
    #[error("its answer cannot be read: {0}")]
    Malformed(String),
    /// The server's name has no address.
    #[error("its name has no address")]
    NoAddress,
    /// The address is not of the public Internet, and not named in the settings.
    #[error("its address is not of the public Internet")]
    Inner,
}

/// Why a question found no answer. None of these says anything about the name itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// None of a zone's servers gave an answer that counts.
    #[error("no name server of {zone} answers: {}", list(faults))]
    Unanswered {
        /// The zone whose servers were asked.
        zone: Name,
        /// Each server, with what was wrong.
        faults: Vec<(Server, ServerFault)>,
    },
    /// CNAME records lead in a circle.
    #[error("the CNAME records lead in a circle: {}", chain(.0))]
    Loop(Vec<Name>),
    /// More CNAME records follow one another than are followed.
    #[error("more than {max} CNAME records follow one another: {}", chain(names))]
    TooLong {
        /// The chain as far as it was followed.
        names: Vec<Name>,
        /// How many are followed.
        max: usize,
    },
    /// The name's servers lead to so many others that the question is given up.
    #[error("{name} needs more than {max} queries: its name servers depend on one another, or on too many others")]
    TooManyQueries {
        /// What was asked.
        name: Name,
        /// How many queries a question may cost.
        max: usize,
    },
    /// The whole question took too long.
    #[error("{name} was not answered within {} s", after.as_secs())]
    Timeout {
        /// What was asked.
        name: Name,
        /// The time that a question may take.
        after: Duration,
    },
}

fn list(faults: &[(Server, ServerFault)]) -> String {
    if faults.is_empty() {
        return "it has none".to_owned();
    }
    faults.iter().map(|(server, fault)| format!("{server}: {fault}")).collect::<Vec<_>>().join("; ")
}

fn chain(names: &[Name]) -> String {
    names.iter().map(Name::to_string).collect::<Vec<_>>().join(" → ")
}
