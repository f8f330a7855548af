//! Why an operation on a domain was refused.

use common::domain::DomainName;
use common::domain::hostname::IllegalTransition;
use common::domain::name::InvalidDomain;
use common::name::ProjectName;

use crate::certificates::CertificateError;
use crate::issuing::IssuingError;
use crate::store::StoreError;

/// Why an operation was refused.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It can't be attached at all.
    #[error(transparent)]
    Name(#[from] InvalidDomain),
    /// There is none.
    #[error("there is no domain `{0}`: `astrocloud domains ls` lists a project's")]
    NoSuchDomain(DomainName),
    /// The account has it.
    #[error("`{name}` is attached to the project `{project}` already: `astrocloud domains transfer` moves it")]
    Attached {
        /// Which.
        name: DomainName,
        /// To what.
        project: ProjectName,
    },
    /// The plan has no room.
    #[error(
        "the project `{project}` has {limit} domains, as many as it may: remove one that is not needed, or ask the \
         operator to raise `limits.domains_per_project`"
    )]
    TooMany {
        /// Whose.
        project: ProjectName,
        /// How many.
        limit: u32,
    },
    /// It has no other one.
    #[error(
        "`{0}` has no counterpart: only a registered name and its `www.` make a pair; attach the other name by itself"
    )]
    NoPair(DomainName),
    /// Both are given.
    #[error("a pair leads from the other name to this one, so this one can't lead elsewhere: leave out one of the two")]
    PairAndRedirect,
    /// Nothing can lead a registered name here.
    #[error(
        "`{0}` is a registered name, which needs A or AAAA records with the addresses of this installation's edges, and \
         these are not set: ask the operator to set `domains.addresses`, or attach `www.{0}`"
    )]
    NoAddresses(DomainName),
    /// A redirect that leads nowhere.
    #[error("visitors of `{from}` can't be led to `{to}`: {why}")]
    BadRedirect {
        /// From where.
        from: DomainName,
        /// To where.
        to: DomainName,
        /// Why not.
        why: &'static str,
    },
    /// Others lead to it.
    #[error("visitors of `{by}` are led to `{name}`: change or remove that domain first")]
    LedTo {
        /// Which.
        name: DomainName,
        /// By which.
        by: DomainName,
    },
    /// It leads to one that stays.
    #[error(
        "visitors of `{name}` are led to `{to}`: move that domain, which takes this one along, or end the redirect first"
    )]
    LeadsAway {
        /// Which.
        name: DomainName,
        /// To which.
        to: DomainName,
    },
    /// The other project has nothing to show.
    #[error("the project `{0}` has no live deployment, so visitors of the domain would find nothing: deploy it first")]
    NotLive(ProjectName),
    /// The other project is another account's.
    #[error("the project `{0}` is another account's: attach the domain there, and show by the TXT record whose it is")]
    OtherAccount(ProjectName),
    /// Its state does not allow it.
    #[error(transparent)]
    State(#[from] IllegalTransition),
    /// Others change it.
    #[error("the domain is being changed by others at the same time: try again")]
    Busy,
    /// Certificates can't be asked for.
    #[error(transparent)]
    Issuing(#[from] IssuingError),
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}
