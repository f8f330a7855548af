//! TLS for visitors: certificates by name, session tickets, handshakes.
//!
//! In: a byte stream of a visitor, which certificate a name has, certificates' contents out of a [`Source`], and
//! the keys of session tickets. Out: an encrypted stream, or an alert that says why there is none.
//!
//! It must never start a handshake for a name that has no certificate, keep anything in memory for names that
//! nobody asks for, write a private key to disk in clear, or put a certificate that can't be used in place of one
//! that can. It knows neither HTTP nor where names, certificates and keys come from.

mod settings;

mod certificates;
mod tickets;

mod accept;
mod alert;
mod challenge;
mod file;

#[cfg(test)]
mod testkit;

pub use accept::{AcceptError, Accepted, Acceptor, Found};
pub use certificates::{Certificates, LoadError, Shown, Source, SourceError, Unusable};
pub use settings::Settings;
pub use tickets::{KeyError, TicketKeeper, Tickets};
