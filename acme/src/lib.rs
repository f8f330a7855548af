//! Certificates for names that others own: ordered, proven, renewed and replaced without anyone thinking of them.
//!
//! In: the names that certificates are wanted for, and the authorities to ask, in order. Out: certificates in a
//! [`store`], news of each, and for every name a [`Track`](entry::Track) that says how it stands, why, and when it
//! goes on. This crate must never know routes, edges or a database: who shows the proofs of control is behind the
//! port [`challenge::Challenges`], where things are kept behind [`store::Store`].
//!
//! # What it does
//!
//! - Speaks ACME (RFC 8555) with HTTP-01, TLS-ALPN-01 (RFC 8737), DNS-01 and DNS-PERSIST-01; external account
//!   binding, certificate profiles, preferred chains.
//! - Asks several authorities in order, keeps why one was passed over, and leaves one that is down alone for a while.
//! - Places one order at a time for a name, in any number of processes: a lease in the store sees to it. An order is
//!   saved after each step ([`entry::Step`]), and resumed by whoever comes after a crash.
//! - Renews when the authority suggests (RFC 9773), else between seven and eight twelfths of the life, whatever its
//!   length. A certificate that is broken is never stored ([`check`]).
//! - Keeps within the limits that the authority publishes ([`limits`]), waits longer after each failure
//!   ([`schedule`]), and rehearses with a staging side before it tries the real one again.
//! - Keeps every private key sealed with a master key that can be replaced.
//!
//! # How to use it
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use acme::authority::Authority;
//! use acme::challenge::{Answer, ChallengeError, Challenges, Method};
//! use acme::client::Client;
//! use acme::clock::System;
//! use acme::manager::{Line, Manager};
//! use acme::store::memory::Memory;
//! use common::secret::{KeyRing, MasterKey};
//!
//! /// Shows answers on the one machine that visitors reach.
//! struct Edges;
//!
//! #[async_trait::async_trait]
//! impl Challenges for Edges {
//!     async fn publish(&self, answers: &[Answer]) -> Result<(), ChallengeError> {
//!         for answer in answers {
//!             let for_edges = answer.for_edges().map_err(|e| ChallengeError(e.to_string()))?;
//!             // Hand it to every edge, and come back when all have it.
//! #           drop(for_edges);
//!         }
//!         Ok(())
//!     }
//!     async fn withdraw(&self, _answers: &[Answer]) -> Result<(), ChallengeError> {
//!         Ok(())
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::from(MasterKey::load_or_create("master.key".as_ref())?);
//! let (store, clock, edges) = (Arc::new(Memory::default()), Arc::new(System), Arc::new(Edges));
//! let client = |authority| Client::new(authority, store.clone(), edges.clone(), keys.clone(), clock.clone());
//! let authority = Authority::lets_encrypt();
//! let line = Line {
//!     authority: authority.id.clone(),
//!     limits: authority.limits.clone(),
//!     issuer: Arc::new(client(authority)?),
//!     rehearsal: Some(Arc::new(client(Authority::lets_encrypt_staging())?)),
//! };
//! let manager = Arc::new(Manager::new(store.clone(), keys.clone(), clock.clone(), vec![line]));
//! let mut news = manager.news();
//! tokio::spawn({
//!     let manager = Arc::clone(&manager);
//!     async move { manager.run().await }
//! });
//! manager.want(vec!["shop.example.com".into()], vec![Method::TlsAlpn01, Method::Http01]).await?;
//! let issued = news.recv().await?;
//! let certificate = manager.certificate(&issued.id).await?;
//! # drop(certificate);
//! # Ok(())
//! # }
//! ```
//!
//! Names are given only once it is known that their owner wants them here: an authority counts every attempt that
//! fails. The crate also holds the [`development`] authority, for HTTPS without a public name.
//!
//! # The modules, in the order in which data flows
//!
//! [`manager`] takes a wanted name, [`entry`] says what is known of it, [`limits`] and [`schedule`] when something is
//! done, [`issuer`] is the port to who issues, [`client`] the ACME authority of it ([`authority`] is how it is set,
//! [`transport`] how it is reached), [`challenge`] what is shown to it, [`check`] the judge of what it gives,
//! [`store`] where all is kept, [`failure`] why something is not there yet, [`clock`] where the time comes from.

pub mod authority;
pub mod challenge;
pub mod check;
pub mod client;
pub mod clock;
pub mod development;
pub mod entry;
pub mod failure;
pub mod issuer;
pub mod limits;
pub mod manager;
pub mod schedule;
pub mod store;
pub mod transport;
