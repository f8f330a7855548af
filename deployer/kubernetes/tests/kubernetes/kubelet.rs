//! The tests' kubelet: a node that runs what pods ask for, as processes of this machine on loopback addresses of their
//! own, with images out of the platform's registry. Times are short; what it tells of pods is what a kubelet tells.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::registry::{Registry, RegistryError};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Node, Pod, Probe, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::logs::{self, Logs};

const NODE: &str = "node-1";
/// Pause before a container is started again; a real kubelet begins with ten seconds.
const BACKOFF: Duration = Duration::from_millis(100);
/// Pause between two probes.
const PROBE: Duration = Duration::from_millis(20);
/// What an app exits with to be told as one that was killed for its memory.
pub const OUT_OF_MEMORY: i32 = 99;

pub struct Kubelet {
    client: Client,
    registry: Registry,
    pub logs: Arc<Logs>,
    /// Namespaces whose pods find no room.
    full: Mutex<HashSet<String>>,
    seen: Mutex<HashSet<String>>,
    folder: tempfile::TempDir,
}

impl Kubelet {
    /// A node for the cluster, with the logs of its pods on a port.
    pub async fn start(client: Client, registry: Registry, tls: &std::path::Path) -> Arc<Self> {
        let logs = Arc::new(Logs::default());
        let port = logs::serve(logs.clone(), tls).await;
        let nodes: Api<Node> = Api::all(client.clone());
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": NODE } });
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let status = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        } });
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let untainted = json!({ "spec": { "taints": [] } });
        nodes.patch(NODE, &PatchParams::default(), &Patch::Merge(untainted)).await.unwrap();
        let kubelet = Arc::new(Self {
            client,
            registry,
            logs,
            full: Mutex::default(),
            seen: Mutex::default(),
            folder: tempfile::tempdir().unwrap(),
        });
        tokio::spawn(kubelet.clone().watch());
        kubelet
    }

    /// From now on no pod of this namespace finds room.
    pub fn is_full_for(&self, namespace: &str) {
        self.full.lock().unwrap().insert(namespace.to_owned());
    }

    fn has_room(&self, pod: &Pod) -> bool {
        !self.full.lock().unwrap().contains(&pod.namespace().unwrap())
    }

    async fn watch(self: Arc<Self>) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = watcher(pods, watcher::Config::default()).default_backoff().applied_objects().boxed();
        while let Some(event) = events.next().await {
            let Ok(pod) = event else { continue };
            let uid = pod.uid().unwrap();
            if self.seen.lock().unwrap().insert(uid) {
                tokio::spawn(Box::pin(Self::live(self.clone(), pod)));
            }
        }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace().unwrap())
    }

    /// The whole life of a pod.
    async fn live(self: Arc<Self>, pod: Pod) {
        if !self.schedule(&pod).await {
            return;
        }
        let ip = address();
        let ending = self.clone().ending(pod.clone());
        tokio::pin!(ending);
        tokio::select! {
            // What runs is killed when it is dropped.
            () = &mut ending => {}
            never = self.run(&pod, ip) => match never {},
        }
        self.logs.close(&pod.uid().unwrap());
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let _ = self.pods(&pod).delete(&pod.name_any(), &now).await;
    }

    /// Binds a pod to the node, once there is room; false when it is deleted before.
    async fn schedule(&self, pod: &Pod) -> bool {
        let api = self.pods(pod);
        let mut told = false;
        while !self.has_room(pod) {
            if !told {
                let condition = json!({
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient memory.",
                });
                self.status(pod, json!({ "conditions": [condition] })).await;
                told = true;
            }
            match api.get_opt(&pod.name_any()).await {
                Ok(Some(now)) if now.metadata.deletion_timestamp.is_none() => sleep(PROBE).await,
                _ => {
                    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                    let _ = api.delete(&pod.name_any(), &now).await;
                    return false;
                }
            }
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": { "name": pod.name_any() },
            "target": { "apiVersion": "v1", "kind": "Node", "name": NODE },
        });
        let request = http::Request::post(format!(
            "/api/v1/namespaces/{}/pods/{}/binding",
            pod.namespace().unwrap(),
            pod.name_any()
        ));
        let request =
            request.header("content-type", "application/json").body(binding.to_string().into_bytes()).unwrap();
        self.client.request::<Value>(request).await.is_ok()
    }

    /// Returns when the pod is to end and the pause before SIGTERM is over.
    async fn ending(self: Arc<Self>, pod: Pod) {
        let api = self.pods(&pod);
        loop {
            match api.get_opt(&pod.name_any()).await {
                Ok(Some(now)) if now.metadata.deletion_timestamp.is_none() => sleep(PROBE).await,
                Ok(_) => break,
                Err(_) => sleep(PROBE).await,
            }
        }
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let command =
            hook.and_then(|hook| hook.exec.as_ref()).and_then(|exec| exec.command.clone()).unwrap_or_default();
        if let [_, seconds] = &command[..] {
            sleep(Duration::from_secs(seconds.parse().unwrap())).await;
        }
    }

    /// Pulls the image and runs the container again and again.
    async fn run(&self, pod: &Pod, ip: Ipv4Addr) -> std::convert::Infallible {
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        let image = container.image.clone().unwrap();
        let root = self.folder.path().join(pod.uid().unwrap());
        std::fs::create_dir(&root).unwrap();
        let start = loop {
            match self.registry.pull(&image, &root).await {
                Ok(start) => break start,
                Err(e) => self.not_pulled(pod, ip, &image, &e).await,
            }
        };
        let env = self.environment(pod, ip).await;
        let mut restarts = 0;
        let mut last = Value::Null;
        loop {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("exec {}", start.command)]).current_dir(root.join(&start.working_dir));
            command.env_clear().envs(&env).env("PATH", std::env::var("PATH").unwrap());
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
            let mut process = command.spawn().unwrap();
            let begun = now();
            let out = self.logs.begin(pod, restarts);
            let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
            let reading = async { tokio::join!(read(stdout, &out), read(stderr, &out)) };
            let up = json!({ "running": { "startedAt": begun } });
            self.tell(pod, ip, &image, restarts, up.clone(), &last, false).await;
            let probing = self.probe(pod, ip, &image, restarts, &up, &last);
            let ended = tokio::select! {
                code = finished(&mut process, reading) => code,
                () = probing => unreachable!("it probes until the process ends"),
            };
            self.logs.end(&pod.uid().unwrap(), restarts);
            let reason = match ended {
                OUT_OF_MEMORY => "OOMKilled",
                0 => "Completed",
                _ => "Error",
            };
            let code = if ended == OUT_OF_MEMORY { 137 } else { ended };
            let terminated = json!({ "terminated": {
                "exitCode": code, "reason": reason, "startedAt": begun, "finishedAt": now(),
            } });
            self.tell(pod, ip, &image, restarts, terminated.clone(), &last, false).await;
            last = terminated;
            let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off restarting failed container" } });
            self.tell(pod, ip, &image, restarts, waiting, &last, false).await;
            sleep(BACKOFF).await;
            restarts += 1;
        }
    }

    async fn not_pulled(&self, pod: &Pod, ip: Ipv4Addr, image: &str, error: &RegistryError) {
        let detail = match error {
            RegistryError::NotFound(_) => {
                format!("rpc error: code = NotFound desc = failed to resolve reference {image:?}: not found")
            }
            e => format!("rpc error: code = Unknown desc = {e}"),
        };
        let waiting = json!({ "waiting": { "reason": "ErrImagePull", "message": detail } });
        self.tell(pod, ip, image, 0, waiting, &Value::Null, false).await;
        self.event(pod, "Failed", &format!("Failed to pull image {image:?}: {detail}")).await;
        let waiting = json!({ "waiting": { "reason": "ImagePullBackOff", "message": format!("Back-off pulling image {image:?}") } });
        self.tell(pod, ip, image, 0, waiting, &Value::Null, false).await;
        sleep(Duration::from_secs(1)).await;
    }

    /// Tells whether the container is healthy, whenever that changes.
    async fn probe(&self, pod: &Pod, ip: Ipv4Addr, image: &str, restarts: u32, state: &Value, last: &Value) {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let probe = container.readiness_probe.clone().unwrap();
        let mut ready = false;
        let mut told = String::new();
        loop {
            let result = tried(&probe, ip).await;
            if let Err(why) = &result
                && *why != told
            {
                self.event(pod, "Unhealthy", &format!("Startup probe failed: {why}")).await;
                told.clone_from(why);
            }
            if result.is_ok() != ready {
                ready = result.is_ok();
                self.tell(pod, ip, image, restarts, state.clone(), last, ready).await;
            }
            sleep(PROBE).await;
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn tell(&self, pod: &Pod, ip: Ipv4Addr, image: &str, restarts: u32, state: Value, last: &Value, ready: bool) {
        let is = |yes: bool| if yes { "True" } else { "False" };
        self.status(pod, json!({
            "phase": if state.get("waiting").is_some() && restarts == 0 && last.is_null() { "Pending" } else { "Running" },
            "hostIP": "127.0.0.1",
            "podIP": ip.to_string(),
            "podIPs": [{ "ip": ip.to_string() }],
            "conditions": [
                { "type": "PodScheduled", "status": "True" },
                { "type": "Initialized", "status": "True" },
                { "type": "ContainersReady", "status": is(ready) },
                { "type": "Ready", "status": is(ready) },
            ],
            "containerStatuses": [{
                "name": pod.spec.as_ref().unwrap().containers[0].name,
                "image": image, "imageID": image, "ready": ready, "started": ready,
                "restartCount": restarts,
                // A merge keeps what is not said.
                "state": { "running": state.get("running"), "waiting": state.get("waiting"), "terminated": state.get("terminated") },
                "lastState": last,
            }],
        })).await;
    }

    /// Tells until the API server takes it, or the pod is gone.
    async fn status(&self, pod: &Pod, status: Value) {
        let api = self.pods(pod);
        loop {
            match api
                .patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(json!({ "status": status })))
                .await
            {
                Ok(_) => return,
                Err(kube::Error::Api(e)) if e.code == 404 => return,
                Err(_) => sleep(PROBE).await,
            }
        }
    }

    async fn event(&self, pod: &Pod, reason: &str, message: &str) {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "generateName": "event-" },
            "involvedObject": { "kind": "Pod", "name": pod.name_any(), "namespace": pod.namespace(), "uid": pod.uid() },
            "reason": reason, "message": message, "type": "Warning", "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(), "source": { "component": "kubelet" },
        });
        let _ = api.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await;
    }

    /// What the container finds in its environment. Where it has all addresses of its pod it gets its pod's address,
    /// which is all that stands for a network namespace here.
    async fn environment(&self, pod: &Pod, ip: Ipv4Addr) -> BTreeMap<String, String> {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        let mut env = BTreeMap::new();
        for from in container.env_from.iter().flatten() {
            let secret = secrets.get(&from.secret_ref.as_ref().unwrap().name).await.unwrap();
            for (name, value) in secret.data.unwrap_or_default() {
                env.insert(name, String::from_utf8(value.0).unwrap());
            }
        }
        for variable in container.env.iter().flatten() {
            env.insert(variable.name.clone(), variable.value.clone().unwrap_or_default());
        }
        for value in env.values_mut().filter(|value| *value == "0.0.0.0") {
            *value = ip.to_string();
        }
        env
    }
}

