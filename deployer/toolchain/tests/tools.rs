//! Tools of the host and of the real registry.
#![allow(clippy::unwrap_used)]

use detect::{PackageManager, Tool};
use toolchain::{Manager, Node, ToolError, Tools};

async fn tools(folder: &tempfile::TempDir) -> Tools {
    Tools::open(folder.path().to_owned()).await.unwrap()
}

fn wanted(tool: Tool, version: Option<&str>) -> PackageManager {
    PackageManager { tool, version: version.map(str::to_owned), sha512: None, vendored: None }
}

async fn host_node(tools: &Tools) -> Node {
    let version = tools.host().node.unwrap().to_string();
    tools.node_exact(&version).await.unwrap()
}

/// What a program of a manager prints, with nothing else on `PATH` than that manager and Node.
async fn ask(manager: &Manager, node: &Node, program: &str) -> String {
    let folders = manager.path.iter().chain([&node.bin]).map(|folder| folder.display().to_string());
    let path = folders.chain(["/usr/bin:/bin".to_owned()]).collect::<Vec<_>>().join(":");
    let output = tokio::process::Command::new("/bin/sh")
        .args(["-c", &format!("{program} --version")])
        .env("PATH", path)
        .output()
        .await
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn the_hosts_node_and_npm_are_found_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(&folder).await;
    assert!(tools.host().can_fetch);
    let node = host_node(&tools).await;
    let manager = tools.manager(&wanted(Tool::Npm, None), &node).await.unwrap();
    assert_eq!(Some(ask(&manager, &node, "npm").await), manager.version);
}

#[tokio::test]
async fn a_version_is_fetched_once_also_when_two_ask_at_a_time_and_again_without_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(&folder).await;
    let node = host_node(&tools).await;
    let yarn = wanted(Tool::YarnClassic, Some("1.22"));
    let (first, second) = tokio::join!(tools.manager(&yarn, &node), tools.manager(&yarn, &node));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first, second);
    assert!(ask(&first, &node, "yarn").await.starts_with("1.22."));
    let versions = std::fs::read_dir(folder.path().join("yarn")).unwrap().count();
    assert_eq!(versions, 1);

    // The answer to "1.22" is remembered, and the version is there.
    let again = Tools::open(folder.path().to_owned()).await.unwrap();
    assert_eq!(again.manager(&yarn, &node).await.unwrap(), first);
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(&folder).await;
    let node = host_node(&tools).await;
    for version in ["999.0.0", "^999"] {
        let error = tools.manager(&wanted(Tool::Pnpm, Some(version)), &node).await.unwrap_err();
        assert!(
            matches!(&error, ToolError::NoSuchVersion { package, wanted } if package == "pnpm" && wanted == version)
        );
    }
    let error = tools.manager(&wanted(Tool::Pnpm, Some("git+ssh://host/x")), &node).await.unwrap_err();
    assert!(matches!(error, ToolError::BadVersion { .. }), "{error}");
}

#[tokio::test]
async fn a_tool_is_refused_when_its_hash_is_not_the_one_that_the_project_gives() {
    let folder = tempfile::tempdir().unwrap();
    let tools = tools(&folder).await;
    let node = host_node(&tools).await;
    let hashed =
        |sha512: &str| PackageManager { sha512: Some(sha512.to_owned()), ..wanted(Tool::Pnpm, Some("9.15.4")) };
    // As `corepack use pnpm@9.15.4` writes it.
    let right = "b2dc20e2fc72b3e18848459b37359a32064663e5627a51e4c74b2c29dd8e8e0491483c3abb40789cfd578bf362fb6ba8261b05f0387d76792ed6e23ea3b1b6a0";
    assert_eq!(tools.manager(&hashed(right), &node).await.unwrap().version.as_deref(), Some("9.15.4"));
    let error = tools.manager(&hashed(&right.replace("b2dc", "0000")), &node).await.unwrap_err();
    assert!(matches!(&error, ToolError::OtherHash { package, version } if package == "pnpm" && version == "9.15.4"));
}
