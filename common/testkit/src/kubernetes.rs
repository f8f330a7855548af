//! A Kubernetes control plane of the tests' own: API server, controllers and etcd are real. There is no node: a test plays
//! the kubelet.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::certificates::Authority;
use crate::keeper::{Keeper, Stop};
use crate::ports;

/// Token of somebody who may do everything.
const ADMIN_TOKEN: &str = "admin";
/// Pause between two looks at whether it is there, and how many there are.
const LOOK: (Duration, u32) = (Duration::from_millis(100), 1200);
/// Controllers that a test needs: no nodes are judged, so that a node is there as long as its kubelet says so, and there are
/// no Endpoints, which refuse loopback addresses.
const CONTROLLERS: &str = "*,-nodeipam,-nodelifecycle,-cloud-node-lifecycle,-route,-service,-attachdetach,-persistentvolume-binder,\
                           -persistentvolume-expander,-ttl,-cronjob,-horizontalpodautoscaling,-endpoint";

/// A running control plane.
pub struct Kubernetes {
    // In the order in which they are to end.
    _controllers: Keeper,
    api: Keeper,
    _etcd: Keeper,
    port: u16,
}

impl Kubernetes {
    /// A control plane with nothing in it. Its programs are built the first time, which takes minutes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        let programs = programs();
        // The API server's keeper removes it, with all that the others left in it.
        let folder = &tempfile::tempdir().unwrap().keep();
        let [port, etcd_port, peer_port, controllers_port] = ports::free();
        write_secrets(folder);
        let etcd = etcd(&programs, folder, etcd_port, peer_port);
        let api = Keeper::start(folder.clone(), &api_server(&programs, folder, port, etcd_port), Stop::Kill);
        std::fs::write(folder.join("kubeconfig"), kubeconfig(folder, port, ADMIN_TOKEN)).unwrap();
        answers(&api, port);
        // It gives up when there is no API server within seconds.
        let mut controllers = Command::new(programs.join("kube-controller-manager"));
        controllers.arg("--kubeconfig").arg(folder.join("kubeconfig"));
        controllers.arg("--service-account-private-key-file").arg(folder.join("accounts.key"));
        controllers.arg("--root-ca-file").arg(folder.join("ca.crt"));
        controllers.args(["--leader-elect=false", "--port=0", "--bind-address=127.0.0.1"]);
        controllers.arg(format!("--secure-port={controllers_port}"));
        controllers.arg(format!("--controllers={CONTROLLERS}"));
        // Tests count in milliseconds what clusters count in seconds.
        controllers.args(["--kube-api-qps=200", "--kube-api-burst=400"]);
        let controllers = Keeper::start(part(folder, "controllers"), &controllers, Stop::Kill);
        Self { _controllers: controllers, api, _etcd: etcd, port }
    }

    /// Kubeconfig of somebody who may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder().join("kubeconfig")
    }

    /// Writes the kubeconfig of who has this token.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> PathBuf {
        let path = self.folder().join(format!("kubeconfig-{name}"));
        std::fs::write(&path, kubeconfig(self.folder(), self.port, token)).unwrap();
        path
    }

    /// Kills the API server and starts it again.
    pub fn restart_api(&self) {
        self.api.kill();
        self.api.begin();
        answers(&self.api, self.port);
    }

    /// Halts the API server: connections stay, and nothing is answered.
    pub fn pause_api(&self) {
        self.api.pause();
    }

    /// Lets it go on.
    pub fn resume_api(&self) {
        self.api.resume();
    }

    /// Its folder, with its certificate in `tls.crt` and `tls.key`, which are good for all of 127.0.0.1.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.api.folder()
    }
}

