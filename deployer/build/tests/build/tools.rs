//! Other package managers, other versions of Node.

use super::*;

#[tokio::test]
async fn a_pnpm_project_is_built_with_pnpm() {
    let package = PACKAGE.replace("\"private\"", "\"packageManager\": \"pnpm@10.4.1\", \"private\"");
    let lock = "lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      is-number:\n        specifier: 7.0.0\n        version: 7.0.0\n\npackages:\n\n  is-number@7.0.0:\n    resolution: {integrity: sha512-41Cifkg6e8TylSpdtTpeLVMqvSBEVzTttHvERD741+pnZ8ANv0004MRL43QKPDlK9cGvNp6NZWZUBlbGXYxxng==}\n    engines: {node: '>=0.12.0'}\n\nsnapshots:\n\n  is-number@7.0.0: {}\n";
    let trial = Trial::new(&[("package.json", &package), ("pnpm-lock.yaml", lock), ("build.js", &writes(USES))]);
    let built = trial.build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("pnpm 10.4.1");
    built.assert_says("$ pnpm install --frozen-lockfile");
    let again = trial.build().await;
    assert_eq!(again.file("index.html"), "true");
    again.assert_says("using the cached node_modules");
}

#[tokio::test]
async fn a_yarn_1_project_is_built_with_yarn_1() {
    let package = PACKAGE.replace("\"private\"", "\"packageManager\": \"yarn@1.22.22\", \"private\"");
    let built = Trial::new(&[("package.json", &package), ("build.js", &writes(USES))]).build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("yarn 1.22.22");
    built.assert_says("$ yarn run build");
}

#[tokio::test]
async fn a_yarn_4_app_with_plug_and_play_is_built_and_starts_with_node_alone() {
    let package = r#"{
      "name": "shop", "packageManager": "yarn@4.5.0", "scripts": { "start": "node server.js" },
      "dependencies": { "is-number": "7.0.0", "express": "npm:is-number@7.0.0" }
    }"#;
    let trial = Trial::new(&[("package.json", package), ("server.js", "console.log('up', require('is-number')(5))")]);
    let built = trial.build().await;
    let (root, start) = built.app();
    assert!(!root.join("app/node_modules").exists(), "plug'n'play");
    assert_eq!(apps::started(&root, &start).await, "up true\n");
}

#[tokio::test]
async fn a_bun_project_is_installed_with_bun() {
    let package = PACKAGE.replace("\"private\"", "\"packageManager\": \"bun@1.2.20\", \"private\"");
    let built = Trial::new(&[("package.json", &package), ("build.js", &writes(USES))]).build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("bun 1.2.20");
}

#[tokio::test]
async fn another_node_than_the_hosts_is_fetched_and_used() {
    let (_, tools) = host().await;
    let major = if tools.host().node.is_some_and(|node| node.major == 18) { 22 } else { 18 };
    let package = PACKAGE.replace("\"private\"", &format!("\"engines\": {{ \"node\": \"{major}.x\" }}, \"private\""));
    let script = writes("process.version + ' ' + require('child_process').execSync('npm --version')");
    let built = Trial::new(&[("package.json", &package), ("build.js", &script)]).build().await;
    let page = built.file("index.html");
    assert!(page.starts_with(&format!("v{major}.")), "{page}");
    built.assert_says(&format!("Building with Node {major}."));
}
