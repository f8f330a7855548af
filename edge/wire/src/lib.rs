//! HTTP/1.1 read strictly: where heads and bodies end, and what is refused (RFC 9112).
//!
//! In: bytes as they come from a visitor or an app, cut anywhere. Out: the parts of a head that decide how its request is
//! handled, and for a body how many of the bytes belong to it.
//!
//! It never guesses. What two servers in a row may read differently is refused, with the sentence that the visitor
//! reads; whoever can make them differ reaches another visitor's answer. It neither allocates nor does any I/O.

mod body;
mod chunked;
mod fields;
mod head;
mod line;
mod refusal;
mod response;
mod scan;

pub use body::{BodyGuard, Part};
pub use chunked::may_be_trailer;
pub use fields::Fields;
pub use head::{Framing, Head, Limits, Parsed, parse};
pub use line::{Method, Target, Version, is_port};
pub use refusal::Refusal;
pub use response::{Malformed, ParsedResponse, Response, ResponseFraming, parse_response};
pub use scan::Span;
