//! An installation in several processes: control planes, edges and deployers on one Postgres and one Redis, with sites,
//! logs and images in a shared folder. All are killed when it is dropped.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::postgres::Postgres;
use testkit::redis::Redis;
use tokio::process::{Child, Command};
use url::Url;

use crate::support::{BINARY, LOOK, PATIENCE, answer, terminate, until};

pub struct Installation {
    pub folder: TempDir,
    redis: Redis,
    database: String,
    master_key: String,
    client: reqwest::Client,
}

/// A control plane. It has the same port after a restart.
pub struct Plane {
    pub process: Child,
    name: String,
    port: u16,
    pub api: Url,
    token: String,
}

/// An edge.
pub struct Edge {
    pub process: Child,
    name: String,
    pub http: Url,
}

impl Installation {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            redis: Redis::start(),
            database: Postgres::shared().create_database(),
            master_key: common::secret::Secret::random("").reveal().to_owned(),
            client: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a role, and reads its ready file.
    async fn start(&self, role: &str, name: &str, args: &[&str]) -> (Child, Value) {
        let ready = self.at(&format!("{name}.ready"));
        let _ = std::fs::remove_file(&ready);
        let log = std::fs::File::options().append(true).create(true).open(self.at(&format!("{name}.log"))).unwrap();
        let mut process = Command::new(BINARY)
            .arg(role)
            .args(args)
            .arg("--data-dir")
            .arg(self.at(name))
            .arg("--ready-file")
            .arg(&ready)
            .env("ASTROCLOUD_DATABASE_URL", &self.database)
            .env("ASTROCLOUD_QUEUE_URL", self.redis.url())
            .env("ASTROCLOUD_SHARED_DIR", self.at("shared"))
            .env("ASTROCLOUD_MASTER_KEY", &self.master_key)
            .env("ASTROCLOUD_DNS_LISTEN", "")
            .env("ASTROCLOUD_EDGE_DRAIN", "5s")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let begun = tokio::time::Instant::now();
        loop {
            if let Ok(text) = std::fs::read(&ready) {
                return (process, serde_json::from_slice(&text).unwrap());
            }
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "{name} ended: {ended:?}\n{}", self.said(name));
            assert!(begun.elapsed() < PATIENCE, "{name} did not get ready\n{}", self.said(name));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything that a process printed.
    pub fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(&format!("{name}.log"))).unwrap_or_default()
    }

    pub async fn plane(&self, name: &str) -> Plane {
        let [port] = testkit::ports::free();
        self.plane_at(name, port).await
    }

    async fn plane_at(&self, name: &str, port: u16) -> Plane {
        let address = format!("127.0.0.1:{port}");
        let (process, ready) = self.start("control-plane", name, &["--api", &address]).await;
        Plane {
            process,
            name: name.to_owned(),
            port,
            api: ready["api_url"].as_str().unwrap().parse().unwrap(),
            token: ready["api_token"].as_str().unwrap().to_owned(),
        }
    }

    /// Starts a control plane again that has ended.
    pub async fn revive(&self, plane: &mut Plane) {
        *plane = self.plane_at(&plane.name.clone(), plane.port).await;
    }

    /// An edge that hangs on a control plane, and serves.
    pub async fn edge(&self, name: &str, plane: &Plane) -> Edge {
        let token = self.at(&plane.name).join("edge-token");
        let store = Url::from_directory_path(self.at("shared").join("objects")).unwrap();
        let any = "127.0.0.1:0";
        let args = ["--control-plane", plane.api.as_str(), "--store", store.as_str(), "--token-file"];
        let listen = ["--http", any, "--https", any, "--admin", any];
        let args: Vec<&str> = args.into_iter().chain([token.to_str().unwrap()]).chain(listen).collect();
        let (process, ready) = self.start("edge", name, &args).await;
        let admin: Url = ready["admin_url"].as_str().unwrap().parse().unwrap();
        until("the edge is ready", || async {
            let answer = reqwest::get(admin.join("/readyz").unwrap()).await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
        Edge { process, name: name.to_owned(), http: ready["http_url"].as_str().unwrap().parse().unwrap() }
    }

    /// Starts an edge that takes over from one, which ends.
    pub async fn succeed(&self, edge: &mut Edge, plane: &Plane) {
        let mut next = self.edge(&edge.name.clone(), plane).await;
        std::mem::swap(edge, &mut next);
        until("the edge before ends", || {
            let ended = next.process.try_wait().unwrap();
            async move { ended }
        })
        .await;
    }

    pub async fn deployer(&self, name: &str, planes: &[&Plane]) -> Child {
        let token = self.at(&planes[0].name).join("deployer-token");
        let mut args = vec!["--token-file", token.to_str().unwrap()];
        for plane in planes {
            args.extend(["--control-plane", plane.api.as_str()]);
        }
        self.start("deployer", name, &args).await.0
    }

    pub async fn call(&self, plane: &Plane, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = plane.api.join(&format!("/api/v1{path}")).unwrap();
        let mut request = self.client.request(method, url).bearer_auth(&plane.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Asks for a deployment of a folder; the project is made when there is none.
    pub async fn ask(&self, plane: &Plane, source: &Path, project: &str) -> String {
        let archive = self.at(&format!("{project}.zip"));
        let _ = std::fs::remove_file(&archive);
        crate::support::run(source, "zip", &["-qr", archive.to_str().unwrap(), "."]).await;
        let upload = self.call(plane, Method::POST, "/uploads", Some(json!({}))).await;
        let put = self.client.put(upload["url"].as_str().unwrap()).body(std::fs::read(&archive).unwrap());
        assert!(put.send().await.unwrap().status().is_success());
        let projects = self.call(plane, Method::GET, "/projects", None).await;
        if !projects["items"].as_array().unwrap().iter().any(|known| known["name"] == project) {
            self.call(plane, Method::POST, "/projects", Some(json!({ "name": project }))).await;
        }
        let source = json!({ "source": { "type": "upload", "upload": upload["id"] } });
        let asked = self.call(plane, Method::POST, &format!("/projects/{project}/deployments"), Some(source)).await;
        asked["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a control plane says that a deployment is live.
    pub async fn until_live(&self, plane: &Plane, deployment: &str) -> Value {
        until("the deployment is live", || async {
            let now = self.call(plane, Method::GET, &format!("/deployments/{deployment}"), None).await;
            assert!(now["status"] != "failed", "{now}");
            (now["status"] == "live").then_some(now)
        })
        .await
    }

    pub async fn deploy(&self, plane: &Plane, source: &Path, project: &str) -> String {
        let id = self.ask(plane, source, project).await;
        self.until_live(plane, &id).await;
        id
    }

    /// How often a build said that it has begun.
    pub async fn begun(&self, plane: &Plane, deployment: &str) -> usize {
        let page = self.call(plane, Method::GET, &format!("/deployments/{deployment}/logs"), None).await;
        page["records"].as_array().unwrap().iter().filter(|record| record["text"] == "begun").count()
    }

    /// What an edge answers for a project.
    pub async fn get(&self, edge: &Edge, project: &str) -> (StatusCode, String) {
        let request = self.client.get(edge.http.clone()).header("host", format!("{project}.localhost"));
        let answer = answer(request).await;
        (answer.status, answer.body)
    }
}

impl Plane {
    pub async fn end(&mut self) {
        assert_eq!(terminate(&mut self.process).await, Some(0));
    }
}
