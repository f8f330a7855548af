//! Repositories over HTTP.

use common::source::Source;
use source::Limits;

use crate::git_server::{GitServer, Item};
use crate::kit::{Place, sandboxes, tree};

fn repository(url: &str, commit: Option<&str>) -> Source {
    Source::Git { url: url.parse().unwrap(), branch: None, commit: commit.map(str::to_owned) }
}

/// Asserts that a fetch fails with a code and with each of some words, in the error and not in the log.
async fn fails(source: &Source, branch: Option<&str>, code: &str, words: &[&str]) -> String {
    let place = Place::new();
    let error = place.fetch(source, branch).await.unwrap_err();
    let sentence = error.to_string();
    assert_eq!(error.code(), code, "{sentence}");
    assert_eq!(error.is_transient(), code == "git_unreachable", "{sentence}");
    for word in words {
        assert!(sentence.contains(word), "{word}: {sentence}");
    }
    format!("{error:?} {sentence} {}", place.said().await)
}

#[tokio::test]
async fn the_default_branch_arrives_with_its_commit() {
    let server = GitServer::start().await;
    let site = server.repository("site.git");
    site.commit("main", &[("old.txt", "old"), ("index.html", "1")]);
    site.commit("other", &[("other", "x")]);
    let items = [
        ("index.html", Item::File(b"2")),
        ("bin/run", Item::Program(b"#!")),
        ("link", Item::Link("../outside")),
        (".gitattributes", Item::File(b"*.bin filter=lfs diff=lfs merge=lfs -text\n")),
    ];
    let newest = site.commit_items("main", &items);
    let place = Place::new();
    let fetched = place.fetch(&repository(&server.url("site.git"), None), None).await.unwrap();
    assert_eq!(fetched.commit.as_deref(), Some(newest.as_str()));
    let expected = [
        ("old.txt", "old"),
        ("index.html", "2"),
        ("bin/run", "#!"),
        ("link", "-> ../outside"),
        (".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n"),
    ];
    assert_eq!(place.tree(), tree(&expected));
    assert_eq!((place.mode("bin/run"), place.mode("index.html")), (0o755, 0o644));
    let url = server.url("site.git");
    assert_eq!(place.said().await, format!("Fetching {url}.\nFetched branch main at {}.\n", &newest[..7]));
}

#[tokio::test]
async fn a_branch_arrives_whether_the_source_or_the_project_names_it() {
    let server = GitServer::start().await;
    let site = server.repository("site.git");
    site.commit("main", &[("a", "main")]);
    site.commit("feature/x", &[("a", "feature")]);
    let url = server.url("site.git");
    let named = Source::Git { url: url.parse().unwrap(), branch: Some("feature/x".into()), commit: None };
    for (source, default) in [(named, Some("main")), (repository(&url, None), Some("feature/x"))] {
        let place = Place::new();
        place.fetch(&source, default).await.unwrap();
        assert_eq!(place.tree(), tree(&[("a", "feature")]));
    }
}

#[tokio::test]
async fn every_sandbox_of_the_host_will_do() {
    let server = GitServer::start().await;
    server.login("ann", "t0ken-value");
    server.repository("private/site.git").commit("main", &[("a", "1")]);
    let source = repository(&server.url_as("ann:t0ken-value", "private/site.git"), None);
    for sandbox in sandboxes().await {
        let mut place = Place::new();
        place.sandbox = Some(sandbox.clone());
        let fetched = place.fetch(&source, None).await;
        assert!(fetched.is_ok(), "{}: {fetched:?}", sandbox.level());
        assert_eq!(place.tree(), tree(&[("a", "1")]));
    }
}

