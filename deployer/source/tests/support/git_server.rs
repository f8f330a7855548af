//! Repositories over smart HTTP on loopback: git's own `http-backend`, run as CGI. For tests of any crate, which take
//! this file in by its path.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use base64::Engine as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Bytes of a request's body, at most: tests fetch and never push.
const BODY: usize = 1 << 20;

/// A server of repositories. It ends with the runtime.
///
/// What lies below `private/` wants the login given to [`login`](Self::login); what lies below `old/` is served as by
/// a git of before protocol 2, which gives out no commit by its id; what lies below `broken/` answers with status 503.
pub struct GitServer {
    root: TempDir,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    login: Mutex<Option<String>>,
    /// The values of `Authorization` that came, by the first part of the path.
    seen: Mutex<HashMap<String, Vec<String>>>,
}

impl GitServer {
    /// Starts a server without repositories.
    pub async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (login, seen) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { root: root.path().to_owned(), login, seen });
        let app = axum::Router::new().fallback(serve).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { root, address, shared }
    }

    /// Sets the only login that `private/` takes.
    pub fn login(&self, user: &str, password: &str) {
        let value = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        *self.shared.login.lock().unwrap() = Some(format!("Basic {value}"));
    }

    /// The URL of the repository at `path`, whether there is one or not.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The same with a login in it.
    pub fn url_as(&self, login: &str, path: &str) -> String {
        format!("http://{login}@{}/{path}", self.address)
    }

    /// Whether any request for what lies below `top/` came with a login.
    pub fn saw_login(&self, top: &str) -> bool {
        self.shared.seen.lock().unwrap().contains_key(top)
    }

    /// Makes an empty repository whose default branch is to be `main`.
    pub fn repository(&self, path: &str) -> Repository {
        let path = self.root.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        let repository = Repository { path };
        repository.git(&["init", "-q", "--bare", "-b", "main", "."], b"");
        repository
    }
}

/// A repository on the server.
pub struct Repository {
    path: PathBuf,
}

/// What a commit puts at a path.
pub enum Item<'a> {
    File(&'a [u8]),
    Program(&'a [u8]),
    Link(&'a str),
    Submodule(&'a str),
}

impl Repository {
    /// Commits files onto `branch`, which begins with its first commit, and gives the commit's id.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let items: Vec<_> = files.iter().map(|(path, text)| (*path, Item::File(text.as_bytes()))).collect();
        self.commit_items(branch, &items)
    }

    /// The same with anything.
    pub fn commit_items(&self, branch: &str, items: &[(&str, Item<'_>)]) -> String {
        let reference = format!("refs/heads/{branch}");
        let mut stream = Vec::new();
        write!(stream, "commit {reference}\ncommitter Test <test@example.test> 1700000000 +0000\ndata 4\nTest\n")
            .unwrap();
        if !self.git_may_fail(&["rev-parse", "-q", "--verify", &reference]).is_empty() {
            writeln!(stream, "from {reference}^0").unwrap();
        }
        for (path, item) in items {
            let (mode, data) = match item {
                Item::File(data) => ("100644", *data),
                Item::Program(data) => ("100755", *data),
                Item::Link(target) => ("120000", target.as_bytes()),
                Item::Submodule(commit) => {
                    writeln!(stream, "M 160000 {commit} {path}").unwrap();
                    continue;
                }
            };
            write!(stream, "M {mode} inline {path}\ndata {}\n", data.len()).unwrap();
            stream.extend_from_slice(data);
            stream.push(b'\n');
        }
        self.git(&["fast-import", "--quiet"], &stream);
        self.git(&["rev-parse", &reference], b"").trim().to_owned()
    }

    /// Makes the default branch another one, which need not exist.
    pub fn set_default(&self, branch: &str) {
        self.git(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")], b"");
    }

    /// A branch as a ZIP.
    pub fn zip(&self, branch: &str) -> Vec<u8> {
        plain_git(&self.path, &["archive", "--format=zip", branch]).output().unwrap().stdout
    }

    fn git(&self, args: &[&str], input: &[u8]) -> String {
        let mut child = plain_git(&self.path, args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "git {args:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    fn git_may_fail(&self, args: &[&str]) -> String {
        String::from_utf8(plain_git(&self.path, args).output().unwrap().stdout).unwrap()
    }
}

/// Git without anybody's settings.
fn plain_git(at: &Path, args: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new("git");
    command.args(args).current_dir(at).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let top = path.split('/').nth(1).unwrap_or_default().to_owned();
    let text = |name| parts.headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok());
    let login = text(header::AUTHORIZATION).map(str::to_owned);
    if let Some(login) = &login {
        shared.seen.lock().unwrap().entry(top.clone()).or_default().push(login.clone());
    }
    let plain = |status| Response::builder().status(status).body(Body::empty()).unwrap();
    match top.as_str() {
        "broken" => return plain(StatusCode::SERVICE_UNAVAILABLE),
        "private" if login.is_none() || login != *shared.login.lock().unwrap() => {
            let mut answer = plain(StatusCode::UNAUTHORIZED);
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"x\""));
            return answer;
        }
        _ => {}
    }
    let Ok(body) = axum::body::to_bytes(body, BODY).await else { return plain(StatusCode::PAYLOAD_TOO_LARGE) };
    let mut command = Command::new("git");
    command.arg("http-backend").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("GIT_PROJECT_ROOT", &shared.root).env("PATH_INFO", &path).env("REQUEST_METHOD", parts.method.as_str());
    command.env("QUERY_STRING", parts.uri.query().unwrap_or_default()).env("CONTENT_LENGTH", body.len().to_string());
    command.env("CONTENT_TYPE", text(header::CONTENT_TYPE).unwrap_or_default());
    command.env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING).unwrap_or_default());
    if let Some(protocol) = parts.headers.get("git-protocol").filter(|_| top != "old") {
        command.env("GIT_PROTOCOL", protocol.to_str().unwrap_or_default());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read all, when it refuses.
    let feed = async move { stdin.write_all(&body).await.and(stdin.shutdown().await).is_ok() };
    let (_, done) = tokio::join!(feed, child.wait_with_output());
    answer(&done.unwrap().stdout)
}

/// Makes an answer of what a CGI program printed.
fn answer(printed: &[u8]) -> Response<Body> {
    let end = printed.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(printed.len());
    let mut answer = Response::builder().status(StatusCode::OK);
    for line in String::from_utf8_lossy(&printed[..end]).lines() {
        match line.split_once(": ") {
            Some(("Status", status)) => answer = answer.status(status.split(' ').next().unwrap_or("500")),
            Some((name, value)) => answer = answer.header(name, value),
            None => {}
        }
    }
    answer.body(Body::from(Bytes::copy_from_slice(printed.get(end + 4..).unwrap_or_default()))).unwrap()
}