/// Waits until the API server is ready.
fn answers(api: &Keeper, port: u16) {
    for _ in 0..LOOK.1 {
        let mut ask = Command::new("curl");
        ask.args(["-sf", "-m", "2", "--cacert"]).arg(api.folder().join("ca.crt"));
        ask.args(["-H", &format!("Authorization: Bearer {ADMIN_TOKEN}")]);
        ask.arg(format!("https://127.0.0.1:{port}/readyz"));
        if ask.output().is_ok_and(|output| output.status.success()) {
            return;
        }
        std::thread::sleep(LOOK.0);
    }
    panic!("the API server is not ready. It said: {}", api.log())
}

/// The folder of the programs, built when they are missing.
fn programs() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/kubernetes.sh");
    let output = Command::new("sh").arg(script).stderr(std::process::Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "deploy/local/kubernetes.sh failed");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A folder for one of the programs, which its keeper removes.
fn part(folder: &Path, name: &str) -> PathBuf {
    let part = folder.join(name);
    std::fs::create_dir(&part).unwrap();
    part
}

fn etcd(programs: &Path, folder: &Path, port: u16, peer_port: u16) -> Keeper {
    let data = part(folder, "etcd");
    let mut etcd = Command::new(programs.join("etcd"));
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    etcd.arg("--data-dir").arg(data.join("data")).args(["--name", "test", "--unsafe-no-fsync"]);
    etcd.args(["--listen-client-urls", &at(port), "--advertise-client-urls", &at(port)]);
    etcd.args(["--listen-peer-urls", &at(peer_port), "--initial-advertise-peer-urls", &at(peer_port)]);
    etcd.args(["--initial-cluster", &format!("test={}", at(peer_port))]);
    Keeper::start(data, &etcd, Stop::Kill)
}

fn api_server(programs: &Path, folder: &Path, port: u16, etcd_port: u16) -> Command {
    let mut api = Command::new(programs.join("kube-apiserver"));
    let file = |name: &str| folder.join(name).display().to_string();
    api.arg(format!("--etcd-servers=http://127.0.0.1:{etcd_port}"));
    api.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--insecure-port=0"]);
    api.arg(format!("--secure-port={port}"));
    api.arg(format!("--tls-cert-file={}", file("tls.crt")));
    api.arg(format!("--tls-private-key-file={}", file("tls.key")));
    api.arg(format!("--client-ca-file={}", file("ca.crt")));
    api.arg(format!("--token-auth-file={}", file("tokens.csv")));
    api.arg("--authorization-mode=RBAC");
    api.arg(format!("--service-account-key-file={}", file("accounts.key")));
    api.arg(format!("--service-account-signing-key-file={}", file("accounts.key")));
    api.arg("--service-account-issuer=https://kubernetes.default.svc");
    api.args(["--service-cluster-ip-range=10.0.0.0/24", "--endpoint-reconciler-type=none"]);
    // How it asks the test's kubelet for logs.
    api.arg(format!("--kubelet-certificate-authority={}", file("ca.crt")));
    api.args(["--kubelet-preferred-address-types=InternalIP", "--enable-admission-plugins=NodeRestriction"]);
    // Watches end early, so that tests see them end.
    api.arg("--min-request-timeout=60");
    api
}

/// Keys, certificates and tokens. The kubelet of the tests has the same certificate as the API server.
fn write_secrets(folder: &Path) {
    Authority::new().issue_into(folder, &["127.0.0.1", "localhost"]);
    // Read by releases that know PKCS #1 and SEC 1 only.
    let mut openssl = Command::new("openssl");
    openssl.args(["genrsa", "-traditional", "-out"]).arg(folder.join("accounts.key")).arg("2048");
    assert!(openssl.output().unwrap().status.success(), "openssl makes no key");
    std::fs::write(folder.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,1,\"system:masters\"\n")).unwrap();
}

fn kubeconfig(folder: &Path, port: u16, token: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
         clusters: [{{ name: test, cluster: {{ server: 'https://127.0.0.1:{port}', certificate-authority: '{}' }} }}]\n\
         users: [{{ name: test, user: {{ token: '{token}' }} }}]\n\
         contexts: [{{ name: test, context: {{ cluster: test, user: test, namespace: astrocloud }} }}]\n",
        folder.join("ca.crt").display()
    )
}
