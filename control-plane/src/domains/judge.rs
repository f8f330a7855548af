//! What is made of what the DNS says: whether a name leads here, and whose it is. Nothing here asks anything.

use common::deployment::Failure;
use common::domain::hostname::Finding;
use common::domain::{DomainName, Expected, Proof, Verdict};
use doctor::{Front, Passes};

use super::look::Seen;
use super::records::Records;

/// What is known beside the DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Whose project a CNAME leads to.
    pub leads_to: Option<Leads>,
    /// What stands in front of a name that leads to others' addresses.
    pub front: Option<Front>,
    /// The account's text.
    pub text: String,
    /// Another account's domain that visitors get, and that is this name or one around it. None counts for a domain that
    /// visitors get already.
    pub holder: Option<Holder>,
}

/// Whose project a CNAME leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leads {
    /// One of the account's.
    Ours,
    /// Another account's.
    Others,
    /// There is no such project.
    Nobody,
}

/// Another account's domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: DomainName,
    /// That account's text for it, where it is this very name.
    pub text: Option<String>,
}

/// The verdict.
pub fn judge(records: &Records, name: &DomainName, seen: &Seen, known: &Known, expected: Expected) -> Verdict {
    let has_text = |text: &str| seen.texts.iter().any(|found| found == text);
    let is_shown = has_text(&known.text);
    let strangers: Vec<_> = seen.addresses.iter().filter(|address| !records.is_edge(**address)).collect();
    let by_address = !seen.addresses.is_empty() && strangers.is_empty();
    let by_cname = known.leads_to == Some(Leads::Ours);
    let proof = match () {
        () if is_shown => Some(Proof::Txt),
        () if known.holder.is_some() => None,
        () if by_cname => Some(Proof::Cname),
        () if by_address && name.is_apex() => Some(Proof::Address),
        () => None,
    };
    let not = |finding, code: &str, message: String| Verdict::Not {
        finding,
        cause: Failure::new(code, message),
        seen: seen.records(name),
        expected: expected.clone(),
    };
    let set_text = || match &expected.prove {
        Some(record) => format!("set the TXT record {} with the value {}", record.name, record.value),
        None => "set the TXT record".to_owned(),
    };
    if let Some(holder) = &known.holder {
        if let Some(text) = holder.text.as_deref().filter(|text| has_text(text)).filter(|_| is_shown) {
            let message = format!(
                "Two accounts show that {name} is theirs, and the one that had it first keeps it. Remove the TXT record \
                 with the value {text} if it is not to."
            );
            return not(Finding::Held, "shown_by_two", message);
        }
        if !is_shown {
            let message =
                format!("Another account holds {}. To show that {name} is yours, {}.", holder.name, set_text());
            return not(Finding::Held, "held_by_another_account", message);
        }
    }
    let leads_here = by_cname || by_address;
    match proof {
        Some(proof) if leads_here => return Verdict::Ours(proof),
        _ => {}
    }
    if let Some(front) = &known.front {
        let (code, message) = in_front(front, name, &expected, is_shown, set_text);
        return match (is_shown, front.passes) {
            (true, Passes::Here) => Verdict::Through(Failure::new(code, message)),
            (true, Passes::Loop | Passes::Elsewhere) => not(Finding::Owned, code, message),
            (false, _) => not(Finding::Elsewhere, code, message),
        };
    }
    let finding = match (is_shown, seen.cnames.is_empty() && seen.addresses.is_empty()) {
        (true, _) => Finding::Owned,
        (false, true) => Finding::Nothing,
        (false, false) => Finding::Elsewhere,
    };
    let point = told(&expected);
    let (code, message) = match (known.leads_to, seen.cnames.last()) {
        (Some(Leads::Others), Some(cname)) => {
            ("another_accounts_project", format!("{name} leads to {cname}, a project of another account. Set {point}."))
        }
        (Some(Leads::Nobody), Some(cname)) => {
            ("no_such_project", format!("{name} leads to {cname}, and there is no such project. Set {point}."))
        }
        _ if leads_here => (
            "ownership_not_shown",
            format!(
                "{name} leads here, but nothing shows whose it is. Set {point} in place of the address records, or {}.",
                set_text()
            ),
        ),
        (_, Some(cname)) if seen.addresses.is_empty() => {
            ("dangling_cname", format!("{name} leads to {cname}, which has no address. Set {point}."))
        }
        (_, Some(cname)) => ("wrong_cname", format!("{name} leads to {cname}. Set {point} instead.")),
        (_, None) if seen.addresses.is_empty() => ("no_records", format!("{name} has no record yet. Set {point}.")),
        (_, None) => {
            let listed: Vec<String> = strangers.iter().map(ToString::to_string).collect();
            let listed = listed.join(", ");
            match strangers.len() < seen.addresses.len() {
                true => (
                    "stale_address",
                    format!(
                        "{name} leads here, and to {listed} as well, where some visitors end up. Remove these addresses."
                    ),
                ),
                false => ("wrong_address", format!("{name} leads to {listed}. Set {point} instead.")),
            }
        }
    };
    not(finding, code, message)
}

/// What is told of a CDN that stands in front.
fn in_front(
    front: &Front,
    name: &DomainName,
    expected: &Expected,
    is_shown: bool,
    set_text: impl Fn() -> String,
) -> (&'static str, String) {
    let who = match &front.cdn {
        Some((cdn, how)) => format!("{cdn} stands in front of {name} ({how})"),
        None => format!("Another server stands in front of {name}"),
    };
    let Front { off, strict, .. } = front;
    match (is_shown, front.passes) {
        (true, Passes::Here) => (
            "proxied_through_cdn",
            format!(
                "{who} and passes visitors on to here: they get its certificate. Keep it so that it fetches over HTTPS: {strict}"
            ),
        ),
        (true, Passes::Loop) => (
            "proxy_redirect_loop",
            format!(
                "{who} and fetches from here over HTTP, which is answered by \"use HTTPS\", so that visitors go in a \
                 circle. {strict}"
            ),
        ),
        (true, Passes::Elsewhere) => {
            let values: Vec<_> = expected.point.iter().map(|record| record.value.as_str()).collect();
            let values = values.join(" and ");
            let message = format!(
                "{who} and does not fetch from here. Let it fetch from {values}, over HTTPS and for the host {name}, or \
                 take it away: {off}"
            );
            ("proxied_through_cdn", message)
        }
        (false, _) => (
            "proxied_through_cdn",
            format!(
                "{who}, so the DNS does not show that it leads here. {off} Or keep it: {}, then: {strict}",
                set_text()
            ),
        ),
    }
}

/// The records that lead here, in a sentence.
fn told(expected: &Expected) -> String {
    let record = |record: &common::domain::Record| format!("{} {} {}", record.name, record.kind.as_str(), record.value);
    expected.point.iter().map(record).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests;
