//! Access tokens of Microsoft Entra, for whatever of Azure is asked.
//!
//! In: who one is, and what the token is for. Out: a token, kept until shortly before it ends. Microsoft's own crates
//! are not used: they bring a second HTTP stack for one request. It must never show a credential.

mod answer;
mod identity;
mod token;

pub use answer::refusal;
pub use identity::{Identity, IdentityError, cause};
pub use token::{Credential, Endpoints};
