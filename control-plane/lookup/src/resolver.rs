//! What a resolver still remembers.

use std::time::Duration;

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, Record, RecordType},
};

use crate::{
    ask::{Manner, ask},
    found::{Existence, ServerFault},
    judge::{cname, negative_ttl, records},
    lookup::{CNAMES_MAX, Lookup, absolute},
    settings::ServerAddress,
};

/// What visitors who ask a resolver get at this moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The names that the asked name leads to by CNAME, in order.
    pub cnames: Vec<Name>,
    /// The records of the asked type at the last of them.
    pub records: Vec<Record>,
    /// Whether there are any.
    pub existence: Existence,
    /// How long the resolver will say so without asking again.
    pub left: Duration,
}

impl Lookup {
    /// What a resolver, which asks others and remembers, says of a name.
    ///
    /// # Errors
    /// When it does not answer, or cannot resolve the name.
    pub async fn ask_resolver(
        &self,
        resolver: ServerAddress,
        name: &Name,
        kind: RecordType,
    ) -> Result<Remembered, ServerFault> {
        let manner = Manner { timeout: self.shared.settings.server_timeout, dnssec: false, recursion: true };
        let mut name = absolute(name);
        let message = Box::pin(ask(resolver.0, &name, kind, manner)).await?;
        match message.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {}
            code => return Err(ServerFault::Code(code)),
        }
        let (mut cnames, mut left) = (Vec::new(), u32::MAX);
        let mut found = records(&message, &name, kind);
        while found.is_empty()
            && cnames.len() < CNAMES_MAX
            && let Some((target, ttl)) = cname(&message, &name)
        {
            left = left.min(ttl);
            cnames.push(target.clone());
            name = target;
            found = records(&message, &name, kind);
        }
        let existence = match (found.is_empty(), message.response_code) {
            (false, _) => Existence::Name,
            (true, ResponseCode::NXDomain) => Existence::NoName,
            (true, _) => Existence::NoData,
        };
        let own = found.iter().map(|record| record.ttl).min().unwrap_or_else(|| negative_ttl(&message));
        Ok(Remembered { cnames, records: found, existence, left: Duration::from_secs(left.min(own).into()) })
    }
}
