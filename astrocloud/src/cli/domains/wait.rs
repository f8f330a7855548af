//! Follows domains until visitors get them over HTTPS.

use std::time::{Duration, Instant};

use common::domain::api::Domain;
use common::domain::{DomainName, Hostname};

use super::show;
use crate::client::Client;
use crate::exit;
use crate::output::{self, Format};

/// Time between two looks: the platform looks at the DNS every few seconds, and certificates take as long.
const EVERY: Duration = Duration::from_secs(1);
/// How often a person's look is asked for, so that the platform keeps looking often while somebody waits.
const ASK_EVERY: Duration = Duration::from_secs(5 * 60);

/// Waits for all; ends early when a domain can't come to work by itself.
pub async fn until_they_work(client: &Client, names: &[DomainName], format: Format) -> anyhow::Result<u8> {
    let begun = Instant::now();
    tokio::select! {
        code = follow(client, names, format, begun) => code,
        _ = tokio::signal::ctrl_c() => {
            output::say("\nThe platform goes on looking. `astrocloud domains show NAME` tells how it stands.");
            Ok(exit::INTERRUPTED)
        }
    }
}

async fn follow(client: &Client, names: &[DomainName], format: Format, begun: Instant) -> anyhow::Result<u8> {
    let mut asked = begun;
    let mut last = vec![String::new(); names.len()];
    loop {
        let asks = asked.elapsed() >= ASK_EVERY;
        if asks {
            asked = Instant::now();
        }
        let mut domains = Vec::with_capacity(names.len());
        for (name, last) in names.iter().zip(&mut last) {
            let domain = if asks { client.check_domain(name).await? } else { client.domain(name).await? };
            let news = state(&domain);
            if *last != news {
                output::say(&news);
                *last = news;
            }
            domains.push(domain);
        }
        let is_over =
            domains.iter().any(|d| matches!(d.hostname, Hostname::Suspended { .. } | Hostname::Removed { .. }));
        if is_over || domains.iter().all(Domain::works) {
            if format.json {
                output::json(&domains)?;
            } else if !is_over {
                for url in domains.iter().filter_map(|domain| domain.url.as_ref()) {
                    output::line(url.as_str())?;
                }
            }
            if !is_over {
                output::say(&format!("It works over HTTPS after {}", output::duration(begun.elapsed())));
            }
            return Ok(if is_over { exit::FAILED } else { exit::DONE });
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Where a domain is, in a line.
fn state(domain: &Domain) -> String {
    let cause = domain.hostname.cause().or_else(|| domain.certificate.waits().map(|(cause, _)| cause));
    let cause = cause.map_or_else(String::new, |cause| format!(": {}", cause.message));
    let (hostname, certificate) = (domain.hostname.as_str(), domain.certificate.as_str());
    format!("{}: {hostname}, certificate {certificate}{cause}", show::both(domain))
}
