//! Questions to real name servers on loopback addresses.

mod each;
mod faults;
mod trust;
mod walk;
mod world;