/// An address for one pod.
fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::AcqRel) + 2;
    let [_, _, third, fourth] = number.to_be_bytes();
    // Two test processes at once have different ones.
    let process = u8::try_from(std::process::id() % 200).unwrap() + 20;
    Ipv4Addr::new(127, process, third, fourth)
}

async fn tried(probe: &Probe, ip: Ipv4Addr) -> Result<(), String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let get = probe.http_get.as_ref();
    let port =
        get.map(|get| get.port.clone()).or_else(|| probe.tcp_socket.as_ref().map(|tcp| tcp.port.clone())).unwrap();
    let k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(port) = port else { unreachable!() };
    let at = (IpAddr::V4(ip), u16::try_from(port).unwrap());
    let trial = async {
        let mut stream = tokio::net::TcpStream::connect(at)
            .await
            .map_err(|_| format!("dial tcp {ip}:{port}: connect: connection refused"))?;
        let Some(get) = get else { return Ok(()) };
        let path = get.path.as_deref().unwrap_or("/");
        let head = format!("GET {path} HTTP/1.0\r\nHost: {ip}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|e| e.to_string())?;
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("HTTP probe failed with statuscode: {status}")) }
    };
    timeout(Duration::from_secs(1), trial).await.unwrap_or_else(|_| Err("context deadline exceeded".to_owned()))
}

async fn read(stream: impl AsyncRead + Unpin, out: &logs::Out) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        out.line(line);
    }
}

/// The exit code, as shells count.
async fn finished(process: &mut Child, reading: impl Future) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    reading.await;
    let status = process.wait().await.unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn now() -> String {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string()
}

/// Not to be forgotten: a test that waits for ever tells nobody why.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    match timeout(Duration::from_secs(90), future).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: nothing after {:?}", begun.elapsed()),
    }
}
