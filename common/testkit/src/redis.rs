//! A Redis of the tests' own: on a socket in a temporary folder, gone with the test; alone, as a cluster, or with a replica
//! and a sentinel.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::certificates::Authority;
use crate::keeper::{Keeper, Stop};
use crate::ports;

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
        Self::start_in(tempfile::tempdir().unwrap().keep(), settings)
    }

    /// A server that is reached over TLS alone, at a port of 127.0.0.1, with a certificate of the authority for `name`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_tls(authority: &Authority, name: &str) -> (Self, u16) {
        let folder = tempfile::tempdir().unwrap().keep();
        authority.issue_into(&folder, &[name]);
        let [port] = ports::free();
        let path = |name: &str| folder.join(name).display().to_string();
        let (certificate, key, ca, port_text) = (path("tls.crt"), path("tls.key"), path("ca.crt"), port.to_string());
        let settings =
            ["--tls-port", &port_text, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-ca-cert-file"];
        let settings = [settings.as_slice(), &[ca.as_str(), "--tls-auth-clients", "no"]].concat();
        (Self::start_in(folder.clone(), &settings), port)
    }

    fn start_in(folder: PathBuf, settings: &[&str]) -> Self {
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

    /// What the server answers to a command, as `redis-cli` prints it.
    ///
    /// # Panics
    /// When redis-cli can't be started.
    #[must_use]
    pub fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(command).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until the answer to a command has this in it.
    ///
    /// # Panics
    /// When it never has.
    pub fn until(&self, command: &[&str], expected: &str) {
        for _ in 0..LOOK.1 {
            if self.ask(command).contains(expected) {
                return;
            }
            std::thread::sleep(LOOK.0);
        }
        panic!("{command:?} was never answered with {expected}, but {}", self.ask(command))
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

/// A cluster of three servers, each with a third of the slots.
pub struct Cluster {
    /// The servers.
    pub nodes: Vec<Redis>,
    ports: [u16; 3],
}

impl Cluster {
    /// Starts it; it has all slots when this returns.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let [a, b, c, bus_a, bus_b, bus_c] = ports::free();
        let node = |port: u16, bus: u16| {
            let (port, bus) = (port.to_string(), bus.to_string());
            Redis::start_with(&["--port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus])
        };
        let nodes = vec![node(a, bus_a), node(b, bus_b), node(c, bus_c)];
        let addresses = [a, b, c].map(|port| format!("127.0.0.1:{port}"));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .arg("--cluster-yes")
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        for node in &nodes {
            node.until(&["cluster", "info"], "cluster_state:ok");
        }
        Self { nodes, ports: [a, b, c] }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let [a, b, c] = self.ports;
        format!("redis-cluster://127.0.0.1:{a},127.0.0.1:{b},127.0.0.1:{c}")
    }
}

/// A primary, its replica, and a sentinel that alone decides who is the primary.
pub struct Watched {
    /// The primary at the beginning.
    pub first: Redis,
    /// Its replica, which becomes the primary when the first is gone.
    pub second: Redis,
    sentinel: Keeper,
    port: u16,
}

impl Watched {
    /// Starts them; the replica follows when this returns. With a password, the servers ask for it and the sentinel does
    /// not.
    ///
    /// # Panics
    /// When they do not start.
    #[must_use]
    pub fn start(password: &str) -> Self {
        let [first, second, port] = ports::free();
        let (a, b) = (first.to_string(), second.to_string());
        let login = ["--requirepass", password, "--masterauth", password];
        let primary = Redis::start_with(&[&["--port", a.as_str()], login.as_slice()].concat());
        let replicaof = format!("127.0.0.1 {a}");
        let settings = ["--port", b.as_str(), "--replicaof", &replicaof];
        let replica = Redis::start_with(&[settings.as_slice(), &login].concat());
        replica.until(&["--no-auth-warning", "-a", password, "info", "replication"], "master_link_status:up");
        let folder = tempfile::tempdir().unwrap().keep();
        let config = format!(
            "port {port}\nsentinel monitor main 127.0.0.1 {a} 1\nsentinel auth-pass main {password}\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n"
        );
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, config).unwrap();
        let mut server = Command::new("redis-server");
        server.arg(&file).arg("--sentinel");
        let sentinel = Keeper::start(folder, &server, Stop::Kill);
        let all = Self { first: primary, second: replica, sentinel, port };
        // Without the replica it could not make it the primary.
        all.ask_sentinel(&["sentinel", "replicas", "main"], "master-link-status");
        all
    }

    /// Where they are; the login is the servers'.
    #[must_use]
    pub fn url(&self, password: &str) -> String {
        format!("redis-sentinel://:{password}@127.0.0.1:{}/0?master=main&sentinel_login=no", self.port)
    }

    fn ask_sentinel(&self, command: &[&str], expected: &str) {
        for _ in 0..LOOK.1 {
            let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output().unwrap();
            if String::from_utf8_lossy(&output.stdout).contains(expected) {
                return;
            }
            std::thread::sleep(LOOK.0);
        }
        panic!("the sentinel never said {expected}: {}", self.sentinel.log())
    }
}
