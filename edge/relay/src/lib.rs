//! Exchanges with apps over HTTP/1.1, on connections that are kept for the next one.
//!
//! In: an address, the bytes of a request's head, and its body. Out: the parts of the answer's head, and its body piece
//! by piece, without the framing.
//!
//! It is as lean as an exchange can be: no copy of what passes, no task, one read and one write for a usual request.
//! A connection whose answer was not read to its end, or that has more to say than was asked for, is never kept. It
//! knows nothing of visitors, routes or policies, and never asks twice by itself: [`Failure::is_stale`] says when
//! that would be safe.

mod failure;
mod link;
mod patience;
mod pool;
mod unframed;

pub use failure::Failure;
pub use link::Link;
pub use patience::Clock;
pub use pool::Pool;
pub use unframed::Unframed;
