//! Caddy: one processor for Go, no access log, JSON configuration that its API changes in place.

use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Duty, Job, Running, text};
use crate::fixture::{FLIP, Fixture, HOST, HOSTS, host};
use crate::process::Launch;

pub fn launch(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Launch> {
    let file = job.write("caddy.json", &config(job)?.to_string())?;
    let folder = text(&job.folder)?;
    let args = vec!["run".into(), "--config".into(), file];
    let env = [("GOMAXPROCS", "1"), ("XDG_DATA_HOME", &folder), ("XDG_CONFIG_HOME", &folder), ("HOME", &folder)];
    Ok(Launch { program, args, env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into() })
}

/// Changes the site's folder by its id, which is the least that its API can be asked for.
pub async fn flip(running: &Running, fixture: &Fixture, to: &str) -> anyhow::Result<()> {
    let url = format!("http://{}/id/flip/root", running.admin);
    let root = text(&fixture.many().join(to))?;
    let answer = reqwest::Client::new().patch(url).json(&root).send().await?;
    answer.error_for_status().context("Caddy's API refuses the change")?;
    Ok(())
}

fn config(job: &Job<'_>) -> anyhow::Result<Value> {
    let files = |root: String| json!({ "handler": "file_server", "root": root });
    let flip = || {
        let root = text(&job.fixture.many().join(FLIP[0]))?;
        let handle = json!({ "@id": "flip", "handler": "file_server", "root": root });
        anyhow::Ok(json!({ "match": [{ "host": [HOST] }], "handle": [handle], "terminal": true }))
    };
    let proxy = || {
        let upstream = json!([{ "dial": job.app.to_string() }]);
        let keep = json!({ "protocol": "http", "keep_alive": { "max_idle_conns_per_host": 64 } });
        json!({ "handler": "reverse_proxy", "upstreams": upstream, "transport": keep })
    };
    let routes = match job.duty {
        Duty::Files => json!([{ "handle": [files(job.site()?)] }]),
        Duty::Proxy | Duty::WebSocket => json!([{ "handle": [proxy()] }]),
        Duty::OneSite => json!([flip()?]),
        Duty::ManySites => {
            let hosts: Vec<String> = (0..HOSTS).map(host).collect();
            // A list of hosts is searched by halves, and a placeholder names the folder: any other way makes Caddy
            // look at routes one after the other.
            let root = format!("{}/{{http.request.host.labels.2}}", job.many()?);
            json!([flip()?, { "match": [{ "host": hosts }], "handle": [files(root)], "terminal": true }])
        }
        other => anyhow::bail!("Caddy has no configuration for {other:?}"),
    };
    let server = |address: String| json!({ "listen": [address], "automatic_https": { "disable": true }, "routes": routes, "idle_timeout": "600s" });
    let mut servers = serde_json::Map::from_iter([("plain".to_owned(), server(job.http.to_string()))]);
    let mut secure = server(job.https.to_string());
    // One server with the ids of the routes is enough: two objects with one id are refused.
    if matches!(job.duty, Duty::OneSite | Duty::ManySites) {
        secure["routes"] = json!([]);
    }
    secure["tls_connection_policies"] = json!([{}]);
    servers.insert("secure".to_owned(), secure);
    let certificate = json!({ "certificate": text(&job.fixture.certificate_pem)?, "key": text(&job.fixture.key_pem)? });
    Ok(json!({
        "admin": { "listen": job.admin.to_string() },
        "logging": { "logs": { "default": { "level": "ERROR" } } },
        "apps": {
            "http": { "servers": servers },
            "tls": { "certificates": { "load_files": [certificate] } },
        },
    }))
}
