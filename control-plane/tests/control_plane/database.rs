//! A Postgres that is new, that stops and that comes back.

use std::sync::Arc;

use common::api::DeploymentStatus;
use control_plane::{copy, schema};
use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::certificates::Authority;
use testkit::postgres::Postgres;
use tokio::net::{TcpListener, UnixStream};

use crate::support::{Platform, database, until};

#[tokio::test]
async fn control_planes_that_start_together_on_an_empty_database_bring_its_schema_up_once() {
    let url = Postgres::shared().create_database();
    let starts = (0..3).map(|_| Platform::start_on(url.clone()));
    let planes = futures::future::join_all(starts).await;
    planes[0].project("shop").await;
    for plane in &planes {
        assert_eq!(plane.get("/projects/shop").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn while_the_database_restarts_reads_wait_and_writes_say_that_it_is_away() {
    let server = Arc::new(Postgres::start());
    let platform = Platform::start_on(over_tcp(&server, &server.create_database()).await).await;
    platform.project("shop").await;
    server.stop();

    let refused = platform.post("/projects", json!({ "name": "second" })).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::SERVICE_UNAVAILABLE, "database_away"));
    let reads = futures::future::join_all((0..20).map(|_| platform.get("/projects/shop")));
    let comes_back = async {
        // All of them have found that the database is away.
        tokio::task::yield_now().await;
        server.begin();
    };
    for read in futures::future::join(reads, comes_back).await.0 {
        assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    }
    until(|| async { (platform.post("/projects", json!({ "name": "second" })).await.status == 201).then_some(()) })
        .await;
}

#[tokio::test]
async fn an_installation_moves_from_sqlite_to_postgres_with_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let file = database::sqlite(folder.path());
    let before = Platform::start_in(folder, file.clone()).await;
    before.project("shop").await;
    let first = before.deploy("shop").await;
    let second = before.deploy("shop").await;
    before.call(Method::PUT, "/projects/shop/env", Some(json!({ "variables": { "SECRET": "geheim" } }))).await;
    let [env, policy] = [before.get("/projects/shop/env").await.body, before.get("/projects/shop/policy").await.body];
    let folder = before.stop().await;

    let target = Postgres::shared().create_database();
    let copied = copy::copy(&file, &target).await.unwrap();
    let rows = |table: &str| copied.iter().find(|c| c.table == table).unwrap().rows;
    assert_eq!((rows("projects"), rows("deployments"), rows("env_variables")), (1, 2, 1));
    let again = copy::copy(&file, &target).await.unwrap_err().to_string();
    assert!(again.contains("holds nothing yet"), "{again}");

    let after = Platform::start_in(folder, target).await;
    assert_eq!(after.read(&second.id).await.status, DeploymentStatus::Live);
    assert_eq!(after.read(&first.id).await.created_at, first.created_at);
    assert_eq!(after.get("/projects/shop/env").await.body, env);
    assert_eq!(after.get("/projects/shop/policy").await.body, policy);
    after.ask("shop").await;
    assert_eq!(after.claim().await.1.env["SECRET"].reveal(), "geheim");
}

#[tokio::test]
async fn the_state_of_the_schema_is_told_without_changing_it() {
    let url = Postgres::shared().create_database();
    for _ in 0..2 {
        assert!(schema::status(&url).await.unwrap().iter().all(|migration| migration.known && !migration.applied));
    }
    schema::migrate(&url).await.unwrap();
    assert!(schema::status(&url).await.unwrap().iter().all(|migration| migration.applied));
}

/// What a migration says of itself that removes what the version before uses no longer.
const CONTRACTS: &str = "-- Contracts: ";

#[test]
fn migrations_only_add_so_that_the_version_before_goes_on_beside_this_one() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        read += 1;
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains(CONTRACTS) {
            continue;
        }
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        for statement in code.join(" ").to_uppercase().split(';') {
            for taken in ["DROP ", "RENAME ", "ALTER COLUMN"] {
                assert!(!statement.contains(taken), "{}: {statement}", path.display());
            }
            // The version before inserts rows without it.
            let bare =
                statement.contains("ADD COLUMN") && statement.contains("NOT NULL") && !statement.contains("DEFAULT");
            assert!(!bare, "{}: {statement}", path.display());
        }
    }
    assert!(read >= 6, "migrations are read");
}

#[tokio::test]
async fn over_tls_the_server_must_prove_itself_and_its_name() {
    let server = Postgres::start_with_tls(&Authority::new(), "127.0.0.1");
    let database = server.create_database();
    let name = database.rsplit('/').next().unwrap();
    let other = tempfile::tempdir().unwrap();
    Authority::new().issue_into(other.path(), &["127.0.0.1"]);
    let url = |host: &str, ca: &std::path::Path| {
        let port = server.port();
        format!("postgres://postgres@{host}:{port}/{name}?sslmode=verify-full&sslrootcert={}", ca.display())
    };
    schema::migrate(&url("127.0.0.1", &server.ca())).await.unwrap();
    assert!(schema::status(&url("127.0.0.1", &server.ca())).await.unwrap().iter().all(|migration| migration.applied));
    for refused in [url("127.0.0.1", &other.path().join("ca.crt")), url("localhost", &server.ca())] {
        let said = schema::status(&refused).await.unwrap_err().to_string();
        assert!(said.contains("certificate"), "{said}");
    }
}

/// The database's address through a TCP port that stays when the server goes: it then ends connections at once, which is
/// harder on a client than a refusal.
async fn over_tcp(server: &Arc<Postgres>, url: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Arc::clone(server);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let socket = server.socket();
            tokio::spawn(async move {
                if let Ok(mut upstream) = UnixStream::connect(socket).await {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                }
            });
        }
    });
    let database = url.rsplit('/').next().unwrap();
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}
