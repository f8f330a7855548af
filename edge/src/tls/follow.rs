//! What happens with certificates and ticket keys when the table changes.

use std::sync::Arc;
use std::time::Duration;

use ::tls::{Certificates, TicketKeeper};
use arc_swap::ArcSwap;
use common::certificate::TicketKey;
use common::time::Timestamp;
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Follower;
use crate::routes::{self, Routes};

/// Time between two looks at whether the edge's own ticket keys are to be rolled.
const ROLL: Duration = Duration::from_secs(5 * 60);
/// Shortest time between two removals of certificates that no name uses: each looks at every name and every file.
const SWEEP: Duration = Duration::from_secs(60);
/// Renewed certificates that are fetched at once, so that visitors' own fetches find room.
const RENEWALS: usize = 8;

pub(super) async fn follow(follower: Follower, stop: CancellationToken) {
    let Follower { keeper, certificates, routes, seen } = follower;
    // Apart, so that new keys never wait for certificates.
    tokio::select! {
        () = stop.cancelled() => {}
        () = keep_keys(keeper, &routes) => {}
        () = renew(&certificates, &routes, &seen) => {}
    }
}

async fn keep_keys(keeper: TicketKeeper, routes: &Routes) {
    let mut keeper = Some(keeper);
    let mut changes = routes.changes();
    let mut rolls = tokio::time::interval(ROLL);
    rolls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Arc<[TicketKey]> = Arc::default();
    loop {
        let told = Arc::clone(routes.now().ticket_keys());
        let is_new = !Arc::ptr_eq(&told, &seen);
        seen = Arc::clone(&told);
        let Some(mut own) = keeper.take() else { return };
        // It writes to disk.
        let done = tokio::task::spawn_blocking(move || {
            if is_new && let Err(error) = own.told(&told) {
                tracing::error!(%error, "keys of session tickets can't be used, the last ones stay in use");
            }
            own.roll(Timestamp::now());
            own
        });
        keeper = done.await.ok();
        tokio::select! {
            () = keys_changed(&mut changes, routes, &seen) => {}
            _ = rolls.tick() => {}
        }
    }
}

