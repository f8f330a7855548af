//! h2o: one thread, no access log, kept upstream connections.

use std::path::PathBuf;

use super::{Duty, Job, text};
use crate::process::Launch;

pub fn launch(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Launch> {
    let file = job.write("h2o.yaml", &config(job)?)?;
    Ok(Launch { program, args: vec!["-m".into(), "worker".into(), "-c".into(), file], env: Vec::new() })
}

fn config(job: &Job<'_>) -> anyhow::Result<String> {
    let (certificate, key) = (text(&job.fixture.certificate_pem)?, text(&job.fixture.key_pem)?);
    let handler = match job.duty {
        Duty::Files => format!("file.dir: {}", job.site()?),
        Duty::Proxy => format!("proxy.reverse.url: http://{}/", job.app),
        other => anyhow::bail!("h2o has no configuration for {other:?}"),
    };
    let user = if rustix::process::geteuid().is_root() { "user: root\n" } else { "" };
    Ok(format!(
        "{user}num-threads: 1\nmax-connections: 16000\nhttp2-idle-timeout: 600\nhttp1-request-timeout: 600\n\
         file.send-compressed: ON\nproxy.timeout.keepalive: 600000\nerror-log: /dev/stderr\n\
         listen:\n  host: 127.0.0.1\n  port: {http}\n\
         hosts:\n  default:\n\
         \x20   listen:\n      host: 127.0.0.1\n      port: {https}\n      ssl:\n        certificate-file: {certificate}\n\
         \x20       key-file: {key}\n        minimum-version: TLSv1.2\n\
         \x20   paths:\n      /:\n        {handler}\n",
        http = job.http.port(),
        https = job.https.port(),
    ))
}
