//! A Redis of the tests' own: on a socket in a temporary folder, gone with the test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::keeper::{Keeper, Stop};

/// Pause between two looks at whether the server is there, and how many there are.
const LOOK: (Duration, u32) = (Duration::from_millis(10), 2000);

/// A running server.
pub struct Redis {
    keeper: Keeper,
}

impl Redis {
    /// A server that keeps nothing on disk and has no port.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with settings, as `redis-server` takes them: `["--port", "7000"]`.
    ///
    /// # Panics
    /// When redis-server is not installed or does not start.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut server = Command::new("redis-server");
        server.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
        server.arg(folder.join("redis.sock")).arg("--dir").arg(&folder).args(settings);
        let redis = Self { keeper: Keeper::start(folder, &server, Stop::Kill) };
        redis.answers();
        redis
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// The socket, which a server with a port has too.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.keeper.folder().join("redis.sock")
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
        let answer = || {
            let mut stream = UnixStream::connect(self.socket())?;
            stream.write_all(b"PING\r\n")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok::<_, std::io::Error>(line)
        };
        for _ in 0..LOOK.1 {
            // Who needs a password is there too.
            if answer().is_ok_and(|line| line.starts_with("+PONG") || line.starts_with("-NOAUTH")) {
                return;
            }
            std::thread::sleep(LOOK.0);
        }
        panic!("redis-server does not answer; deploy/local/test-tools.sh installs it. It said: {}", self.keeper.log())
    }
}
