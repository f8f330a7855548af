//! What every adapter of the app runtime port must do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{DynRuntime, StartError};
use crate::id::DeploymentId;
use crate::ledger::App;
use crate::name::ProjectName;
use crate::registry::{NewImage, Origin, Registry, Start};
use crate::secret::Secret;

/// How long an adapter may take for what nobody announces: far more than a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// An app that answers with a variable's value.
const GREETER: &str = "require('http').createServer((request, response) => response.end(process.env.GREETING))\
                       .listen(process.env.PORT, process.env.HOST)";

/// What becomes of apps when their adapter is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtShutdown {
    /// They end with it.
    End,
    /// They go on without it.
    GoOn,
}

/// What every adapter must do; called by each adapter's tests. `node` is a Node version that it can run.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(
    runtime: &DynRuntime,
    registry: &Registry,
    node: &str,
    at_shutdown: AtShutdown,
) -> Result<(), String> {
    let ensure = |held: bool, what: &str| if held { Ok(()) } else { Err(what.to_owned()) };
    let text = |e: StartError| e.to_string();

    let first = app(registry, node, GREETER, Some("/")).await?;
    let second = app(registry, node, GREETER, None).await?;
    let at = runtime.start(&first).await.map_err(text)?.first();
    ensure(get(at).await.as_deref() == Some("hello"), "a started app answers, with its environment")?;
    ensure(runtime.start(&first).await.map_err(text)?.first() == at, "what runs is told where it is")?;
    let other = runtime.start(&second).await.map_err(text)?.first();
    ensure(other != at && get(other).await.is_some(), "two apps run side by side")?;
    let running = runtime.running().await;
    ensure(running.len() == 2 && running.contains(&first.deployment), "what runs is listed")?;

    runtime.stop(&first.deployment).await;
    ensure(!runtime.running().await.contains(&first.deployment), "what is being stopped does not run")?;
    runtime.stop(&first.deployment).await;
    runtime.stop(&DeploymentId::new()).await;
    ensure(falls_silent(at).await, "a stopped app ends")?;
    let again = runtime.start(&first).await.map_err(text)?.first();
    ensure(get(again).await.is_some(), "a stopped app starts again")?;

    let broken = app(registry, node, "console.error('no database'); process.exit(3)", None).await?;
    match runtime.start(&broken).await {
        Err(e @ StartError::Exited { .. }) => {
            ensure(e.to_string().contains("no database"), "an app that ends at once is told with its last lines")?;
        }
        other => return Err(format!("an app that ends at once is told, not {other:?}")),
    }
    let missing = App { image: format!("shop@sha256:{}", "0".repeat(64)), ..app_named(String::new(), None)? };
    let code = runtime.start(&missing).await.err().map(|e| e.code());
    ensure(code == Some("image_missing"), "a missing image is told")?;
    ensure(runtime.running().await.len() == 2, "what did not start does not run")?;

    runtime.shutdown(PATIENCE).await;
    let left = [get(again).await.is_some(), get(other).await.is_some()];
    match at_shutdown {
        AtShutdown::End => ensure(left == [false; 2], "a shutdown ends all")?,
        AtShutdown::GoOn => ensure(left == [true; 2], "a shutdown leaves what runs")?,
    }
    ensure(runtime.running().await.is_empty(), "nothing is told to run after a shutdown")?;
    let late = runtime.start(&second).await;
    ensure(matches!(late, Err(StartError::Stopped)), "nothing starts after a shutdown")
}

/// An app of one file, with its image in the registry.
async fn app(registry: &Registry, node: &str, script: &str, health_path: Option<&str>) -> Result<App, String> {
    let root = tempfile::tempdir().map_err(|e| e.to_string())?;
    std::fs::create_dir(root.path().join("app")).map_err(|e| e.to_string())?;
    std::fs::write(root.path().join("app/server.cjs"), script).map_err(|e| e.to_string())?;
    let start = Start { command: "node server.cjs".to_owned(), working_dir: "app".to_owned(), node: node.to_owned() };
    let origin = Origin::new(DeploymentId::new());
    let image = NewImage { name: "shop", root: root.path(), start: &start, origin: &origin };
    let pushed = registry.push(image).await.map_err(|e| e.to_string())?;
    app_named(pushed.reference, health_path)
}

fn app_named(image: String, health_path: Option<&str>) -> Result<App, String> {
    Ok(App {
        deployment: DeploymentId::new(),
        account: "owner".to_owned(),
        project_name: "shop".parse::<ProjectName>().map_err(|e| e.to_string())?,
        image,
        health_path: health_path.map(ToOwned::to_owned),
        env: BTreeMap::from([("GREETING".to_owned(), Secret::new("hello"))]),
    })
}

/// The body of the app's answer, if it answers.
async fn get(at: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

async fn falls_silent(at: SocketAddr) -> bool {
    let silent = async {
        while get(at).await.is_some() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, silent).await.is_ok()
}
