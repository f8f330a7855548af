//! The log bus on Kafka: any number of deployers and control planes write, every control plane reads everything.
//!
//! In: lines by the port [`common::bus::LogBus`]. Out: numbered records, the same for every reader, live and from history.
//! It must never lose what it took, nor let a build fail because a broker is away.
//!
//! # Writing
//!
//! Lines go onto a bounded [`spool`] on this machine's disk and from there, in order, to Kafka ([`sender`]): into the
//! topic `<prefix>.build` or `<prefix>.runtime`, in the partition that the deployment's id chooses. So builds go on while
//! brokers are away; when the spool is full they wait, and [`KafkaBus::away`] says why. What a crash makes us send twice
//! is known by its producer and count.
//!
//! # Reading
//!
//! A record's number is its place in its partition, counted by every reader by the same rules ([`state`]); writers need
//! no number and no knowledge of one another. A control plane keeps a [`local`] copy of what is not archived yet, with
//! the offset up to which it read. Why a copy and not reads from Kafka by an index of offsets: a partition holds the
//! lines of many deployments, so reading one log's page there fetches those of all others, and live tails need the
//! numbers, which only come from reading everything once. The copy is small, because complete pieces of logs move into
//! the object store ([`archive`]), from where history is read, and from where a control plane without a copy learns how
//! far a log had counted. Kafka itself needs to keep messages only until they are archived.
//!
//! Progress of deployments is no topic here: control planes tell one another of it through the database.

mod address;
mod archive;
mod archiver;
mod bus;
mod connect;
mod follower;
mod local;
mod message;
mod news;
mod sender;
mod spool;
mod state;
mod status;

pub use address::{Address, AddressError};
pub use archiver::Keep;
pub use bus::{KafkaBus, OpenError, Reading, Settings};
pub use connect::{Broker, Compression, Login, Mechanism};
