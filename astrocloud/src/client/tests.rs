//! The client against a real control plane.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::api::{Deployment, LogKind, NewDeployment, SetEnv};
use common::bus::file::FileBus;
use common::bus::{Bus, Line, StreamName, Topic};
use common::project::Settings;
use common::queue::memory::MemoryQueue;
use common::registry::layout::OciLayout;
use common::secret::{MasterKey, Secret};
use common::source::Source;
use common::time::Timestamp;
use control_plane::{Config, ControlPlane, Ports};
use indicatif::ProgressBar;
use tempfile::TempDir;
use url::Url;

use super::{Client, ClientError, Follower, News};
use crate::config::Login;
use crate::settings;

const TOKEN: &str = "ast_test";
/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(20);

async fn plane(folder: &TempDir, addr: SocketAddr, bus: &Bus) -> ControlPlane {
    let at = |name: &str| folder.path().join(name);
    let listening = control_plane::listen(addr).await.unwrap();
    let config = Config {
        name: "first".to_owned(),
        database_url: format!("sqlite://{}?mode=rwc", at("db").display()),
        api: listening.addr,
        base_domain: "localhost".to_owned(),
        sites_url: Url::parse("http://localhost:8080/").unwrap(),
        keys: MasterKey::load_or_create(&at("key")).unwrap().into(),
        api_token: Secret::new(TOKEN),
        feed_token: Secret::new("feed"),
        deployer_token: None,
        deployer_hold: common::ledger::HOLD,
        public_url: None,
        isolation: "none".to_owned(),
        max_upload_bytes: 1 << 20,
        max_pending_uploads: 100,
        garbage: control_plane::GarbageConfig::default(),
        dns: settings::Settings::default().dns(Vec::new()).unwrap(),
        lookup: lookup::Settings::default(),
        doctor: doctor::Settings::default(),
        https_port: 443,
        authority: None,
        authorities: Vec::new(),
        issuing_lease: acme::manager::LEASE,
        domains: control_plane::DomainsConfig::default(),
        https_redirect: false,
        keep_images: 10,
    };
    let store = common::blob::open(&Url::from_directory_path(at("objects")).unwrap()).unwrap();
    let registry = Arc::new(OciLayout::new(at("images")).unwrap());
    let ports = Ports { store, uploads: None, bus: bus.clone(), queue: Arc::new(MemoryQueue::new()), registry };
    ControlPlane::start(listening, config, ports).await.unwrap()
}

async fn start(folder: &TempDir) -> (ControlPlane, Bus, Client) {
    let bus: Bus = Arc::new(FileBus::new(folder.path().join("logs")).unwrap());
    let plane = plane(folder, "127.0.0.1:0".parse().unwrap(), &bus).await;
    let client = client(plane.api_url(), TOKEN);
    (plane, bus, client)
}

fn client(api: &Url, token: &str) -> Client {
    Client::new(Login { api: api.clone(), token: Secret::new(token) }).unwrap()
}

/// Asks for a deployment as `astrocloud deploy` does; nobody builds it.
async fn ask(client: &Client) -> Deployment {
    let shop = "shop".parse().unwrap();
    client.ensure_project(&shop).await.unwrap();
    let upload = client.upload().await.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"PK archive").unwrap();
    file.rewind().unwrap();
    client.put(&upload, file, 10, ProgressBar::hidden()).await.unwrap();
    let source = Source::Upload { upload: upload.id, label: None };
    client.deploy(&shop, &NewDeployment { source, settings: Settings::default() }).await.unwrap()
}

async fn say(bus: &Bus, topic: &Topic, text: &str) {
    let line = Line { time: Timestamp::now(), stream: StreamName::Stdout, text: text.to_owned() };
    bus.append(topic, vec![line]).await.unwrap();
}

#[tokio::test]
async fn a_log_is_followed_over_a_restart_each_line_once() {
    let folder = tempfile::tempdir().unwrap();
    let (first, bus, client) = start(&folder).await;
    let addr = first.api_url().socket_addrs(|| None).unwrap()[0];
    let deployment = ask(&client).await;
    let topic = Topic::build(deployment.id.clone());
    say(&bus, &topic, "one").await;

    let mut follower = Follower::new(client, deployment.id.clone(), LogKind::Build, 0);
    let mut seen = Vec::new();
    let mut second = None;
    let mut first = Some(first);
    let followed = async {
        while let Some(news) = follower.next().await.unwrap() {
            match news {
                News::Deployment(now) => assert_eq!(now.id, deployment.id),
                News::Records(records) => seen.extend(records.into_iter().map(|record| (record.seq, record.text))),
            }
            if seen.len() == 1
                && let Some(running) = first.take()
            {
                running.drain(Duration::from_secs(1)).await;
                say(&bus, &topic, "two").await;
                second = Some(plane(&folder, addr, &bus).await);
                say(&bus, &topic, "three").await;
                bus.finish(&topic).await.unwrap();
            }
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.unwrap();
    let expected = [(1, "one"), (2, "two"), (3, "three")].map(|(seq, text)| (seq, text.to_owned()));
    assert_eq!(seen, expected);
    assert!(second.is_some());
}

#[tokio::test]
async fn a_refusal_says_what_the_platform_says() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, _bus, good) = start(&folder).await;
    let refused = client(plane.api_url(), "wrong").system().await.unwrap_err();
    assert_eq!(refused.word(), Some("unauthorized"));
    assert!(refused.to_string().contains("astrocloud login"), "{refused}");
    let missing = good.project(&"nothing".parse().unwrap()).await.unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("`nothing`"), "{missing}");
    let unknown = Follower::new(good, common::id::DeploymentId::new(), LogKind::Build, 0).next().await.unwrap_err();
    assert!(unknown.is_not_found(), "{unknown}");
}

#[tokio::test]
async fn where_no_platform_is_the_way_to_start_one_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, _bus, client) = start(&folder).await;
    plane.drain(Duration::from_secs(1)).await;
    let error = client.system().await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("astrocloud up"), "{error}");
}

#[tokio::test]
async fn lists_go_on_over_pages_and_stop_where_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (_plane, _bus, client) = start(&folder).await;
    let shop = "shop".parse().unwrap();
    ask(&client).await;
    ask(&client).await;
    let newest = ask(&client).await;
    let listed = client.deployments(&shop, 2).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0].id, newest.id);

    let variables: BTreeMap<String, Secret> = (0..3).map(|i| (format!("V{i}"), Secret::new("x"))).collect();
    client.set_env(&shop, &SetEnv { variables }).await.unwrap();
    client.unset_env(&shop, "V1").await.unwrap();
    let names: Vec<String> = client.env(&shop).await.unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["V0", "V2"]);
    for i in 0..common::api::MAX_PAGE + 5 {
        client.ensure_project(&format!("p{i:03}").parse().unwrap()).await.unwrap();
    }
    let projects = client.projects().await.unwrap();
    assert_eq!(projects.len(), common::api::MAX_PAGE as usize + 6);
    client.remove_project(&shop).await.unwrap();
    assert!(client.project(&shop).await.unwrap_err().is_not_found());
}
