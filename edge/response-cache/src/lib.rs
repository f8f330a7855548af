//! A shared cache for answers of apps (RFC 9111).
//!
//! In: a request as [`Ask`], and a way to fetch its answer from the app. Out: an [`Answer`], kept or fresh from the
//! app, or the word that the request is none for a cache. Beside it, what ends what is kept: purges, successful
//! unsafe requests, memory.
//!
//! It must never give one visitor's answer to another (what is private, sets cookies, or answers `Authorization`
//! is kept only where the policy and the answer both say so), never give an answer that was purged before it was
//! asked for, and never ask an app twice at the same moment for what one answer can serve. It reads no clock of its
//! own, and knows nothing of sockets.
//!
//! The decisions are pure functions, a file a subject; [`Cache`] strings them together:
//! - `directives` and `date` read fields, `fresh` says how long and how old, `store` what may be kept;
//! - `vary`, `validate` and `range` say which kept answer fits a request, and in which form;
//! - `status` tells what was done, `purge` and `invalidate` what is not to be used any more;
//! - `entry` and `shelf` hold what is kept, `fetched`, `fill` and `flights` what is on its way.

mod date;
mod directives;
mod fresh;
mod range;
mod status;
mod store;
mod validate;
mod vary;

mod body;
mod entry;
mod fetched;
mod fill;
mod flights;
mod shelf;

mod cache;
mod handle;
mod hit;
mod invalidate;
mod observe;
mod purge;

pub use body::Body;
pub use cache::{Cache, Clock};
pub use directives::CDN_CACHE_CONTROL;
pub use fetched::{FetchError, Fetched, Unanswered};
pub use handle::{Answer, Ask, Outcome};
pub use hit::{Hit, Plain};
pub use status::{CACHE_STATUS, Forward, Status};
pub use store::CACHE_TAG;
