//! Untidy projects deploy all the same, and failures are named.

use super::*;

#[tokio::test]
async fn a_site_is_installed_and_built() {
    let trial = Trial::new(&[("package.json", PACKAGE), ("package-lock.json", LOCK), ("build.js", &writes(USES))]);
    let built = trial.build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("$ npm ci");
    built.assert_says("$ npm run build");
    built.assert_silent("Warning");
}

#[tokio::test]
async fn a_folder_without_a_build_is_the_site_itself_and_runs_nothing() {
    let built = Trial::new(&[("index.html", "<h1>plain</h1>")]).build().await;
    assert_eq!(built.file("index.html"), "<h1>plain</h1>");
    built.assert_silent("$ ");
}

#[tokio::test]
async fn a_lock_file_out_of_step_is_installed_all_the_same_with_a_warning() {
    let package = PACKAGE.replace("7.0.0\" }", "6.0.0\" }");
    let trial = Trial::new(&[("package.json", &package), ("package-lock.json", LOCK), ("build.js", &writes(USES))]);
    let built = trial.build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("$ npm install");
    built.assert_says("Warning: The lock file is out of step");
}

#[tokio::test]
async fn peer_dependencies_that_contradict_each_other_are_installed_the_old_way_with_a_warning() {
    let package = PACKAGE
        .replace("\"is-number\"", "\"react\": \"19.0.0\", \"use-sync-external-store\": \"1.0.0\", \"is-number\"");
    let trial = Trial::new(&[("package.json", &package), ("build.js", &writes(USES))]);
    let built = trial.build().await;
    assert_eq!(built.file("index.html"), "true");
    built.assert_says("--legacy-peer-deps");
    built.assert_says("Warning: Peer dependencies contradict each other");
}

#[tokio::test]
async fn a_failing_build_names_its_command_and_exit_code() {
    let trial = Trial::new(&[("package.json", PACKAGE), ("build.js", "console.error('no'); process.exit(3)")]);
    let built = trial.build().await;
    assert_eq!(built.error().code(), "build_failed");
    let text = built.error().to_string();
    assert!(text.contains("`npm run build`") && text.contains("exit code 3"), "{text}");
    built.assert_says("no");
}

#[tokio::test]
async fn a_dependency_that_does_not_exist_fails_the_install() {
    let package = PACKAGE.replace("\"7.0.0\" }", "\"999.0.0\" }");
    let built = Trial::new(&[("package.json", &package), ("build.js", &writes("1"))]).build().await;
    assert_eq!(built.error().code(), "install_failed");
    built.assert_says("ETARGET");
    let text = built.error().to_string();
    assert!(text.contains("No matching version found for is-number@999.0.0. The log says more."), "{text}");
}

#[tokio::test]
async fn a_build_that_leaves_nothing_says_where_it_was_looked_for() {
    let trial = Trial::new(&[("package.json", PACKAGE), ("build.js", "")]);
    let built = trial.build().await;
    assert_eq!(built.error().code(), "no_output");
    assert!(built.error().to_string().contains("dist"), "{}", built.error());
}

#[tokio::test]
async fn the_project_sees_its_own_variables_and_nothing_of_the_platform() {
    let script = writes("JSON.stringify(process.env)") + "console.log('key is', process.env.API_KEY);";
    let mut trial = Trial::new(&[("package.json", PACKAGE), ("build.js", &script)]);
    trial.set("API_KEY", "hunter2-hunter2");
    trial.set("PATH", "/nowhere");
    let built = trial.build().await;
    built.assert_says("key is ***");
    built.assert_silent("hunter2");
    let env: BTreeMap<String, String> = serde_json::from_str(&built.file("index.html")).unwrap();
    assert_eq!(env["API_KEY"], "hunter2-hunter2");
    assert_eq!(env["ASTROCLOUD"], "1");
    for absent in ["CI", "NODE_ENV", "PORT", "CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "RUST_BACKTRACE"] {
        assert!(!env.contains_key(absent), "{absent}");
    }
}
