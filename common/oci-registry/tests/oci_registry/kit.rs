//! What the tests share: base images, apps, and registries with both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::id::DeploymentId;
use common::registry::oci::Document;
use common::registry::{ImageRegistry as _, NewImage, Origin, Pushed, RegistryError, Start};
use oci_registry::{Config, Login, OciRegistry};
use oci_spec::image::MediaType;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Name of the base image below a registry's host.
pub const BASE: &str = "images/node:20";

/// Runs a program and returns what it prints.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {out}{err}");
    out.into_owned()
}

/// Packs a tree with tar as the one layer of a base image and puts it into a registry with skopeo.
pub fn push_base(host: &str, tree: &Path, credentials: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    std::fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let archive = folder.path().join("layer.tar");
    run("tar", &["-C", &tree.display().to_string(), "-cf", &archive.display().to_string(), "."]);
    let sum = run("sha256sum", &[&archive.display().to_string()]);
    let layer = sum.split_whitespace().next().unwrap().to_owned();
    let size = std::fs::metadata(&archive).unwrap().len();
    std::fs::rename(&archive, layout.join("blobs/sha256").join(&layer)).unwrap();
    let put = |kind: MediaType, value: &Value| {
        let document = Document::json(kind, value).unwrap();
        std::fs::write(layout.join("blobs/sha256").join(document.descriptor.digest().digest()), &document.bytes)
            .unwrap();
        serde_json::to_value(&document.descriptor).unwrap()
    };
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "BASE=yes"], "Entrypoint": ["/entry.sh"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer}")] },
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest.as_ref(), "config": put(MediaType::ImageConfig, &config),
        "layers": [{ "mediaType": MediaType::ImageLayer.as_ref(), "digest": format!("sha256:{layer}"), "size": size }],
    });
    let mut listed = put(MediaType::ImageManifest, &manifest);
    listed["annotations"] = json!({ "org.opencontainers.image.ref.name": "base" });
    std::fs::write(layout.join("index.json"), json!({ "schemaVersion": 2, "manifests": [listed] }).to_string())
        .unwrap();
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let (from, to) = (format!("oci:{}:base", layout.display()), format!("docker://{host}/{BASE}"));
    let mut arguments = vec!["copy", "--insecure-policy", "--dest-tls-verify=false"];
    arguments.extend(credentials.map(|_| "--dest-creds"));
    arguments.extend(credentials);
    arguments.extend([from.as_str(), to.as_str()]);
    run("skopeo", &arguments);
}

/// A base image of one small file.
pub fn push_small_base(host: &str, credentials: Option<&str>) {
    let tree = tempfile::tempdir().unwrap();
    std::fs::create_dir(tree.path().join("usr")).unwrap();
    std::fs::write(tree.path().join("usr/base"), "base").unwrap();
    push_base(host, tree.path(), credentials);
}

/// The adapter for a registry at `host`, whose base image lies at `base`.
pub fn registry(host: &str, base: &str, login: Login) -> OciRegistry {
    patient_registry(host, base, login, Duration::from_secs(60))
}

/// One that waits for a registry that is away as long as this.
pub fn patient_registry(host: &str, base: &str, login: Login, away: Duration) -> OciRegistry {
    let scratch = std::env::temp_dir().join(format!("oci-registry-test-{}", std::process::id()));
    let address = format!("http://{host}/apps").parse().unwrap();
    let template = format!("{base}/{BASE}").replace(":20", ":{major}");
    let mut config = Config::new(address, login, template, scratch);
    config.away = away;
    OciRegistry::new(config).unwrap()
}

/// An app that listens, with a dependency of `dependency` bytes that no compression makes smaller.
pub struct App {
    root: TempDir,
    pub start: Start,
    pub origin: Origin,
}

impl App {
    pub fn new(code: &str, dependency: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let module = root.path().join("app/node_modules/left");
        std::fs::create_dir_all(&module).unwrap();
        let mut noise = vec![0; dependency];
        // The same bytes in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for byte in &mut noise {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[0];
        }
        std::fs::write(module.join("data.bin"), noise).unwrap();
        std::fs::write(module.join("package.json"), r#"{"name":"left","version":"1.3.0"}"#).unwrap();
        std::fs::write(root.path().join("app/server.js"), code).unwrap();
        let start = Start {
            command: "exec node server.js".to_owned(),
            working_dir: "app".to_owned(),
            node: "20.1.0".to_owned(),
        };
        let mut origin = Origin::new(DeploymentId::new());
        origin.source = Some("https://git.example/shop.git".to_owned());
        origin.commit = Some("0123456789abcdef0123456789abcdef01234567".to_owned());
        Self { root, start, origin }
    }

    pub fn path(&self) -> PathBuf {
        self.root.path().join("app")
    }

    pub async fn push(&self, registry: &OciRegistry) -> Result<Pushed, RegistryError> {
        let (start, origin) = (&self.start, &self.origin);
        registry.push(NewImage { name: "shop", root: self.root.path(), start, origin }).await
    }
}
