//! From a start to the first answer, or to the reason why there is none.

use std::time::Duration;

use common::runtime::StartError;
use runtime::Settings;

use crate::kit::{SERVER, World, get, said, settings, unpacked, with_env, with_health};

/// Enough for Node to begin, for tests in which the time must run out.
const SHORT: Duration = Duration::from_secs(4);

fn impatient() -> Settings {
    Settings { start_timeout: SHORT, ..settings() }
}

#[tokio::test]
async fn an_app_that_never_listens_is_told_its_port_and_ends() {
    let world = World::new(Settings { start_timeout: Duration::from_millis(300), ..settings() }).await;
    let app = world.app_started_with("", "echo my port is $PORT; exec sleep 1000").await;
    let error = world.runtime.start(&app).await.unwrap_err();
    assert_eq!(error.code(), "app_never_listened");
    let log = world.log_until(&app, "did not listen").await;
    let port = said(&log)[0].strip_prefix("my port is ").unwrap();
    let message = error.to_string();
    assert!(message.contains(&format!("did not listen on port {port} within 300 ms")), "{message}");
    assert!(message.contains("PORT") && message.contains("0.0.0.0 or 127.0.0.1"), "{message}");
    assert!(world.runtime.running().await.is_empty() && unpacked(&world).is_empty());
    assert!(world.ledger.reports().is_empty(), "the caller reports how a start ended");
}

#[tokio::test]
async fn an_app_on_another_port_is_told_which() {
    let world = World::new(impatient()).await;
    let app = world.app(&SERVER.replace("process.env.PORT", "0").replace("'listening'", "server.address().port")).await;
    let message = world.runtime.start(&app).await.unwrap_err().to_string();
    let log = world.log_until(&app, "did not listen").await;
    assert!(message.ends_with(&format!("It listens on port {} instead.", said(&log)[0])), "{message}");
}

#[tokio::test]
async fn a_program_that_lies_in_wait_on_an_apps_port_does_not_get_its_traffic() {
    let world = World::new(impatient()).await;
    let app = world.app_started_with("", "sleep 1000").await;
    let starting = tokio::spawn({
        let (runtime, app) = (world.runtime.clone(), app.clone());
        async move { runtime.start(&app).await }
    });
    let log = world.log_until(&app, " on port ").await;
    let port: u16 = log[0].text.rsplit_once(' ').unwrap().1.trim_end_matches('.').parse().unwrap();
    let _squatter = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let error = starting.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "app_never_listened");
    assert!(error.to_string().contains("Another program"), "{error}");
}

#[tokio::test]
async fn an_app_that_ends_at_once_is_told_with_its_exit_code_and_its_last_lines() {
    let world = World::new(settings()).await;
    let script = "
        for (let n = 1; n <= 30; n++) console.log('line', n);
        console.error('cannot reach \\u001b[31m' + process.env.DATABASE);
        process.exitCode = 7;
    ";
    let app = with_env(world.app(script).await, &[("DATABASE", "postgres://me:hunter2@db")]);
    let error = world.runtime.start(&app).await.unwrap_err();
    assert_eq!(error.code(), "app_exited");
    let StartError::Exited { how, last_lines } = error else { panic!("{error}") };
    assert_eq!(how, "it ended with exit code 7");
    assert_eq!(last_lines.len(), 20);
    assert!(last_lines.contains(&"cannot reach ***".to_owned()), "{last_lines:?}");
    assert!(unpacked(&world).is_empty());
}

#[tokio::test]
async fn an_app_that_is_no_server_is_told_so() {
    let world = World::new(settings()).await;
    let app = world.app("console.log('built')").await;
    let message = world.runtime.start(&app).await.unwrap_err().to_string();
    assert!(message.contains("exit code 0, but a server has to keep running"), "{message}");
    let missing = world.app_started_with("", "no-such-program").await;
    let message = world.runtime.start(&missing).await.unwrap_err().to_string();
    assert!(message.contains("exit code 127") && message.contains("no-such-program: not found"), "{message}");
}

#[tokio::test]
async fn a_start_waits_for_the_health_path() {
    let world = World::new(settings()).await;
    let script = "
        let asked = 0;
        require('http').createServer((request, response) => {
            if (request.url === '/health') { response.statusCode = ++asked < 4 ? 503 : 204; response.end(); }
            else response.end(String(asked));
        }).listen(process.env.PORT);
    ";
    let app = with_health(world.app(script).await, "/health");
    let at = world.runtime.start(&app).await.unwrap().first();
    assert_eq!(get(at, "/").await.as_deref(), Some("4"));
}

#[tokio::test]
async fn an_app_that_stays_unwell_is_told_its_last_answer() {
    let world = World::new(impatient()).await;
    let script = "require('http').createServer((q, r) => { r.statusCode = 503; r.end(); }).listen(process.env.PORT)";
    let app = with_health(world.app(script).await, "/ready");
    let error = world.runtime.start(&app).await.unwrap_err();
    assert_eq!(error.code(), "app_unhealthy");
    assert!(error.to_string().contains("GET /ready was answered with status 503"), "{error}");
}

#[tokio::test]
async fn an_app_that_listens_on_ipv6_only_is_found() {
    let world = World::new(settings()).await;
    let app = world.app(&SERVER.replace("process.env.PORT", "process.env.PORT, '::1'")).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    assert!(at.is_ipv6() && get(at, "/").await.is_some(), "{at}");
}

#[tokio::test]
async fn every_start_begins_with_the_image_as_it_was_deployed() {
    let world = World::new(settings()).await;
    let script = "
        const fs = require('fs');
        const was = fs.existsSync('cache') ? 'changed' : 'fresh';
        fs.writeFileSync('cache', 'x');
        require('http').createServer((request, response) => response.end(was)).listen(process.env.PORT);
    ";
    let app = world.app(script).await;
    let at = world.runtime.start(&app).await.unwrap().first();
    assert_eq!(get(at, "/").await.as_deref(), Some("fresh"), "and it may write beside its code");
    world.runtime.stop(&app.deployment).await;
    world.log_until(&app, "Stopped.").await;
    let at = world.runtime.start(&app).await.unwrap().first();
    assert_eq!(get(at, "/").await.as_deref(), Some("fresh"));
}

#[tokio::test]
async fn an_app_that_is_stopped_while_it_starts_is_killed() {
    let world = World::new(settings()).await;
    let app = world.app_started_with("", "echo begun; exec sleep 1000").await;
    let starting = tokio::spawn({
        let (runtime, app) = (world.runtime.clone(), app.clone());
        async move { runtime.start(&app).await }
    });
    world.log_until(&app, "begun").await;
    assert_eq!(world.runtime.running().await, std::slice::from_ref(&app.deployment));
    world.runtime.stop(&app.deployment).await;
    assert!(world.runtime.running().await.is_empty());
    let error = starting.await.unwrap().unwrap_err();
    assert!(matches!(error, StartError::Stopped), "{error}");
    assert!(unpacked(&world).is_empty());
}