#[tokio::test]
async fn an_older_commit_arrives_whatever_the_server_allows() {
    let server = GitServer::start().await;
    for path in ["site.git", "old/site.git"] {
        let site = server.repository(path);
        let wanted = site.commit("main", &[("a", "1")]);
        site.commit("main", &[("a", "2")]);
        for asked in [wanted.as_str(), &wanted[..10]] {
            let place = Place::new();
            let fetched = place.fetch(&repository(&server.url(path), Some(asked)), None).await.unwrap();
            assert_eq!(fetched.commit.as_deref(), Some(wanted.as_str()), "{path}");
            assert_eq!(place.tree(), tree(&[("a", "1")]));
        }
        let missing = "1234567890123456789012345678901234567890";
        let source = repository(&server.url(path), Some(missing));
        fails(&source, Some("main"), "git_commit_not_found", &[missing, "on branch main"]).await;
        fails(&source, Some("gone"), "git_branch_not_found", &["gone"]).await;
    }
}

#[tokio::test]
async fn a_missing_branch_is_named_with_those_there_are() {
    let server = GitServer::start().await;
    let site = server.repository("site.git");
    site.commit("main", &[("a", "1")]);
    site.commit("develop", &[("a", "1")]);
    let source = repository(&server.url("site.git"), None);
    fails(&source, Some("mian"), "git_branch_not_found", &["no branch mian", "develop, main"]).await;
    site.set_default("gone");
    fails(&source, None, "git_branch_not_found", &["default branch", "develop, main"]).await;
    fails(&source, Some("--upload-pack=x"), "git_branch_not_found", &["can't be the name"]).await;
}

#[tokio::test]
async fn an_empty_repository_is_told() {
    let server = GitServer::start().await;
    server.repository("empty.git");
    let source = repository(&server.url("empty.git"), None);
    fails(&source, None, "git_empty", &["is empty", "Push"]).await;
    fails(&source, Some("main"), "git_empty", &["is empty"]).await;
}

#[tokio::test]
async fn what_is_not_there_is_told_and_what_is_down_may_be_tried_again() {
    let server = GitServer::start().await;
    let missing = repository(&server.url("missing.git"), None);
    fails(&missing, None, "git_not_found", &["private or does not exist", "missing.git"]).await;
    let broken = repository(&server.url("broken/x.git"), None);
    fails(&broken, None, "git_unreachable", &["503"]).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = repository(&format!("http://{nobody}/x.git"), None);
    fails(&refused, None, "git_unreachable", &["can't be reached"]).await;
    let unsafe_ = repository(&format!("https://{}/x.git", server.url("").split('/').nth(2).unwrap()), None);
    fails(&unsafe_, None, "git_tls", &["certificate"]).await;
    let ssh = repository("ssh://git@example.test/x.git", None);
    fails(&ssh, None, "git_address_invalid", &["https://"]).await;
}

#[tokio::test]
async fn a_private_repository_is_fetched_with_its_token_and_nobody_sees_it() {
    const TOKEN: &str = "s3cr3t/token+value";
    const IN_URL: &str = "s3cr3t%2Ftoken+value";
    let server = GitServer::start().await;
    server.login("ann", TOKEN);
    let site = server.repository("private/site.git");
    let commit = site.commit("main", &[("a", "1")]);

    let place = Place::new();
    let with = repository(&server.url_as(&format!("ann:{IN_URL}"), "private/site.git"), None);
    let fetched = place.fetch(&with, None).await.unwrap();
    assert_eq!(fetched.commit, Some(commit));
    assert_eq!(place.tree(), tree(&[("a", "1")]));
    let said = place.said().await;
    assert!(said.contains(&server.url("private/site.git")), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains(IN_URL), "{said}");

    let wrong = repository(&server.url_as("ann:wr0ng-token", "private/site.git"), None);
    let all = fails(&wrong, None, "git_not_found", &["private or does not exist", "token"]).await;
    assert!(!all.contains("wr0ng-token"), "{all}");
    let without = repository(&server.url("private/site.git"), None);
    fails(&without, None, "git_not_found", &["private or does not exist"]).await;
    let missing = repository(&server.url_as(&format!("ann:{IN_URL}"), "private/missing.git"), None);
    let all = fails(&missing, None, "git_not_found", &[]).await;
    assert!(!all.contains(TOKEN) && !all.contains(IN_URL), "{all}");
}

