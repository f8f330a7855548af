//! Images as other tools read and run them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_registry::Login;
use serde_json::Value;
use testkit::registry::Registry;

use crate::kit::{App, patient_registry, push_base, push_small_base, registry, run};
use crate::proxy::Proxy;

/// What nobody may find in an image.
const SECRET: &str = "correct-horse-battery";
/// For a container to answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn inspect(reference: &str, what: &[&str]) -> Value {
    let image = format!("docker://{reference}");
    let arguments = [&["inspect", "--tls-verify=false"][..], what, &[&image]].concat();
    serde_json::from_str(&run("skopeo", &arguments)).unwrap()
}

#[tokio::test]
async fn a_change_of_the_code_pushes_kilobytes_and_the_base_none() {
    let (server, elsewhere) = (Registry::start(), Registry::start());
    push_small_base(&elsewhere.host(), None);
    let proxy = Proxy::start(&server.host(), |_, _| None);
    let adapter = registry(&proxy.host, &elsewhere.host(), Login::Anonymous);
    let app = App::new("listen()", 3 << 20);
    let first = app.push(&adapter).await.unwrap();
    assert!(first.sent > 3 << 20);
    let before = proxy.seen(|seen| seen.taken);
    std::fs::write(app.path().join("server.js"), "listen(1)").unwrap();
    let second = app.push(&adapter).await.unwrap();
    assert_ne!(first.reference, second.reference);
    assert!(second.sent < 2_000, "{}", second.sent);
    let taken = proxy.seen(|seen| seen.taken) - before;
    assert!(taken < 10_000, "with all documents: {taken}");
    // The base came from elsewhere once, and each repository has its layers by a mount.
    let mounts = proxy.seen(|seen| seen.lines.iter().filter(|line| line.contains("mount=")).count());
    assert_eq!(mounts, 1);
    // With the other registry away, the base is the one that is kept here.
    elsewhere.kill();
    let fresh = patient_registry(&proxy.host, &elsewhere.host(), Login::Anonymous, Duration::from_secs(1));
    assert_eq!(app.push(&fresh).await.unwrap().reference, second.reference);
    // And with nothing kept, it is said what is away.
    let empty = Registry::start();
    let none = patient_registry(&empty.host(), &elsewhere.host(), Login::Anonymous, Duration::from_secs(1));
    let error = app.push(&none).await.unwrap_err().to_string();
    assert!(error.contains("reading the base image") && error.contains(&elsewhere.host()), "{error}");
}

