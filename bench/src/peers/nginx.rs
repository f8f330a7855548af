//! nginx: one worker, sendfile, open_file_cache, kept upstream connections, no access log; tcp_nopush where it pays.

use std::fmt::Write as _;
use std::path::PathBuf;

use rustix::process::Signal;

use super::{Duty, Job, Running, text};
use crate::fixture::{BIG_FILE, FLIP, HOST, HOSTS, host, site_of};
use crate::process::Launch;

/// The file that says which site the host that flips has.
const FLIP_MAP: &str = "flip.map";

pub fn launch(job: &Job<'_>, program: PathBuf) -> anyhow::Result<Launch> {
    std::fs::create_dir_all(job.folder.join("temp"))?;
    let config = config(job)?;
    let file = job.write("nginx.conf", &config)?;
    let folder = text(&job.folder)?;
    let args = ["-p", &folder, "-e", "stderr", "-c", &file].map(str::to_owned);
    Ok(Launch { program, args: args.into(), env: Vec::new() })
}

/// Writes the new configuration.
pub fn prepare_flip(running: &Running, to: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(running.folder.join(FLIP_MAP), flip_map(to))?)
}

/// `nginx -s reload` sends this signal.
pub fn flip(running: &Running, _to: &str) -> anyhow::Result<()> {
    running.process.signal(Signal::HUP)
}

fn flip_map(to: &str) -> String {
    format!("{HOST} {to};\n")
}

fn config(job: &Job<'_>) -> anyhow::Result<String> {
    let (http, https) = (job.http, job.https);
    let (certificate, key) = (text(&job.fixture.certificate_pem)?, text(&job.fixture.key_pem)?);
    // Workers of a master that root started become `nobody`, who may not read a temporary folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let mut outside = String::new();
    let inside = match job.duty {
        // Measured (README.md): tcp_nopush saves an eighth at 1 and 10 KB, and costs three times as much at 100 KB.
        Duty::Files => format!(
            "root {}; location = /100k.txt {{ tcp_nopush off; }} location = /{BIG_FILE} {{ tcp_nopush off; }}",
            job.site()?
        ),
        Duty::Proxy | Duty::ManyApps | Duty::WebSocket | Duty::Cache => {
            let _ = writeln!(
                outside,
                "upstream app {{ server {}; keepalive 64; keepalive_requests 1000000000; keepalive_timeout 600s; }}",
                job.app
            );
            let connection = if job.duty == Duty::WebSocket {
                "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h;"
            } else {
                "proxy_set_header Connection \"\";"
            };
            let cache = if job.duty == Duty::Cache {
                outside.push_str("proxy_cache_path cache levels=1:2 keys_zone=cache:64m max_size=1g inactive=1h;\n");
                "proxy_cache cache; proxy_cache_lock on; proxy_cache_use_stale updating;"
            } else {
                ""
            };
            let known = if job.duty == Duty::ManyApps {
                outside.push_str(&many_hosts(job, |_| "1".to_owned())?);
                "if ($site = \"\") { return 404; }"
            } else {
                ""
            };
            format!(
                "location / {{ {known} proxy_pass http://app; proxy_http_version 1.1; {connection} \
                 proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; \
                 proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; {cache} }}"
            )
        }
        Duty::ManySites => {
            outside.push_str(&many_hosts(job, |number| site_of(number % crate::fixture::SITES))?);
            format!("root {}/$site;", job.many()?)
        }
        Duty::OneSite => {
            job.write(FLIP_MAP, &flip_map(FLIP[0]))?;
            let _ = writeln!(outside, "map $host $site {{ include {}/{FLIP_MAP}; }}", text(&job.folder)?);
            format!("root {}/$site;", job.many()?)
        }
    };
    Ok(format!(
        "worker_processes 1; daemon off; pid nginx.pid; error_log stderr error; worker_rlimit_nofile 16000; {user}\n\
         events {{ worker_connections 14000; multi_accept on; }}\n\
         http {{\n\
         include /etc/nginx/mime.types; default_type application/octet-stream; charset utf-8;\n\
         access_log off; server_tokens off; etag on;\n\
         sendfile on; tcp_nopush on; tcp_nodelay on; gzip_static on;\n\
         keepalive_timeout 600s; keepalive_requests 1000000000;\n\
         open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;\n\
         client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi;\n\
         uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         ssl_session_cache shared:tls:32m; ssl_session_tickets on; ssl_session_timeout 1h;\n\
         ssl_ecdh_curve X25519:prime256v1:secp384r1;\n\
         {outside}\
         server {{ listen {http} backlog=4096; listen {https} ssl http2 backlog=4096; server_name _; {inside} }}\n\
         }}\n"
    ))
}

/// The table of hosts as a map, which nginx looks up by hash: cheaper than 100,000 server blocks.
fn many_hosts(job: &Job<'_>, site: impl Fn(usize) -> String) -> anyhow::Result<String> {
    let mut map = String::new();
    for number in 0..HOSTS {
        let _ = writeln!(map, "{} {};", host(number), site(number));
    }
    let map = job.write("hosts.map", &map)?;
    let flip = job.write(FLIP_MAP, &flip_map(FLIP[0]))?;
    Ok(format!(
        "map_hash_max_size 524288; map_hash_bucket_size 128;\n\
         map $host $site {{ default \"\"; include {map}; include {flip}; }}\n"
    ))
}
