//! A process that does not outlive its test, however the test ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Time between two looks at a port, and how many there are.
const LOOK: (Duration, u32) = (Duration::from_millis(20), 3000);
/// Starts, stops, pauses and kills the server as it is told, and says when it has. Once the input ends, however the
/// test's process ended (a static is never dropped, a killed test drops nothing), it stops the server and removes its
/// folder. `$0` is the folder, `$1` the signal that stops the server, the other arguments are the server's.
const SCRIPT: &str = r#"
signal=$1
shift
server=
end() {
    [ -n "$server" ] || return 0
    kill -CONT "$server" 2>/dev/null
    kill -"$1" "$server" 2>/dev/null
    wait "$server" 2>/dev/null
    server=
}
while read -r command; do
    case $command in
    start) "$@" >>"$0/log" 2>&1 & server=$! ;;
    stop) end "$signal" ;;
    kill) end KILL ;;
    pause) kill -STOP "$server" ;;
    resume) kill -CONT "$server" ;;
    esac
    echo done
done
end "$signal"
rm -rf "$0"
"#;

/// How a server is told to stop.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// By SIGTERM, as most.
    Term,
    /// By SIGINT.
    Int,
    /// By SIGKILL: nothing is worth a tidy end.
    Kill,
}

/// A server's process and its folder, which has what the server says in the file `log`.
#[derive(Debug)]
pub struct Keeper {
    folder: PathBuf,
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    process: Child,
}

impl Keeper {
    /// Starts the server. The folder is removed when this is dropped or the test's process ends.
    ///
    /// # Panics
    /// When there is no shell. A server that can't be started says so in its log.
    #[must_use]
    pub fn start(folder: PathBuf, server: &Command, stop: Stop) -> Self {
        let signal = match stop {
            Stop::Term => "TERM",
            Stop::Int => "INT",
            Stop::Kill => "KILL",
        };
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT]).arg(&folder).arg(signal).arg(server.get_program()).args(server.get_args());
        shell.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut process = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let keeper = Self { folder, shell: Mutex::new(Shell { input, output, process }) };
        keeper.begin();
        keeper
    }

    /// The server's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the server said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(self.folder.join("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// Starts the server again, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub fn begin(&self) {
        self.tell("start");
    }

    /// Stops the server as it wants to be stopped, and waits until it has ended.
    pub fn stop(&self) {
        self.tell("stop");
    }

    /// Kills the server (SIGKILL), and waits until it has ended.
    pub fn kill(&self) {
        self.tell("kill");
    }

    /// Halts the server (SIGSTOP): connections stay, and nothing is answered.
    pub fn pause(&self) {
        self.tell("pause");
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.tell("resume");
    }

    /// Waits until the server takes connections on this port.
    ///
    /// # Panics
    /// With what the server said, when it never does.
    pub fn wait_for_port(&self, port: u16) {
        let (pause, looks) = LOOK;
        for _ in 0..looks {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return;
            }
            std::thread::sleep(pause);
        }
        panic!("the server does not answer; deploy/local/test-tools.sh installs it. It said: {}", self.log())
    }

    fn tell(&self, command: &str) {
        let mut shell = self.shell.lock().unwrap();
        writeln!(shell.input.as_mut().unwrap(), "{command}").unwrap();
        let mut answer = String::new();
        shell.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Ok(shell) = self.shell.get_mut() {
            drop(shell.input.take());
            let _ = shell.process.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_gone_with_its_keeper_and_so_is_its_folder() {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut server = Command::new("sh");
        server.args(["-c", "echo $$; exec sleep 1000"]);
        let keeper = Keeper::start(folder.clone(), &server, Stop::Term);
        let process = loop {
            if let Ok(id) = keeper.log().trim().parse::<u32>() {
                break PathBuf::from(format!("/proc/{id}"));
            }
        };
        keeper.pause();
        assert!(process.exists());
        drop(keeper);
        assert!(!process.exists() && !folder.exists());
    }
}
