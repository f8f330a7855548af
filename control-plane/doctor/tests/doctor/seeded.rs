//! Each fault in real servers, and what the doctor says of it.

mod records;
mod registry;
mod servers;
mod web;