#[tokio::test]
async fn the_image_is_what_other_tools_expect() {
    let server = Registry::start();
    push_small_base(&server.host(), None);
    let adapter = registry(&server.host(), &server.host(), Login::Anonymous);
    let app = App::new("listen()", 1000);
    std::fs::write(app.path().join(".env"), format!("KEY={SECRET}")).unwrap();
    std::fs::write(app.path().join(".npmrc"), format!("//registry.example/:_authToken={SECRET}")).unwrap();
    std::fs::create_dir(app.path().join(".git")).unwrap();
    std::fs::write(app.path().join(".git/config"), format!("url = https://x:{SECRET}@git.example/")).unwrap();
    let pushed = app.push(&adapter).await.unwrap();
    assert_eq!(pushed.left_out, ["app/.env", "app/.git", "app/.npmrc"]);

    let config = inspect(&pushed.reference, &["--config"]);
    let run_as = &config["config"];
    assert_eq!(run_as["User"], "65534:65534");
    assert_eq!(run_as["WorkingDir"], "/app");
    assert_eq!(run_as["Entrypoint"], serde_json::json!(["/bin/sh", "-c"]));
    assert_eq!(run_as["Cmd"], serde_json::json!(["exec node server.js"]));
    let env: Vec<&str> = run_as["Env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(env.contains(&"PORT=8080") && env.contains(&"BASE=yes"), "{env:?}");
    assert!(env.contains(&"PATH=/app/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"), "{env:?}");
    let labels = &run_as["Labels"];
    assert_eq!(labels["org.opencontainers.image.title"], "shop");
    assert_eq!(labels["org.opencontainers.image.source"], "https://git.example/shop.git");
    assert_eq!(labels["org.opencontainers.image.revision"], "0123456789abcdef0123456789abcdef01234567");
    assert!(labels["org.opencontainers.image.base.name"].as_str().unwrap().ends_with("/images/node:20"));

    let image = pushed.reference.rsplit_once('@').unwrap();
    let (repository, digest) = image;
    let referrers = inspect(&format!("{repository}:{}", digest.replace(':', "-")), &["--raw"]);
    let kinds: Vec<(String, String)> = referrers["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listed| {
            let text = |key: &str| listed[key].as_str().unwrap().to_owned();
            (text("artifactType"), text("digest"))
        })
        .collect();
    let payload = |kind: &str| -> Value {
        let (_, artifact) = kinds.iter().find(|(found, _)| found == kind).unwrap();
        let manifest = inspect(&format!("{repository}@{artifact}"), &["--raw"]);
        assert_eq!(manifest["subject"]["digest"], digest);
        let blob = manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let path = server.data().join(format!("docker/registry/v2/blobs/sha256/{}/{blob}/data", &blob[..2]));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let bill = payload("application/vnd.cyclonedx+json");
    assert_eq!(bill["components"][0]["purl"], "pkg:npm/left@1.3.0");
    let provenance = payload("application/vnd.in-toto+json");
    assert_eq!(provenance["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(provenance["subject"][0]["digest"]["sha256"], digest.trim_start_matches("sha256:"));

    // The same app from another folder, in another deployment, and on another adapter.
    let again = App::new("listen()", 1000);
    let other = registry(&server.host(), &server.host(), Login::Anonymous);
    assert_eq!(again.push(&other).await.unwrap().reference, pushed.reference);
    no_secret_in(&server.data());
}

/// Looks into every blob that the registry has, unpacked.
fn no_secret_in(data: &Path) {
    let mut looked = 0;
    let listed = run("find", &[&data.display().to_string(), "-type", "f", "-name", "data"]);
    for path in listed.lines() {
        let bytes = std::fs::read(path).unwrap();
        let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { run("gzip", &["-dc", path]).into_bytes() } else { bytes };
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{path}");
        looked += 1;
    }
    assert!(looked >= 6, "{looked}");
}

/// A container, gone with the test.
struct Container {
    bundle: String,
    process: Child,
}

impl Drop for Container {
    fn drop(&mut self) {
        let name = format!("test-{}", std::process::id());
        let _ = Command::new("runc").args(["--root", &self.bundle, "delete", "--force", &name]).output();
        let _ = self.process.wait();
    }
}

/// A base image with this machine's Node and a shell.
fn push_node(host: &str) {
    let tree = tempfile::tempdir().unwrap();
    let put = |from: &str| {
        let to = tree.path().join(from.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    let node = run("sh", &["-c", "readlink -f $(command -v node)"]);
    let node = node.trim();
    for word in run("ldd", &[node]).split_whitespace().filter(|word| word.starts_with('/')) {
        put(word);
    }
    put(node);
    std::fs::create_dir_all(tree.path().join("bin")).unwrap();
    std::fs::create_dir_all(tree.path().join("tmp")).unwrap();
    let busybox = run("sh", &["-c", "readlink -f $(command -v busybox)"]);
    std::fs::copy(busybox.trim(), tree.path().join("bin/sh")).unwrap();
    if !tree.path().join("usr/bin/node").exists() {
        std::fs::create_dir_all(tree.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink(node, tree.path().join("usr/bin/node")).unwrap();
    }
    push_base(host, tree.path(), None);
}

#[tokio::test]
async fn the_image_runs_and_answers_at_its_port() {
    let server = Registry::start();
    push_node(&server.host());
    let adapter = registry(&server.host(), &server.host(), Login::Anonymous);
    let [port] = testkit::ports::free();
    let app = App::new(
        "require('http').createServer((_, answer) => answer.end(`${process.getuid()} ${process.cwd()}`))\
         .listen(process.env.PORT, process.env.HOST)",
        1000,
    );
    let pushed = app.push(&adapter).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (layout, bundle) = (path("layout"), path("bundle"));
    let (from, to) = (format!("docker://{}", pushed.reference), format!("oci:{layout}:app"));
    run("skopeo", &["copy", "--insecure-policy", "--src-tls-verify=false", &from, &to]);
    run("umoci", &["unpack", "--image", &format!("{layout}:app"), &bundle]);
    // As a cluster would: the network of the host, the port in the environment, and nothing else changed.
    let config = format!("{bundle}/config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    assert_eq!(spec["process"]["user"]["uid"], 65534);
    let env = spec["process"]["env"].as_array_mut().unwrap();
    env.retain(|pair| !pair.as_str().unwrap().starts_with("PORT="));
    env.push(format!("PORT={port}").into());
    spec["process"]["terminal"] = false.into();
    spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|space| space["type"] != "network");
    std::fs::write(&config, spec.to_string()).unwrap();
    let name = format!("test-{}", std::process::id());
    let process = Command::new("runc")
        .args(["--root", &bundle, "run", "--bundle", &bundle, &name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(path("said")).unwrap())
        .spawn()
        .unwrap();
    let mut container = Container { bundle, process };
    let began = Instant::now();
    let answer = loop {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            break text;
        }
        let said = || std::fs::read_to_string(path("said")).unwrap();
        assert!(container.process.try_wait().unwrap().is_none(), "it has ended: {}", said());
        assert!(began.elapsed() < PATIENCE, "it does not answer: {}", said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(answer.ends_with("65534 /app"), "{answer}");
}
