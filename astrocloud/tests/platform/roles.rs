//! The platform in several processes, one of which dies or is replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use tempfile::TempDir;

use crate::support::{PATIENCE, Platform, folder, terminate, until, within, write};

mod installation;

use installation::Installation;

/// A site whose build says that it has begun, and then takes so long that its platform can be harmed meanwhile.
fn slow_site() -> TempDir {
    let build = "console.log('begun');\n\
                 setTimeout(() => { const fs = require('fs'); fs.mkdirSync('dist'); fs.writeFileSync('dist/index.html', 'site') }, 8000);";
    let package = r#"{ "name": "site", "scripts": { "build": "node build.js" } }"#;
    folder(&[("package.json", package), ("build.js", build)])
}

fn app() -> TempDir {
    let code = "require('http').createServer((request, response) => response.end('app')).listen(process.env.PORT);";
    let package = r#"{ "name": "app", "scripts": { "start": "node server.js" } }"#;
    folder(&[("package.json", package), ("server.js", code)])
}

#[tokio::test]
async fn a_site_deployed_through_one_control_plane_is_served_by_the_edges_of_all() {
    let all = Installation::new();
    let (one, two) = (all.plane("control-1").await, all.plane("control-2").await);
    let (here, there) = (all.edge("edge-1", &one).await, all.edge("edge-2", &two).await);
    let _deployers = (all.deployer("deployer-1", &[&one, &two]).await, all.deployer("deployer-2", &[&two, &one]).await);
    let source = folder(&[("index.html", "one")]);
    for (plane, word) in [(&one, "one"), (&two, "two"), (&one, "three")] {
        write(source.path(), &[("index.html", word)]);
        all.deploy(plane, source.path(), "shop").await;
        for edge in [&here, &there] {
            assert_eq!(all.get(edge, "shop").await, (StatusCode::OK, word.to_owned()), "live is live on every edge");
        }
    }
}

#[tokio::test]
async fn what_a_deployer_was_building_when_it_was_killed_another_builds_once() {
    let all = Installation::new();
    let plane = all.plane("control-1").await;
    let edge = all.edge("edge-1", &plane).await;
    let mut first = all.deployer("deployer-1", &[&plane]).await;
    let asked = all.ask(&plane, slow_site().path(), "shop").await;
    until("the build has begun", || async { (all.begun(&plane, &asked).await == 1).then_some(()) }).await;
    let _second = all.deployer("deployer-2", &[&plane]).await;
    first.kill().await.unwrap();
    all.until_live(&plane, &asked).await;
    assert_eq!(all.get(&edge, "shop").await, (StatusCode::OK, "site".to_owned()));
    assert_eq!(all.begun(&plane, &asked).await, 2, "by the one that was killed, and by one other");
}

#[tokio::test]
async fn a_deployment_ends_well_when_the_control_plane_that_it_began_on_is_killed() {
    let all = Installation::new();
    let (mut one, two) = (all.plane("control-1").await, all.plane("control-2").await);
    let (here, there) = (all.edge("edge-1", &one).await, all.edge("edge-2", &two).await);
    let _deployer = all.deployer("deployer-1", &[&one, &two]).await;
    let asked = all.ask(&one, slow_site().path(), "shop").await;
    until("the build has begun", || async { (all.begun(&two, &asked).await == 1).then_some(()) }).await;
    one.process.kill().await.unwrap();
    // The edge of the one that is gone is waited for by the other, which says so in the end.
    let live = all.until_live(&two, &asked).await;
    assert_eq!(live["reason"]["code"], "late_edges", "{live}");
    let served = (StatusCode::OK, "site".to_owned());
    assert_eq!(all.get(&there, "shop").await, served);
    all.revive(&mut one).await;
    until("the edge is back and serves it", || async { (all.get(&here, "shop").await == served).then_some(()) }).await;
    assert_eq!(all.begun(&two, &asked).await, 1, "it was built once");
}

