//! Apps come out as an image's root and a command that needs nothing but Node.

use common::registry::Start;

use super::*;

/// What an app prints when it is started with Node and the system's own programs, and nothing else.
pub(crate) async fn started(root: &Path, start: &Start) -> String {
    let (_, tools) = host().await;
    let node = tools.node_exact(&start.node).await.unwrap();
    let output = tokio::process::Command::new("/bin/sh")
        .args(["-c", &start.command])
        .current_dir(root.join(&start.working_dir))
        .env_clear()
        .env("PATH", format!("{}:/bin", node.bin.display()))
        .output()
        .await
        .unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const SERVER: &str = "console.log('up', require('is-number')(5), process.argv.slice(2).join(' '))";

#[tokio::test]
async fn an_app_keeps_its_modules_and_starts_with_node_alone() {
    let package = r#"{
      "name": "shop", "scripts": { "prestart": "echo first", "start": "npm run -s serve -- --fast", "serve": "node server.js" },
      "dependencies": { "is-number": "7.0.0", "express": "npm:is-number@7.0.0" }
    }"#;
    let trial = Trial::new(&[("package.json", package), ("server.js", SERVER)]);
    for build in 0..2 {
        let built = trial.build().await;
        assert_eq!(built.says("using the cached node_modules"), build == 1);
        let (root, start) = built.app();
        assert_eq!(start.working_dir, "app");
        assert_eq!(started(&root, &start).await, "first\nup true --fast\n");
    }
}

#[tokio::test]
async fn an_app_of_a_workspace_starts_in_its_own_folder_and_finds_the_shared_modules() {
    let root_package = r#"{ "name": "all", "private": true, "workspaces": ["apps/*"] }"#;
    let package = r#"{
      "name": "api", "scripts": { "start": "node server.js --workspace" },
      "dependencies": { "is-number": "7.0.0", "fastify": "npm:is-number@7.0.0" }
    }"#;
    let mut trial = Trial::new(&[
        ("package.json", root_package),
        ("apps/api/package.json", package),
        ("apps/api/server.js", SERVER),
    ]);
    trial.settings.root_dir = Some("apps/api".to_owned());
    let built = trial.build().await;
    let (root, start) = built.app();
    assert_eq!(start.working_dir, "app/apps/api");
    assert_eq!(started(&root, &start).await, "up true --workspace\n");
}
