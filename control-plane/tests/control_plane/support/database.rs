//! The engine that the tests run on: SQLite, or a Postgres of their own when `TEST_ENGINE` says so. Each test has a
//! database to itself.

use std::path::Path;

use testkit::postgres::Postgres;

/// A new and empty database. With SQLite it is a file in `folder`.
pub fn create(folder: &Path) -> String {
    match std::env::var("TEST_ENGINE").as_deref() {
        Ok("postgres") => Postgres::shared().create_database(),
        Ok("sqlite") | Err(_) => sqlite(folder),
        Ok(other) => panic!("TEST_ENGINE is sqlite or postgres, not {other}"),
    }
}

/// A SQLite database in `folder`.
pub fn sqlite(folder: &Path) -> String {
    format!("sqlite://{}?mode=rwc", folder.join("db").display())
}
