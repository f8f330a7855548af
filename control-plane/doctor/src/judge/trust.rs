//! Whether signatures hold.

use lookup::{Trust, dnssec::Cause};

use super::list;
use crate::{
    observation::{Observation, text},
    report::{Code, Finding, Severity},
};

pub(super) fn judge(seen: &Observation) -> Option<Finding> {
    let Ok(Trust::Bogus(bogus)) = &seen.trust else { return None };
    let zone = text(&bogus.zone);
    let tags = list(&bogus.ds);
    let remove = format!("At the registrar of {zone}, remove the DS record (key tag {tags})");
    let resign = "let the provider of your DNS sign the zone anew";
    let (what, fix) = match bogus.cause {
        Cause::NoKeys => (
            format!("the registry has a DS record for {zone} (key tag {tags}), but the zone has no keys"),
            format!("{remove}: the zone was moved to name servers that do not sign it. Or turn DNSSEC on there."),
        ),
        Cause::OtherKeys => (
            format!("no key of {zone} fits the DS record at the registry (key tag {tags})"),
            format!("{remove}, and enter the one that the provider of your DNS shows now."),
        ),
        Cause::Unsigned => {
            (format!("{zone} has keys, but its records are not signed"), format!("{remove}, or {resign}."))
        }
        Cause::Expired(end) => (
            format!("signatures of {zone} ran out on {}", end.strftime("%Y-%m-%d %H:%M UTC")),
            format!("Let the provider of your DNS sign the zone anew. Until then: {remove}."),
        ),
        Cause::NotYet(begin) => (
            format!("signatures of {zone} hold only from {}", begin.strftime("%Y-%m-%d %H:%M UTC")),
            "Set the clock of the server that signs the zone, and sign it anew.".to_owned(),
        ),
        Cause::Wrong => (format!("signatures of {zone} do not fit its records"), format!("{remove}, or {resign}.")),
    };
    Some(Finding::new(
        Code::DnssecBogus,
        Severity::Error,
        format!("{what}, so resolvers that check signatures, most of the Internet's, give no answer"),
        "signatures that hold from the root down, or no DS record",
        fix,
    ))
}
