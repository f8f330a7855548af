//! Azurite: Azure Blob Storage on this machine, with its well-known account.

use std::path::PathBuf;
use std::process::Command;

use crate::keeper::{Keeper, Stop};
use crate::ports;

/// Version of the npm package, as `deploy/local/test-tools.sh` installs it.
const VERSION: &str = "3.37.0";
/// The account that Azurite knows, and its key, which is public
/// (<https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>).
pub const ACCOUNT: &str = "devstoreaccount1";
/// See [`ACCOUNT`].
pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// File of its certificate.
const CERTIFICATE: &str = "cert.pem";

/// A running Azurite. What it holds is on disk, so it is there after a restart.
pub struct Azurite {
    port: u16,
    https: bool,
    keeper: Keeper,
}

impl Azurite {
    /// Starts one over plain HTTP.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(false)
    }

    /// Starts one over HTTPS, which takes tokens of identities too. It believes every issuer.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start_https() -> Self {
        Self::start_as(true)
    }

    fn start_as(https: bool) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let [port] = ports::free();
        let mut server = Command::new(program());
        server.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--disableTelemetry", "--silent"]);
        server.arg("--skipApiVersionCheck").arg("--location").arg(folder.join("data"));
        if https {
            let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
            let [cert, key] = [CERTIFICATE, "key.pem"].map(|name| folder.join(name));
            std::fs::write(&cert, made.cert.pem()).unwrap();
            std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            server.args(["--oauth", "basic", "--cert"]).arg(&cert).arg("--key").arg(key);
            // It asks itself for what it copies.
            server.env("NODE_EXTRA_CA_CERTS", cert);
        }
        let azurite = Self { port, https, keeper: Keeper::start(folder, &server, Stop::Term) };
        azurite.answers();
        azurite
    }

    /// Its certificate, when it has one.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.keeper.folder().join(CERTIFICATE)
    }

    /// Where its account's blob service is.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// Stops it; connections are refused then. It waits for its clients to close theirs, so they must not all live on the
    /// thread that waits here.
    pub fn stop(&self) {
        self.keeper.stop();
    }

    /// Starts it again where it was, with what it held.
    pub fn begin(&self) {
        self.keeper.begin();
        self.answers();
    }

    /// Halts it: connections are taken, and nothing is answered.
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

impl Drop for Azurite {
    fn drop(&mut self) {
        // Nothing of it is kept, and a tidy end waits for clients that may be gone already.
        self.keeper.kill();
    }
}

fn program() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache"), PathBuf::from);
    let program = cache.join(format!("astrocloud/azurite-{VERSION}/node_modules/.bin/azurite-blob"));
    assert!(program.exists(), "{} is missing; deploy/local/test-tools.sh installs it", program.display());
    program
}
