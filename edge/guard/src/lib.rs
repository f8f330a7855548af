//! Who is served and how much: addresses, rules, rates, overload.
//!
//! In: the policies of projects, the facts of each request, and what the edge measures of itself. Out: a
//! [`Verdict`] per request. It must never read a body, wait, or cost a request of a project without limits more
//! than a look at a pointer and at one number. It knows nothing of Pingora, so that the control plane checks
//! policies with the same code ([`check`]) before it stores them.

mod check;
mod glob;

mod geo;
mod rule;

mod connections;
mod keyed;
mod rate;
mod state;

mod overload;

mod admit;
mod verdict;

pub use admit::{Compiled, Facts, Guard, PACED_PIECE, Permit};
pub use check::{Problem, check};
pub use connections::{Connections, Place};
pub use geo::{Country, Geo, GeoError};
pub use overload::{Measures, Overload};
pub use verdict::{Refusal, Verdict, Why};
