//! A Redis of the tests' own: on a socket in a temporary folder, gone with the test.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A running server.
pub struct Server {
    folder: TempDir,
    process: Child,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = run(&folder);
        let server = Self { folder, process };
        server.answers().await;
        server
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("redis.sock").display())
    }

    /// Kills it: what it knew is gone.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, with nothing.
    pub async fn start_again(&mut self) {
        self.process = run(&self.folder);
        self.answers().await;
    }

    async fn answers(&self) {
        let client = redis::Client::open(self.url()).unwrap();
        while client.get_multiplexed_async_connection().await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(folder: &TempDir) -> Child {
    let socket = folder.path().join("redis.sock");
    Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
        .arg(socket)
        .arg("--dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("redis-server can't be started ({e}); deploy/local/test-tools.sh installs it"))
}
