//! Repositories over HTTP, from git's own server.

use crate::support::Platform;

#[path = "../../../deployer/source/tests/support/git_server.rs"]
mod git_server;

use git_server::GitServer;

#[tokio::test]
async fn a_repository_deploys_its_default_branch_and_any_other() {
    let platform = Platform::start().await;
    let server = GitServer::start().await;
    let repository = server.repository("site.git");
    let commit = repository.commit("main", &[("index.html", "main")]);
    repository.commit("next", &[("index.html", "next")]);
    let url = server.url("site.git");

    let live = platform.cli(&["deploy", &url, "--project", "repo", "--json"]).await.ok().json();
    assert_eq!(platform.get("repo", "/").await.body, "main");
    let told =
        platform.api(reqwest::Method::GET, &format!("/deployments/{}", live["deployment"].as_str().unwrap())).await;
    assert_eq!(told["source"]["commit"].as_str(), Some(commit.as_str()), "{told}");
    platform.cli(&["deploy", &url, "--project", "repo", "--branch", "next"]).await.ok();
    assert_eq!(platform.get("repo", "/").await.body, "next");

    // A redeploy builds the same commit, whatever the branch has become.
    repository.commit("main", &[("index.html", "newer")]);
    platform.cli(&["redeploy", live["deployment"].as_str().unwrap(), "--project", "repo"]).await.ok();
    assert_eq!(platform.get("repo", "/").await.body, "main");

    let missing = platform.cli(&["deploy", &url, "--project", "repo", "--branch", "gone", "--json"]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.json()["reason"].as_str().unwrap().contains("gone"), "{missing:?}");
    assert_eq!(platform.get("repo", "/").await.body, "main");
}

#[tokio::test]
async fn a_private_repositorys_token_is_told_to_nobody() {
    let platform = Platform::start().await;
    let server = GitServer::start().await;
    server.login("bot", "hunter22");
    server.repository("private/site.git").commit("main", &[("index.html", "private")]);
    let url = server.url_as("bot:hunter22", "private/site.git");
    let live = platform.cli(&["deploy", &url, "--project", "repo", "--json"]).await.ok();
    let id = live.json()["deployment"].as_str().unwrap().to_owned();
    assert_eq!(platform.get("repo", "/").await.body, "private");
    let told = platform.api(reqwest::Method::GET, &format!("/deployments/{id}")).await.to_string();
    for text in [told, platform.build_log(&id).await, platform.said(), live.stderr] {
        assert!(!text.contains("hunter22"), "{text}");
    }
    let refused = platform.cli(&["deploy", &server.url("private/site.git"), "--project", "repo", "--json"]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.json()["reason"].as_str().unwrap().contains("private"), "{refused:?}");
}