async fn keys_changed(changes: &mut watch::Receiver<()>, routes: &Routes, seen: &Arc<[TicketKey]>) {
    // The sender lives in `routes`, so this can't fail.
    while changes.changed().await.is_ok() {
        if !Arc::ptr_eq(routes.now().ticket_keys(), seen) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

async fn renew(certificates: &Certificates, routes: &Routes, seen: &ArcSwap<routes::Certificates>) {
    let mut changes = routes.changes();
    // What was removed while the edge did not run.
    let mut sweep_at = Some(Instant::now());
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return;
            },
            () = until(sweep_at) => {
                let table = Arc::clone(&routes.now());
                // Before anything was told, every certificate looks unused.
                sweep_at = if table.is_known() { None } else { Some(Instant::now() + SWEEP) };
                if table.is_known() {
                    certificates.sweep(table.certificates().iter().map(|(_, id)| Arc::clone(id)).collect()).await;
                }
                continue;
            }
        }
        let now = routes.now().certificates().clone();
        let (mut renewed, is_any_gone) = now.replaced_since(&seen.load());
        renewed.sort_unstable();
        renewed.dedup();
        futures::stream::iter(&renewed).for_each_concurrent(RENEWALS, |(old, new)| certificates.renew(old, new)).await;
        if !renewed.is_empty() || is_any_gone {
            sweep_at = sweep_at.or_else(|| Some(Instant::now() + SWEEP));
        }
        // Only now, so that visitors who are quicker know what was before.
        seen.store(Arc::new(now));
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::routes::Table;
    use ::tls::{LoadError, Source, SourceError, Tickets};
    use async_trait::async_trait;
    use common::certificate::{Certificate, CertificateRef};
    use common::route::{Change, Snapshot};
    use common::secret::{MasterKey, Secret};

    /// Issues whatever is asked for, all to one name.
    #[derive(Debug)]
    struct Issuer;

    #[async_trait]
    impl Source for Issuer {
        async fn fetch(&self, id: &str) -> Result<Certificate, SourceError> {
            let issued = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
            Ok(Certificate {
                id: id.to_owned(),
                chain_pem: issued.cert.pem(),
                key_pem: Secret::new(issued.signing_key.serialize_pem()),
                not_after: Timestamp::now().after(Duration::from_secs(60)),
                ocsp: None,
            })
        }
    }

    fn named(id: &str) -> Vec<CertificateRef> {
        vec![CertificateRef { name: "a.example".to_owned(), id: id.to_owned() }]
    }

    fn follower(folder: &Path, routes: &Arc<Routes>) -> Follower {
        let master = MasterKey::load_or_create(&folder.join("key")).unwrap();
        let keeper = TicketKeeper::open(folder.to_owned(), master.clone()).unwrap();
        let settings = ::tls::Settings::new(keeper.tickets());
        let certificates = Certificates::open(folder.join("c"), master, Arc::new(Issuer), settings, 1 << 20).unwrap();
        let seen = Arc::new(ArcSwap::from_pointee(routes.now().certificates().clone()));
        Follower { keeper, certificates: Arc::new(certificates), routes: Arc::clone(routes), seen }
    }

    fn files(folder: &Path) -> Vec<String> {
        let name = |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
        std::fs::read_dir(folder.join("c")).unwrap().map(name).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_is_fetched_ahead_and_the_old_one_removed_later() -> Result<(), Arc<LoadError>> {
        let folder = tempfile::tempdir().unwrap();
        let table = Table::from(Snapshot { version: 1, certificates: named("a1"), ..Snapshot::default() });
        let routes = Arc::new(Routes::new(table));
        let follower = follower(folder.path(), &routes);
        let (certificates, seen) = (Arc::clone(&follower.certificates), Arc::clone(&follower.seen));
        certificates.get(&"a1".into(), None, "a.example").await?;
        let stop = CancellationToken::new();
        follower.spawn(stop.clone());
        tokio::time::sleep(SWEEP).await;
        assert_eq!(files(folder.path()), ["a1.certificate"]);

        let change = Change { certificates: named("a2"), ..Change::default() };
        let next = routes.now().next(2, change).unwrap();
        routes.replace(next);
        while seen.load().get("a.example").map(|id| &**id) != Some("a2") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut both = files(folder.path());
        both.sort_unstable();
        assert_eq!(both, ["a1.certificate", "a2.certificate"]);
        tokio::time::sleep(SWEEP * 2).await;
        assert_eq!(files(folder.path()), ["a2.certificate"]);

        let change = Change { certificates_removed: vec!["a.example".to_owned()], ..Change::default() };
        let next = routes.now().next(3, change).unwrap();
        routes.replace(next);
        tokio::time::sleep(SWEEP * 2).await;
        assert!(files(folder.path()).is_empty());
        stop.cancel();
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn keys_that_are_told_are_used_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let routes = Arc::new(Routes::new(Table::unknown()));
        let follower = follower(folder.path(), &routes);
        let tickets = follower.keeper.tickets();
        follower.spawn(CancellationToken::new());
        let key = Secret::new("A".repeat(86) + "==");
        let told = vec![TicketKey { name: "0".repeat(32), key, since: Timestamp::now() }];
        let ticket = ticket_of(&Tickets::new(&told).unwrap());
        assert!(!opens(&tickets, &ticket));
        routes.replace(Table::from(Snapshot { version: 1, ticket_keys: told, ..Snapshot::default() }));
        while !opens(&tickets, &ticket) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let master = MasterKey::load_or_create(&folder.path().join("key")).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(opens(&TicketKeeper::open(folder.path().to_owned(), master).unwrap().tickets(), &ticket));
    }

    fn ticket_of(tickets: &Tickets) -> Vec<u8> {
        tokio_rustls::rustls::server::ProducesTickets::encrypt(tickets, b"session").unwrap()
    }

    fn opens(tickets: &Tickets, ticket: &[u8]) -> bool {
        tokio_rustls::rustls::server::ProducesTickets::decrypt(tickets, ticket).is_some()
    }
}
