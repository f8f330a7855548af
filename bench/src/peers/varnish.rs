//! Varnish: its built-in rules, memory storage, and one pool of threads; it has no mode with one thread.

use std::path::PathBuf;

use super::{Duty, Job, text};
use crate::process::Launch;

/// Memory for answers: far more than the scenario has.
const STORAGE: &str = "malloc,256m";

pub fn launch(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Launch> {
    anyhow::ensure!(job.duty == Duty::Cache, "Varnish is compared as a cache only");
    let app = job.app;
    let rules = format!("vcl 4.1;\nbackend app {{ .host = \"{}\"; .port = \"{}\"; }}\n", app.ip(), app.port());
    let rules = job.write("rules.vcl", &rules)?;
    let work = text(&job.folder.join("work"))?;
    let http = job.http.to_string();
    let mut args: Vec<String> = Vec::new();
    if rustix::process::geteuid().is_root() {
        // Its jail's user may not read a temporary folder.
        args.extend(["-j".into(), "none".into()]);
    }
    let fixed = ["-F", "-a", &http, "-f", &rules, "-n", &work, "-s", STORAGE, "-p", "thread_pools=1"];
    args.extend(fixed.map(str::to_owned));
    Ok(Launch { program, args, env: Vec::new() })
}
