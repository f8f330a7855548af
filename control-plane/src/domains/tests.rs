#![allow(clippy::unwrap_used)]
use std::net::IpAddr;

use acme::manager::LEASE;
use common::domain::Proof;
use common::id::ProjectId;
use common::secret::{KeyRing, MasterKey};
use peers::{Net, World};

use super::*;
use crate::certificates::Certificates;
use crate::policies::Policies;

/// Two accounts with a project each, and the DNS of `acme.example`.
struct Accounts {
    domains: Domains,
    ours: ProjectRow,
    theirs: ProjectRow,
    _world: World,
    zone: IpAddr,
    answers: Arc<dns::answer::Answers>,
    serial: u32,
    _folder: tempfile::TempDir,
}

impl Accounts {
    async fn start() -> Self {
        let mut net = Net::new().unwrap();
        let zone = net.address();
        let mut world = World::plain(net, &format!("acme IN NS ns.acme\nns.acme IN A {zone}\n")).await.unwrap();
        let answers = world.net.own(zone, "acme.example.", &text(1, zone, ""), None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        let keys: KeyRing = MasterKey::load_or_create(&folder.path().join("key")).unwrap().into();
        let certificates = Certificates::new(store.clone(), keys.clone(), None);
        let (base, changed) = ("apps.example", Arc::new(Notify::new()));
        let policies = Policies::new(false);
        let hub =
            Hub::load("here".into(), store.clone(), base.into(), policies, certificates, Vec::new(), changed.clone());
        let hub = hub.await.unwrap();
        let issuing =
            Issuing::new(store.clone(), keys, Vec::new(), LEASE, Vec::new(), hub.clone(), changed).await.unwrap();
        let lookup = Lookup::new(lookup::Settings {
            roots: vec![world.root().parse().unwrap()],
            servers: world.net.servers().iter().map(|server| server.parse().unwrap()).collect(),
            ..lookup::Settings::default()
        });
        let ports = doctor::Ports { http: 80, https: 443 };
        let doctor = Doctor::new(lookup.clone(), doctor::Settings::default(), ports, Vec::new()).unwrap();
        let examiners = Examiners { lookup, doctor };
        let config = DomainsConfig::default();
        let sites = Url::parse("http://apps.example/").unwrap();
        let domains = Domains::new(store.clone(), hub, issuing, examiners, config, base, &sites);
        let ours = project(&store, "ours", "us").await;
        let theirs = project(&store, "theirs", "them").await;
        Self { domains, ours, theirs, _world: world, zone, answers, serial: 1, _folder: folder }
    }

    /// Puts these lines in place of what `acme.example.` had.
    fn set(&mut self, lines: &str) {
        self.serial += 1;
        let zone = peers::zone("acme.example.", &text(self.serial, self.zone, lines), None).unwrap();
        self.answers.publish(Arc::new(zone));
    }

    async fn attach(&self, project: &ProjectRow, name: &str) -> DomainRow {
        let name = name.parse().unwrap();
        let new = NewDomain { name, pair: false, redirect: None, https_redirect: None, hsts: None };
        self.domains.attach(project, new).await.unwrap().remove(0)
    }

    /// The state after a look, with its cause.
    async fn check(&self, row: &DomainRow) -> (String, String) {
        let row = self.domains.row(&row.account, &row.name).await.unwrap();
        let row = self.domains.check(row).await.unwrap();
        let cause = row.hostname.cause().map(|cause| cause.code.clone()).unwrap_or_default();
        (row.hostname.as_str().to_owned(), cause)
    }

    /// The line of the text that shows that a domain is its account's.
    fn proof(&self, row: &DomainRow) -> String {
        let text = self.domains.0.records.text(&row.name, &row.account);
        format!("{}. IN TXT \"{text}\"\n", records::proof_name(&row.name))
    }
}

fn text(serial: u32, address: IpAddr, lines: &str) -> String {
    let head = format!("$TTL 60\n@ IN SOA ns hostmaster {serial} 3600 600 1209600 60\n@ IN NS ns\nns IN A {address}\n");
    format!("$ORIGIN acme.example.\n{head}{lines}")
}

async fn project(store: &Store, name: &str, account: &str) -> ProjectRow {
    let row = ProjectRow {
        id: ProjectId::new(),
        name: name.parse().unwrap(),
        account: account.to_owned(),
        settings: common::project::Settings::default(),
        live_deployment: None,
        created_at: Timestamp::now(),
    };
    assert!(store.insert_project(&row).await.unwrap());
    row
}

fn is(state: &str, cause: &str) -> (String, String) {
    (state.to_owned(), cause.to_owned())
}

#[tokio::test]
async fn another_accounts_name_is_taken_by_the_text_alone_and_its_owner_is_told() {
    let mut accounts = Accounts::start().await;
    let theirs = accounts.attach(&accounts.theirs, "www.acme.example").await;
    let theirs_leads = "www IN CNAME theirs.apps.example.\n";
    accounts.set(theirs_leads);
    assert_eq!(accounts.check(&theirs).await, is("active", ""));
    let ours = accounts.attach(&accounts.ours, "www.acme.example").await;
    let our_leads = "www IN CNAME ours.apps.example.\n";
    accounts.set(our_leads);
    assert_eq!(accounts.check(&ours).await, is("conflict", "held_by_another_account"));
    let (our_proof, their_proof) = (accounts.proof(&ours), accounts.proof(&theirs));
    accounts.set(&format!("{our_leads}{our_proof}{their_proof}"));
    assert_eq!(accounts.check(&ours).await, is("conflict", "shown_by_two"));
    accounts.set(&format!("{our_leads}{our_proof}"));
    assert_eq!(accounts.check(&ours).await, is("active", ""));
    let lost = accounts.domains.row("them", &theirs.name).await.unwrap();
    assert_eq!(lost.hostname.cause().unwrap().code, "taken");
    assert!(lost.hostname.cause().unwrap().message.contains(their_proof.split('"').nth(1).unwrap()));
    // And back the same way.
    accounts.set(&format!("{theirs_leads}{their_proof}"));
    assert_eq!(accounts.check(&theirs).await, is("active", ""));
    let back = accounts.domains.row("us", &ours.name).await.unwrap();
    assert_eq!(back.hostname.as_str(), "conflict");
}

#[tokio::test]
async fn a_name_below_another_accounts_needs_the_text_and_leaves_that_one_alone() {
    let mut accounts = Accounts::start().await;
    let wildcard = accounts.attach(&accounts.theirs, "*.acme.example").await;
    let leads = "* IN CNAME theirs.apps.example.\nwww IN CNAME ours.apps.example.\n";
    accounts.set(leads);
    assert_eq!(accounts.check(&wildcard).await, is("active", ""));
    let ours = accounts.attach(&accounts.ours, "www.acme.example").await;
    assert_eq!(accounts.check(&ours).await, is("conflict", "held_by_another_account"));
    let shown = accounts.domains.show(accounts.domains.row("us", &ours.name).await.unwrap()).await.unwrap();
    assert!(shown.records.prove_required);
    let proof = accounts.proof(&ours);
    accounts.set(&format!("{leads}{proof}"));
    assert_eq!(accounts.check(&ours).await, is("active", ""));
    let row = accounts.domains.row("us", &ours.name).await.unwrap();
    assert!(matches!(row.hostname, Hostname::Active { proof: Proof::Txt, .. }));
    assert_eq!(accounts.check(&wildcard).await, is("active", ""));
}

#[tokio::test]
async fn a_cname_to_another_accounts_project_shows_nothing_and_one_to_another_of_ours_does() {
    let mut accounts = Accounts::start().await;
    project(&accounts.domains.0.store, "second", "us").await;
    let ours = accounts.attach(&accounts.ours, "www.acme.example").await;
    accounts.set("www IN CNAME theirs.apps.example.\n");
    assert_eq!(accounts.check(&ours).await, is("misconfigured", "another_accounts_project"));
    // As after a transfer, when the record is as it was.
    accounts.set("www IN CNAME second.apps.example.\n");
    assert_eq!(accounts.check(&ours).await, is("active", ""));
}