#[tokio::test]
async fn an_app_whose_deployer_is_killed_is_started_on_another() {
    let all = Installation::new();
    let plane = all.plane("control-1").await;
    let edge = all.edge("edge-1", &plane).await;
    let mut first = all.deployer("deployer-1", &[&plane]).await;
    all.deploy(&plane, app().path(), "api").await;
    assert_eq!(all.get(&edge, "api").await, (StatusCode::OK, "app".to_owned()));
    let _second = all.deployer("deployer-2", &[&plane]).await;
    first.kill().await.unwrap();
    until("the app is served again", || async {
        (all.get(&edge, "api").await == (StatusCode::OK, "app".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_part_is_replaced_in_turn_and_no_visitor_notices() {
    let all = Arc::new(Installation::new());
    let (mut one, mut two) = (all.plane("control-1").await, all.plane("control-2").await);
    let (mut here, mut there) = (all.edge("edge-1", &one).await, all.edge("edge-2", &two).await);
    let mut first = all.deployer("deployer-1", &[&one, &two]).await;
    all.deploy(&one, folder(&[("index.html", "site")]).path(), "shop").await;
    all.deploy(&two, app().path(), "api").await;

    let (done, visits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> =
        [(&here, "shop", "site"), (&here, "api", "app"), (&there, "shop", "site"), (&there, "api", "app")]
            .into_iter()
            .map(|(edge, project, word)| {
                let (url, done, visits) = (edge.http.clone(), done.clone(), visits.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        // A new connection each: one that is refused is noticed.
                        let client = reqwest::Client::new();
                        let request = client.get(url.clone()).header("host", format!("{project}.localhost"));
                        let page = within(PATIENCE, request.send()).await.unwrap();
                        let status = page.status();
                        assert_eq!(
                            (status, page.text().await.unwrap()),
                            (StatusCode::OK, word.to_owned()),
                            "{project}"
                        );
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();

    let mut second = all.deployer("deployer-2", &[&two, &one]).await;
    assert_eq!(terminate(&mut first).await, Some(0));
    for (plane, edge) in [(&mut one, &mut here), (&mut two, &mut there)] {
        plane.end().await;
        all.revive(plane).await;
        all.succeed(edge, plane).await;
    }
    let _third = all.deployer("deployer-3", &[&one, &two]).await;
    assert_eq!(terminate(&mut second).await, Some(0));
    let before = visits.load(Ordering::Relaxed);
    until("visitors go on", || async { (visits.load(Ordering::Relaxed) > before + 20).then_some(()) }).await;
    done.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.await.unwrap();
    }
}

#[tokio::test]
async fn a_role_says_what_it_lacks() {
    let platform = Platform::start().await;
    let database = ("ASTROCLOUD_DATABASE_URL", "postgres://nobody@127.0.0.1:1/x");
    let queue = ("ASTROCLOUD_QUEUE_URL", "redis://127.0.0.1:1");
    let shared = ("ASTROCLOUD_SHARED_DIR", "shared");
    for (args, variables, said) in [
        (vec!["control-plane"], vec![], "ASTROCLOUD_DATABASE_URL"),
        (vec!["control-plane"], vec![database], "ASTROCLOUD_QUEUE_URL"),
        (vec!["control-plane"], vec![database, queue], "ASTROCLOUD_SHARED_DIR"),
        (vec!["control-plane"], vec![database, queue, shared], "ASTROCLOUD_MASTER_KEY"),
        (vec!["deployer"], vec![], "--control-plane"),
        (vec!["deployer", "--control-plane", "https://control.example"], vec![], "--token-file"),
        (vec!["deployer", "--control-plane", "https://x.example", "--token-file", "t"], vec![], "ASTROCLOUD_QUEUE_URL"),
    ] {
        let variables = [&variables[..], &[("ASTROCLOUD_DATA_DIR", "elsewhere")]].concat();
        let outcome = platform.cli_with(&args, &variables).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains(said), "{outcome:?}");
    }
}
