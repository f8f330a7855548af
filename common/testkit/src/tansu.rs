//! A Kafka broker of the tests' own: Tansu, with everything in memory, on a free port.

use std::path::PathBuf;
use std::process::Command;

use crate::keeper::{Keeper, Stop};
use crate::ports;

/// A running broker.
pub struct Tansu {
    keeper: Keeper,
    port: u16,
}

impl Tansu {
    /// A broker without topics.
    ///
    /// # Panics
    /// When Tansu is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let [port] = ports::free();
        let folder = tempfile::tempdir().unwrap().keep();
        let url = format!("tcp://127.0.0.1:{port}");
        let mut server = Command::new(program());
        server.args(["broker", "--storage-engine", "memory://tests/"]);
        server.args(["--listener-url", &url, "--advertised-listener-url", &url]);
        let tansu = Self { keeper: Keeper::start(folder, &server, Stop::Kill), port };
        tansu.answers();
        tansu
    }

    /// Where it is: `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it: what it knew is gone.
    pub fn kill(&self) {
        self.keeper.kill();
    }

    /// Starts it again, with nothing.
    pub fn begin(&self) {
        self.keeper.begin();
        self.answers();
    }

    /// Halts it: connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.keeper.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.keeper.resume();
    }

    fn answers(&self) {
        self.keeper.wait_for_port(self.port);
    }
}

/// Where `deploy/local/test-tools.sh` puts it.
fn program() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("astrocloud/tansu/bin/tansu")
}
