//! The ready file: where everything is, for scripts that started the platform.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use common::secret::Secret;
use serde::Serialize;
use url::Url;

use super::platform::Platform;
use crate::process::put_json;

/// What scripts read. URLs end without a slash, so that paths can be appended.
#[derive(Serialize)]
struct Ready<'a> {
    http_url: String,
    https_url: String,
    api_url: String,
    dashboard_url: &'a Url,
    api_token: &'a Secret,
    /// File of the development CA, for clients that are to trust the sites' certificates; null when its key is lost.
    ca_certificate: Option<&'a Path>,
    /// Where the DNS server answers, over UDP and TCP.
    dns: &'a [SocketAddr],
}

/// Deletes what an earlier platform wrote: this one is not ready yet.
///
/// # Errors
/// When it is there and can't be deleted.
pub fn forget(file: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(file) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("the ready file {} can't be replaced", file.display()))
        }
        _ => Ok(()),
    }
}

/// Writes the file; it appears whole. It holds the token, so it is for its owner only.
///
/// # Errors
/// When it can't be written.
pub fn write(file: &Path, platform: &Platform, dashboard: &Url, api_token: &Secret) -> anyhow::Result<()> {
    let ready = Ready {
        http_url: bare(platform.http_url()),
        https_url: bare(platform.https_url()),
        api_url: bare(platform.api_url()),
        dashboard_url: dashboard,
        api_token,
        ca_certificate: platform.ca_certificate(),
        dns: platform.dns(),
    };
    put_json(file, &ready).with_context(|| format!("the ready file {} can't be written", file.display()))
}

fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_has_what_the_contract_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run/ready.json");
        let url = |text: &str| Url::parse(text).unwrap();
        forget(&file).unwrap();
        let dashboard = url("http://127.0.0.1:2/login?token=x");
        let token = Secret::new("ast_x");
        let ready = Ready {
            http_url: bare(&url("http://127.0.0.1:1/")),
            https_url: bare(&url("https://127.0.0.1:3/")),
            api_url: bare(&url("http://127.0.0.1:2/")),
            dashboard_url: &dashboard,
            api_token: &token,
            ca_certificate: Some(Path::new("/data/ca/ca.pem")),
            dns: &["127.0.0.1:4".parse().unwrap()],
        };
        put_json(&file, &ready).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let expected = serde_json::json!({
            "http_url": "http://127.0.0.1:1", "https_url": "https://127.0.0.1:3", "api_url": "http://127.0.0.1:2",
            "dashboard_url": "http://127.0.0.1:2/login?token=x", "api_token": "ast_x",
            "ca_certificate": "/data/ca/ca.pem", "dns": ["127.0.0.1:4"],
        });
        assert_eq!(read, expected);
        forget(&file).unwrap();
        assert!(!file.exists());
    }
}
