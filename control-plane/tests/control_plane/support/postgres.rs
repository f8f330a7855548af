//! A Postgres server of the tests' own: on a socket in a temporary folder, gone with the process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use sqlx::{Connection as _, PgConnection};

/// Where Debian keeps the servers of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Starts and stops the server as it is told, and says when it has. Once the input ends, however the test's process ended
/// (a static is never dropped), it stops the server and removes its folder. `$0` is the folder, the arguments are the
/// server's.
const KEEPER: &str = r#"
while read -r command; do
    case $command in
    start) "$@" >>"$0/log" 2>&1 & server=$! ;;
    stop) kill -INT "$server"; wait "$server" ;;
    esac
    echo done
done
kill -INT "$server" 2>/dev/null
wait "$server"
rm -rf "$0"
"#;

/// No waiting for disks, no port, and room for the pools of all tests that run at once.
const SETTINGS: [&str; 5] =
    ["listen_addresses=", "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=400"];

/// A running server.
pub struct Postgres {
    folder: PathBuf,
    keeper: Mutex<Keeper>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A server of one test's own, which it may stop.
    pub fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap().keep();
        let data = folder.join("data");
        if is_root() {
            // The server refuses to run as root; the parent of its folder must be its own too.
            run(Command::new("chown").arg("postgres:").arg(&folder));
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
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .arg(&folder)
            .arg(server.get_program())
            .args(server.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (keeper.stdin.take().unwrap(), BufReader::new(keeper.stdout.take().unwrap()));
        let keeper = Mutex::new(Keeper { input, output, _process: keeper });
        let server = Self { folder, keeper, databases: AtomicU32::new(0) };
        server.begin();
        server
    }

    /// Stops the server: connections are cut off, new ones refused.
    pub fn stop(&self) {
        self.keeper.lock().unwrap().tell("stop");
    }

    /// Starts the server again.
    pub fn begin(&self) {
        self.keeper.lock().unwrap().tell("start");
    }

    /// Where the server takes connections while it runs.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// A database that nobody else has.
    pub async fn create_database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = super::until(|| async { PgConnection::connect(&self.url("postgres")).await.ok() }).await;
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{database}")
    }
}

struct Keeper {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Child,
}

impl Keeper {
    fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
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
