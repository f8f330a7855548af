use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use tokio::process::{Child, Command};
use url::Url;

use crate::support::{BINARY, PATIENCE, Platform, folder, terminate, until, within, write};

/// An `astrocloud edge` that serves. Killed when dropped.
struct Edge {
    process: Child,
    served: Served,
}

/// Its ready file.
#[derive(serde::Deserialize)]
struct Served {
    http_url: Url,
    https_url: Url,
    admin_url: Url,
}

impl Edge {
    /// One that keeps its state in `data`.
    async fn start(platform: &Platform, data: &Path) -> Self {
        let of_platform = platform.folder.path().join("data").canonicalize().unwrap();
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let ready = data.with_extension(format!("ready-{}", STARTED.fetch_add(1, Ordering::Relaxed)));
        let store = Url::from_directory_path(of_platform.join("objects")).unwrap();
        let mut process = Command::new(BINARY)
            .args(["edge", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--control-plane", platform.ready.api_url.as_str(), "--store", store.as_str()])
            .arg("--token-file")
            .arg(of_platform.join("edge-token"))
            .arg("--data-dir")
            .arg(data)
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let served = until("the edge serves", || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "the edge ended: {ended:?}");
            let text = std::fs::read(&ready).ok();
            async { text.map(|text| serde_json::from_slice(&text).unwrap()) }
        })
        .await;
        let edge = Self { process, served };
        edge.until_ready().await;
        edge
    }

    async fn until_ready(&self) {
        let url = self.served.admin_url.join("/readyz").unwrap();
        until("the edge is ready", || async {
            let answer = reqwest::get(url.clone()).await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    async fn get(&self, client: &reqwest::Client, path: &str) -> reqwest::Result<reqwest::Response> {
        let url = self.served.http_url.join(path).unwrap();
        client.get(url).header("host", "shop.localhost").send().await
    }
}

#[tokio::test]
async fn an_edge_alone_serves_the_platforms_sites_also_while_the_platform_is_away() {
    let mut platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let data = tempfile::tempdir().unwrap();
    let mut edge = Edge::start(&platform, &data.path().join("edge")).await;
    let client = reqwest::Client::new();
    assert_eq!(edge.get(&client, "/").await.unwrap().text().await.unwrap(), "one");

    let port = edge.served.https_url.port().unwrap();
    // Made anew each time, so that there is a new handshake.
    let trusting = |platform: &Platform| platform.trusting("shop.localhost", port);
    let secure = format!("https://shop.localhost:{port}/");
    assert_eq!(trusting(&platform).get(&secure).send().await.unwrap().text().await.unwrap(), "one");

    write(source.path(), &[("index.html", "two")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    assert_eq!(edge.get(&client, "/").await.unwrap().text().await.unwrap(), "two", "a flip reaches every edge");
    assert_eq!(platform.terminate().await, Some(0));
    assert_eq!(edge.get(&client, "/").await.unwrap().text().await.unwrap(), "two");
    assert_eq!(trusting(&platform).get(&secure).send().await.unwrap().text().await.unwrap(), "two");
    assert_eq!(terminate(&mut edge.process).await, Some(0));
}

#[tokio::test]
async fn a_second_edge_takes_over_without_a_failed_request_and_the_first_ends() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "one")]);
    platform.deploy_live(source.path(), "shop", &[]).await;
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("edge");
    let mut first = Edge::start(&platform, &data).await;
    let url = first.served.http_url.clone();
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (url, done, answered) = (url.clone(), done.clone(), answered.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    // A new connection each: one that is refused is noticed.
                    let client = reqwest::Client::new();
                    let page = client.get(url.clone()).header("host", "shop.localhost").send().await.unwrap();
                    assert_eq!(page.status(), StatusCode::OK);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let second = Edge::start(&platform, &data).await;
    assert_eq!(second.served.http_url, url, "the same socket");
    let ended = within(PATIENCE, first.process.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    let before = answered.load(Ordering::Relaxed);
    until("the second edge alone answers", || async { (answered.load(Ordering::Relaxed) > before + 20).then_some(()) })
        .await;
    done.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
}

#[tokio::test]
async fn an_edge_says_what_it_lacks() {
    let platform = Platform::start().await;
    for (args, said) in [
        (vec!["edge"], "--control-plane"),
        (vec!["edge", "--control-plane", "http://127.0.0.1:1"], "--token-file"),
        (vec!["edge", "--control-plane", "nowhere"], "http://"),
    ] {
        let outcome = platform.cli(&args).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(said), "{outcome:?}");
    }
}
