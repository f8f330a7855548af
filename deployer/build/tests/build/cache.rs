//! A rebuild without changes does not install again.

use super::*;

const UNCHANGED: &str = "Dependencies unchanged: using the cached node_modules.";

#[tokio::test]
async fn a_rebuild_uses_the_cached_modules_and_runs_the_projects_install_scripts() {
    let package = PACKAGE.replace("\"scripts\": {", "\"scripts\": { \"postinstall\": \"echo prepared\",");
    let mut trial = Trial::new(&[("package.json", &package), ("package-lock.json", LOCK), ("build.js", &writes(USES))]);
    trial.build().await.assert_silent(UNCHANGED);

    trial.files.push(("page.txt".to_owned(), "new".to_owned()));
    for _ in 0..2 {
        let again = trial.build().await;
        assert_eq!(again.file("index.html"), "true");
        again.assert_says(UNCHANGED);
        again.assert_says("prepared");
        again.assert_silent("$ npm ci");
    }

    trial.files[0].1 = package.replace("\"shop\"", "\"other\"");
    trial.files[1].1 = LOCK.replace("\"shop\"", "\"other\"");
    trial.build().await.assert_says("$ npm ci");
}

#[tokio::test]
async fn modules_that_the_cache_lost_or_broke_are_installed_anew() {
    let package =
        PACKAGE.replace("\"scripts\": {", "\"scripts\": { \"postinstall\": \"node -p 'require(`is-number`)(1)'\",");
    let trial = Trial::new(&[("package.json", &package), ("package-lock.json", LOCK), ("build.js", &writes(USES))]);
    trial.build().await.assert_says("$ npm ci");
    let modules = trial.folder.path().join("cache").join(trial.project.as_str()).join("modules");
    let entry = std::fs::read_dir(&modules).unwrap().next().unwrap().unwrap().path();

    std::fs::remove_dir_all(entry.join("tree/node_modules/is-number")).unwrap();
    let built = trial.build().await;
    built.assert_says("failed with the cached node_modules: installing anew");
    assert_eq!(built.file("index.html"), "true");

    std::fs::write(entry.join("list.json"), "not a list").unwrap();
    let built = trial.build().await;
    built.assert_says("The cached node_modules can't be used: installing anew.");
    assert_eq!(built.file("index.html"), "true");
}

#[tokio::test]
async fn a_failed_build_keeps_what_it_installed_but_not_what_it_had_from_the_cache() {
    let trial = Trial::new(&[("package.json", PACKAGE), ("package-lock.json", LOCK), ("build.js", "process.exit(1)")]);
    trial.build().await.assert_says("$ npm ci");
    trial.build().await.assert_says(UNCHANGED);
    trial.build().await.assert_says("$ npm ci");
}

#[tokio::test]
async fn a_download_cache_that_has_grown_too_large_is_emptied() {
    let mut trial = Trial::new(&[("package.json", PACKAGE), ("build.js", &writes(USES))]);
    trial.limits.downloads = 1;
    trial.build().await;
    assert!(!trial.folder.path().join("cache").join(trial.project.as_str()).join("downloads").exists());
}

#[tokio::test]
async fn a_map_of_plug_and_play_that_the_project_carries_does_not_replace_the_cached_one() {
    let package = PACKAGE.replace("\"private\"", "\"packageManager\": \"yarn@4.5.0\", \"private\"");
    let script = writes(USES);
    let stale = "throw new Error('the map of another machine');";
    let trial = Trial::new(&[("package.json", &package), (".pnp.cjs", stale), ("build.js", &script)]);
    assert_eq!(trial.build().await.file("index.html"), "true");
    let again = trial.build().await;
    again.assert_says(UNCHANGED);
    assert_eq!(again.file("index.html"), "true");
}
