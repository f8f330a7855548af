#![allow(clippy::unwrap_used)]
use std::time::Duration;

use common::deployment::Failure;
use common::domain::{Event, Expected, Proof, Verdict};

use super::*;
use crate::store::projects::ProjectRow;

const NOTICE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).after(Duration::from_secs(seconds))
}

struct World {
    store: Store,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        Self { store, _folder: folder }
    }

    async fn project(&self, name: &str, account: &str) -> ProjectRow {
        let row = ProjectRow {
            id: ProjectId::new(),
            name: name.parse().unwrap(),
            account: account.to_owned(),
            settings: common::project::Settings::default(),
            live_deployment: None,
            created_at: at(0),
        };
        assert!(self.store.insert_project(&row).await.unwrap());
        self.store.project(name).await.unwrap().unwrap()
    }

    fn row(&self, project: &ProjectRow, name: &str) -> DomainRow {
        DomainRow {
            name: name.parse().unwrap(),
            account: project.account.clone(),
            project: project.id.clone(),
            project_name: project.name.clone(),
            settings: DomainSettings::default(),
            hostname: Hostname::attached(Expected::default(), at(0)),
            version: 0,
            created_at: at(0),
        }
    }

    async fn attach(&self, project: &ProjectRow, name: &str) -> DomainRow {
        let row = self.row(project, name);
        assert_eq!(self.store.insert_domains(std::slice::from_ref(&row), 100).await.unwrap(), Attached::Done);
        row
    }

    async fn again(&self, row: &DomainRow) -> DomainRow {
        self.store.domain(&row.account, &row.name).await.unwrap().unwrap()
    }

    /// Makes a domain active.
    async fn serve(&self, row: &DomainRow) -> DomainRow {
        assert!(self.store.save_domain(row, &active(row), None).await.unwrap());
        self.again(row).await
    }

    async fn holders(&self, account: &str, name: &str) -> Vec<String> {
        let holders = self.store.domain_holders(account, &name.parse().unwrap()).await.unwrap();
        holders.into_iter().map(|row| row.name.to_string()).collect()
    }
}

fn active(row: &DomainRow) -> Hostname {
    row.hostname.clone().on(Event::Looked(Verdict::Ours(Proof::Txt)), at(1), NOTICE).unwrap()
}

#[tokio::test]
async fn a_pair_is_attached_whole_or_not_at_all_and_within_the_plan() {
    let world = World::start().await;
    let shop = world.project("shop", "a").await;
    let pair = [world.row(&shop, "example.com"), world.row(&shop, "www.example.com")];
    assert_eq!(world.store.insert_domains(&pair, 1).await.unwrap(), Attached::TooMany);
    assert!(world.store.domains(&shop.id, "", 9).await.unwrap().is_empty(), "none is there");
    assert_eq!(world.store.insert_domains(&pair, 2).await.unwrap(), Attached::Done);
    let again = [world.row(&shop, "a.example.com"), world.row(&shop, "www.example.com")];
    let taken = world.store.insert_domains(&again, 9).await.unwrap();
    assert_eq!(taken, Attached::Taken("www.example.com".parse().unwrap()));
    let names: Vec<_> = world.store.domains(&shop.id, "", 9).await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names.iter().map(DomainName::as_str).collect::<Vec<_>>(), ["example.com", "www.example.com"]);
    let other = world.project("other", "b").await;
    assert_eq!(world.store.insert_domains(&[world.row(&other, "example.com")], 9).await.unwrap(), Attached::Done);
}

#[tokio::test]
async fn a_name_is_held_by_whoever_serves_it_or_one_around_it() {
    let world = World::start().await;
    let (theirs, ours) = (world.project("theirs", "a").await, world.project("ours", "b").await);
    let mut row = world.attach(&theirs, "shop.example.com").await;
    world.attach(&ours, "shop.example.com").await;
    assert!(world.holders("b", "shop.example.com").await.is_empty(), "nothing is proven yet");
    row = world.serve(&row).await;
    for (name, is_held) in [
        ("shop.example.com", true),
        ("a.shop.example.com", true),
        ("a.b.shop.example.com", true),
        ("*.shop.example.com", true),
        ("*.example.com", true),
        ("example.com", false),
        ("blog.example.com", false),
        ("*.blog.example.com", false),
    ] {
        assert_eq!(!world.holders("b", name).await.is_empty(), is_held, "{name}");
        assert!(world.holders("a", name).await.is_empty(), "an account is not in its own way");
    }
    world.store.delete_domain(&row).await.unwrap();
    assert!(world.holders("b", "shop.example.com").await.is_empty());
    let wildcard = world.attach(&theirs, "*.example.org").await;
    world.serve(&wildcard).await;
    for (name, is_held) in
        [("a.example.org", true), ("*.example.org", true), ("example.org", false), ("a.b.example.org", false)]
    {
        assert_eq!(!world.holders("b", name).await.is_empty(), is_held, "{name}");
    }
}

