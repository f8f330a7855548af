//! Custom domains: hosts of developers' own, attached to their projects.
//!
//! A domain has two tracks, and each says why it is where it is: its host name (whether the DNS leads here, and whose
//! it is) and its certificate. [`hostname`] is the state machine of the first; the second follows the certificate
//! engine's.

pub mod api;
pub mod certificate;
pub mod hostname;
pub mod name;
pub mod record;
pub mod schedule;

pub use certificate::CertificateTrack;
pub use hostname::{Event, Hostname, Proof, Verdict};
pub use name::DomainName;
pub use record::{Expected, Record, RecordKind};
