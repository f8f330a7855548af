//! A small Internet of name servers for tests: each on a loopback address of its own, all on one port.
//!
//! In: zones as master-file text. Out: NSD serving them, the platform's own server, or a loose one that says what no
//! real server would; and zones signed as registries sign them. Everything ends when [`Net`] is dropped.

mod loose;
mod net;
mod nsd;
mod sign;
mod world;

pub use loose::{Reply, answer};
pub use net::{Net, zone};
pub use sign::{Keys, Lifetime};
pub use world::{World, head};
