//! A Postgres server of the tests' own: on a socket in a temporary folder, gone with the process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::certificates::Authority;
use crate::keeper::{Keeper, Stop};
use crate::ports;

/// Where Debian keeps the servers of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// No waiting for disks, no port, and room for the pools of all tests that run at once.
const SETTINGS: [&str; 5] =
    ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=400"];

/// Pause between two looks at whether the server is there, and how many there are.
const LOOK: (Duration, u32) = (Duration::from_millis(20), 1000);

/// A running server.
pub struct Postgres {
    keeper: Keeper,
    programs: PathBuf,
    /// In the name of its socket, also when it has no port.
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one test's own, which it may stop.
    ///
    /// # Panics
    /// When Postgres is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap().keep(), 5432, &[])
    }

    /// A server of one test's own that has a port of 127.0.0.1 too, with a certificate of the authority for `name` (the
    /// authority's own is in the file that [`ca`](Self::ca) names).
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_tls(authority: &Authority, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        authority.issue_into(&folder, &[name]);
        // The server wants its key to be nobody else's.
        run(Command::new("chmod").arg("600").arg(folder.join("tls.key")));
        let [port] = ports::free();
        let file = |setting: &str, name: &str| format!("{setting}={}", folder.join(name).display());
        let (certificate, key) = (file("ssl_cert_file", "tls.crt"), file("ssl_key_file", "tls.key"));
        let settings = ["listen_addresses=127.0.0.1", &format!("port={port}"), "ssl=on", &certificate, &key];
        Self::start_in(folder.clone(), port, &settings)
    }

    fn start_in(folder: PathBuf, port: u16, settings: &[&str]) -> Self {
        let programs = programs();
        let data = folder.join("data");
        if is_root() {
            // The server refuses to run as root; the parent of its folder must be its own too.
            run(Command::new("chown").args(["-R", "postgres:"]).arg(&folder));
        }
        run(as_postgres(&programs.join("initdb")).arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]));
        let mut server = as_postgres(&programs.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(&folder);
        for setting in SETTINGS.iter().chain(settings) {
            server.args(["-c", setting]);
        }
        let keeper = Keeper::start(folder, &server, Stop::Int);
        Self { keeper, programs, port, databases: AtomicU32::new(0) }
    }

    /// Stops the server: connections are cut off, new ones refused.
    pub fn stop(&self) {
        self.keeper.stop();
    }

    /// Starts the server again.
    pub fn begin(&self) {
        self.keeper.begin();
    }

    /// Where the server takes connections while it runs.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.keeper.folder().join(format!(".s.PGSQL.{}", self.port))
    }

    /// File of the authority that a server with TLS has its certificate from.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.keeper.folder().join("ca.crt")
    }

    /// Its port, when it has TLS.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// A database that nobody else has.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut create = Command::new(self.programs.join("createdb"));
        create.arg("-h").arg(self.keeper.folder()).args(["-p", &self.port.to_string(), "-U", "postgres", &name]);
        for _ in 0..LOOK.1 {
            if create.output().unwrap().status.success() {
                return self.url(&name);
            }
            std::thread::sleep(LOOK.0);
        }
        panic!("Postgres does not answer: {}", self.keeper.log())
    }

    fn url(&self, database: &str) -> String {
        let folder = self.keeper.folder().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }
}

/// The newest installed version's programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok()).max();
    match newest {
        Some(version) => Path::new(DEBIAN).join(version.to_string()).join("bin"),
        None => panic!("Postgres is not installed; deploy/local/test-tools.sh does so"),
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// A program of the server's, run by a user that may run it.
fn as_postgres(program: &Path) -> Command {
    if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
