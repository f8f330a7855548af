//! HAProxy: one thread, kept upstream connections, its map files for many hosts.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::{Duty, Job, text};
use crate::fixture::{HOSTS, host};
use crate::process::Launch;

pub fn launch(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Launch> {
    let file = job.write("haproxy.cfg", &config(job)?)?;
    // `-db` keeps it in the foreground, as one process.
    Ok(Launch { program, args: vec!["-db".into(), "-f".into(), file], env: Vec::new() })
}

fn config(job: &Job<'_>) -> anyhow::Result<String> {
    let (http, https, app) = (job.http, job.https, job.app);
    let certificate = text(&job.fixture.both_pem)?;
    let choose = match job.duty {
        Duty::ManyApps => {
            let mut map = String::new();
            for number in 0..HOSTS {
                let _ = writeln!(map, "{} app", host(number));
            }
            let map = job.write("hosts.map", &map)?;
            format!("  use_backend %[req.hdr(host),lower,map({map},none)]\n")
        }
        // HAProxy serves no files; for handshakes the smallest answer of its own does.
        Duty::Files => "  http-request return status 200 content-type text/plain string ok\n".to_owned(),
        _ => "  default_backend app\n".to_owned(),
    };
    Ok(format!(
        "global\n  nbthread 1\n  maxconn 4000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n\
         \x20 ssl-default-bind-curves X25519:P-256:P-384\n  tune.ssl.cachesize 100000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n\
         \x20 timeout tunnel 1h\n  timeout http-keep-alive 600s\n  option http-keep-alive\n  http-reuse always\n\
         frontend visitors\n  bind {http} backlog 4096\n  bind {https} ssl crt {certificate} alpn h2,http/1.1 backlog 4096\n\
         \x20 option forwardfor\n  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]\n\
         \x20 http-request set-header X-Forwarded-Host %[req.hdr(host)]\n{choose}\
         backend app\n  server app {app} pool-max-conn 64\n\
         backend none\n  http-request return status 404\n"
    ))
}