#[tokio::test]
async fn submodules_arrive_too_and_get_the_token_only_on_the_same_host() {
    let (server, elsewhere) = (GitServer::start().await, GitServer::start().await);
    server.login("ann", "t0ken-value");
    let library = server.repository("private/library.git");
    let used = library.commit("main", &[("lib.js", "1")]);
    library.commit("main", &[("lib.js", "2")]);
    let public = elsewhere.repository("public.git");
    let public_used = public.commit("main", &[("p", "p")]);
    let site = server.repository("private/site.git");
    let modules = format!(
        "[submodule \"l\"]\n\tpath = vendor/l\n\turl = ../library.git\n[submodule \"p\"]\n\tpath = p\n\turl = {}\n",
        elsewhere.url("public.git")
    );
    let items = [
        (".gitmodules", Item::File(modules.as_bytes())),
        ("vendor/l", Item::Submodule(&used)),
        ("p", Item::Submodule(&public_used)),
    ];
    site.commit_items("main", &items);
    let place = Place::new();
    let source = repository(&server.url_as("ann:t0ken-value", "private/site.git"), None);
    place.fetch(&source, None).await.unwrap();
    assert_eq!(place.tree(), tree(&[(".gitmodules", &modules), ("vendor/l/lib.js", "1"), ("p/p", "p")]));
    assert!(server.saw_login("private"));
    assert!(!elsewhere.saw_login("public.git"));
}

#[tokio::test]
async fn a_submodule_that_cannot_be_fetched_is_told() {
    let server = GitServer::start().await;
    let urls = [server.url("missing.git"), "git@example.test:a/b.git".into(), "file:///etc".into(), "/etc".into()];
    for (index, url) in urls.iter().enumerate() {
        let path = format!("{index}.git");
        let modules = format!("[submodule \"m\"]\n\tpath = m\n\turl = {url}\n");
        let items = [
            (".gitmodules", Item::File(modules.as_bytes())),
            ("m", Item::Submodule("1234567890123456789012345678901234567890")),
        ];
        server.repository(&path).commit_items("main", &items);
        fails(&repository(&server.url(&path), None), None, "git_submodule", &["A submodule of"]).await;
    }
}

#[tokio::test]
async fn each_limit_is_kept_and_named() {
    let server = GitServer::start().await;
    let site = server.repository("site.git");
    let noise: String =
        (0..3_000_000_u32).map(|n| char::from(33 + (n.wrapping_mul(2_654_435_761) >> 24) as u8 % 90)).collect();
    site.commit("main", &[("a", "1"), ("b/c", "2"), ("big.bin", &noise)]);
    let source = repository(&server.url("site.git"), None);
    let refused = async |limits: Limits| {
        let mut place = Place::new();
        place.limits = limits;
        let error = place.fetch(&source, None).await.unwrap_err();
        assert!(!error.is_transient());
        assert!(place.tree().is_empty(), "nothing arrives by halves");
        (error.code(), error.to_string())
    };
    let (code, said) = refused(Limits { entries: 3, ..Limits::default() }).await;
    assert!(code == "source_too_large" && said.contains("more than 3 files"), "{said}");
    let (code, said) = refused(Limits { bytes: 1 << 20, ..Limits::default() }).await;
    assert!(code == "source_too_large" && said.contains("1 MiB"), "{said}");
    let (code, said) = refused(Limits { file_bytes: 1 << 20, ..Limits::default() }).await;
    assert!(code == "source_too_large" && said.contains("`big.bin`"), "{said}");
    let (code, said) = refused(Limits { wall: std::time::Duration::from_millis(1), ..Limits::default() }).await;
    assert!(code == "git_timeout", "{said}");
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_ends_and_leaves_nothing() {
    // A server that takes the connection and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = repository(&format!("http://{}/x.git", silent.local_addr().unwrap()), None);
    let place = Place::new();
    let connected = tokio::select! {
        connection = silent.accept() => connection.unwrap().0,
        done = place.fetch(&source, None) => panic!("it ended: {done:?}"),
    };
    // Git is killed: its end of the connection closes.
    let mut connected = connected;
    tokio::io::copy(&mut connected, &mut tokio::io::sink()).await.ok();
    while !place.beside().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(place.tree().is_empty());
}