#[tokio::test]
async fn a_name_is_served_for_one_account_and_goes_to_another_in_one_moment() {
    let world = World::start().await;
    let (theirs, ours) = (world.project("theirs", "a").await, world.project("ours", "b").await);
    let first = world.attach(&theirs, "example.com").await;
    let first = world.serve(&first).await;
    let second = world.attach(&ours, "example.com").await;
    assert!(!world.store.save_domain(&second, &active(&second), None).await.unwrap(), "only one is served");
    assert_eq!(world.again(&second).await.hostname.as_str(), "pending_dns");
    let lost = first.hostname.clone().on(Event::Taken(Failure::new("taken", "x")), at(2), NOTICE).unwrap();
    assert!(world.store.save_domain(&second, &active(&second), Some((&first, &lost))).await.unwrap());
    assert_eq!(world.again(&first).await.hostname.as_str(), "conflict");
    let served = world.store.served_domain(&first.name).await.unwrap().unwrap();
    assert_eq!(served.account, "b");
    assert_eq!(world.store.served_domains(Some(&ours.id)).await.unwrap().len(), 1);
    assert_eq!(world.store.served_domains(Some(&theirs.id)).await.unwrap().len(), 0);
    assert_eq!(world.store.served_domains(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn one_control_plane_looks_at_a_domain_and_what_changed_meanwhile_is_not_overwritten() {
    let world = World::start().await;
    let shop = world.project("shop", "a").await;
    let row = world.attach(&shop, "example.com").await;
    assert_eq!(world_due(&world.store, at(0)).await, ["example.com"]);
    assert!(world.store.lease_domain(&row, "one", at(0)).await.unwrap());
    assert!(!world.store.lease_domain(&row, "two", at(1)).await.unwrap());
    assert!(world_due(&world.store, at(1)).await.is_empty(), "what is looked at is not due");
    assert_eq!(world.store.next_domain_check(at(1)).await.unwrap(), None);
    let after = at(0).after(LEASE);
    assert_eq!(world_due(&world.store, after).await, ["example.com"], "a process that died lets it go");
    assert!(world.store.lease_domain(&row, "two", after).await.unwrap());
    world.store.release_domain(&row, "one").await.unwrap();
    assert!(!world.store.lease_domain(&row, "three", after).await.unwrap(), "nobody releases another's");
    // A person suspends it; what is being looked at then counts no more.
    let stopped = row.hostname.clone().on(Event::Suspended(Failure::new("x", "x")), at(3), NOTICE).unwrap();
    assert!(world.store.save_domain(&row, &stopped, None).await.unwrap());
    assert!(!world.store.save_domain(&row, &active(&row), None).await.unwrap());
    assert_eq!(world.again(&row).await.hostname, stopped);
    assert_eq!(world.store.next_domain_check(at(9)).await.unwrap(), None, "it is never due");
}

async fn world_due(store: &Store, now: Timestamp) -> Vec<String> {
    store.due_domains(now, 9).await.unwrap().into_iter().map(|row| row.name.to_string()).collect()
}

#[tokio::test]
async fn a_transfer_moves_all_or_none_and_a_deleted_project_takes_its_domains_along() {
    let world = World::start().await;
    let (from, to) = (world.project("from", "a").await, world.project("to", "a").await);
    let rows = [world.attach(&from, "example.com").await, world.attach(&from, "www.example.com").await];
    assert!(!world.store.transfer_domains(&rows, &to.id, 1).await.unwrap());
    assert_eq!(world.store.domains(&from.id, "", 9).await.unwrap().len(), 2);
    assert!(world.store.transfer_domains(&rows, &to.id, 2).await.unwrap());
    assert_eq!(world.again(&rows[0]).await.project_name.as_str(), "to");
    assert!(!world.store.transfer_domains(&rows, &to.id, 9).await.unwrap(), "they are no longer where they were");
    world.store.delete_project(&to.id, Timestamp::now()).await.unwrap();
    assert!(world.store.domain("a", &rows[0].name).await.unwrap().is_none());
}
