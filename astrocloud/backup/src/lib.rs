//! Backups of a whole platform: a folder that holds the database, the keys, and what lies beside them.
//!
//! In: a snapshot of the database, folders, an object store, and a passphrase. Out: a folder that is whole or not there,
//! and the way back. It must never write over anything, and never restore what is not, byte for byte, what was written.
//!
//! # The format
//!
//! | in the folder | what it is |
//! |---|---|
//! | `backup.json` | [`Manifest`]: the format's number, and each file and object with its size and BLAKE3 |
//! | `secrets.sealed` | [`Secrets`] and the manifest's own BLAKE3, under a key that Argon2id makes of the passphrase |
//! | `database.sqlite` | every row, whichever engine had them |
//! | `folders/NAME/…` | images, logs, the development CA |
//! | `objects/…` | the object store's bytes, when they are included; else the manifest names them only |
//!
//! The database comes first. What its rows name was stored before them and is never changed, so what is copied later holds
//! at least that, whatever is deployed meanwhile.

mod error;
mod files;
mod manifest;
mod read;
mod secrets;
mod write;

pub use error::BackupError;
pub use manifest::{Entry, FORMAT, Manifest, Objects};
pub use read::Backup;
pub use secrets::Secrets;
pub use write::Writer;
