//! Repositories over HTTP, from git's own server.

use crate::support::{Platform, folder, run, write};

#[path = "../../../deployer/source/tests/support/git_server.rs"]
mod git_server;

use git_server::GitServer;

#[tokio::test]
async fn a_repository_deploys_its_default_branch_and_any_other() {
    let platform = Platform::start().await;
    let source = folder(&[("index.html", "main")]);
    let git = |args: Vec<&'static str>| {
        let at = source.path().to_owned();
        async move {
            let mut all = vec!["-c", "user.name=Test", "-c", "user.email=test@example.org"];
            all.extend(args);
            run(&at, "git", &all).await;
        }
    };
    git(vec!["init", "-q", "-b", "main"]).await;
    git(vec!["add", "."]).await;
    git(vec!["commit", "-qm", "first"]).await;
    git(vec!["checkout", "-qb", "next"]).await;
    write(source.path(), &[("index.html", "next")]);
    git(vec!["commit", "-qam", "second"]).await;
    git(vec!["checkout", "-q", "main"]).await;
    let server = GitServer::serve(source.path()).await;
    let url = server.url();

    let live = platform.cli(&["deploy", &url, "--project", "repo", "--json"]).await.ok().json();
    assert_eq!(platform.get("repo", "/").await.body, "main");
    let told = platform.api(reqwest::Method::GET, &format!("/deployments/{}", live["deployment"].as_str().unwrap())).await;
    assert_eq!(told["source"]["commit"].as_str().unwrap().len(), 40, "{told}");
    platform.cli(&["deploy", &url, "--project", "repo", "--branch", "next"]).await.ok();
    assert_eq!(platform.get("repo", "/").await.body, "next");

    let missing = platform.cli(&["deploy", &url, "--project", "repo", "--branch", "gone", "--json"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.json()["reason"].as_str().unwrap().contains("gone"), "{missing:?}");
    assert_eq!(platform.get("repo", "/").await.body, "next");
}
