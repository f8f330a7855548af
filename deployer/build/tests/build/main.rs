//! Builds of small real projects: in the real sandbox, with real package managers and the real registry.
#![allow(clippy::unwrap_used, clippy::panic)]

mod apps;
mod cache;
mod limits;
mod projects;
mod tools;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use build::{BuildError, Builder, Job, Limits, Output};
use common::bus::file::FileBus;
use common::bus::{Bus, Topic};
use common::id::{DeploymentId, ProjectId};
use common::project::Settings;
use common::secret::Secret;
use logs::{Log, Mask};
use sandbox::{Options, Sandbox};
use tokio::sync::OnceCell;
use toolchain::Tools;

/// What the tests share: detected once, and fetched tools stay from one run to the next.
static HOST: OnceCell<(Sandbox, Tools)> = OnceCell::const_new();

async fn host() -> (Sandbox, Tools) {
    let open = || async {
        let sandbox = Sandbox::detect(env!("CARGO_BIN_EXE_build-helper").into(), Options::default()).await;
        (sandbox, Tools::open(Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools")).await.unwrap())
    };
    HOST.get_or_init(open).await.clone()
}

/// A project and its cache, built as often as wanted.
struct Trial {
    folder: Arc<tempfile::TempDir>,
    project: ProjectId,
    settings: Settings,
    env: BTreeMap<String, Secret>,
    limits: Limits,
    files: Vec<(String, String)>,
}

/// One build.
struct Built {
    result: Result<Output, BuildError>,
    log: Vec<String>,
    /// Where the output is.
    _folder: Arc<tempfile::TempDir>,
}

impl Trial {
    fn new(files: &[(&str, &str)]) -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            project: ProjectId::new(),
            settings: Settings::default(),
            env: BTreeMap::new(),
            limits: Limits::default(),
            files: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), Secret::new(value));
    }

    /// Builds in a new work folder, as the deployer does.
    async fn build(&self) -> Built {
        let (sandbox, tools) = host().await;
        let deployment = DeploymentId::new();
        let source = self.folder.path().join("work").join(deployment.as_str()).join("source");
        for (path, text) in &self.files {
            let path = source.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let bus: Bus = Arc::new(FileBus::new(self.folder.path().join("bus")).unwrap());
        let topic = Topic::build(deployment);
        let log = Log::start(bus.clone(), topic.clone(), Mask::new(self.env.values()), Some(self.limits.output));
        let builder = Builder::new(sandbox, tools, self.folder.path().join("cache"), self.limits);
        let job = Job { project: &self.project, settings: &self.settings, env: &self.env, source: &source, log: &log };
        let result = match builder.plan(&source, &self.settings).await {
            Ok(plan) => {
                let result = builder.run(&job, &plan).await;
                let result = result.map(|output| copied(output, self.folder.path(), &topic));
                builder.keep(&job, &plan).await;
                result
            }
            Err(e) => Err(e),
        };
        log.flush().await;
        let mut lines = Vec::new();
        loop {
            let from = lines.len() as u64;
            let batch = bus.read(&topic, from).await.unwrap();
            if batch.records.is_empty() {
                break;
            }
            lines.extend(batch.records.into_iter().map(|record| record.text));
        }
        Built { result, log: lines, _folder: self.folder.clone() }
    }
}

/// The output, out of the way of `keep`, as publishing copies it.
fn copied(output: Output, into: &Path, topic: &Topic) -> Output {
    let copy = |from: &Path| {
        let to = into.join(format!("output-{}", topic.deployment));
        let done = std::process::Command::new("cp").args(["-a"]).args([from, &to]).status().unwrap();
        assert!(done.success());
        to
    };
    match output {
        Output::Static { folder, single_page } => Output::Static { folder: copy(&folder), single_page },
        Output::Node { root, start } => Output::Node { root: copy(&root), start },
    }
}

impl Built {
    /// A file of the site that was built.
    #[track_caller]
    fn file(&self, path: &str) -> String {
        match &self.result {
            Ok(Output::Static { folder, .. }) => std::fs::read_to_string(folder.join(path)).unwrap(),
            other => panic!("no site: {other:?}\n{}", self.log.join("\n")),
        }
    }

    #[track_caller]
    fn app(&self) -> (PathBuf, common::registry::Start) {
        match &self.result {
            Ok(Output::Node { root, start }) => (root.clone(), start.clone()),
            other => panic!("no app: {other:?}\n{}", self.log.join("\n")),
        }
    }

    #[track_caller]
    fn error(&self) -> &BuildError {
        match &self.result {
            Err(error) => error,
            Ok(output) => panic!("built: {output:?}\n{}", self.log.join("\n")),
        }
    }

    fn says(&self, part: &str) -> bool {
        self.log.iter().any(|line| line.contains(part))
    }

    #[track_caller]
    fn assert_says(&self, part: &str) {
        assert!(self.says(part), "{part:?} is not in the log:\n{}", self.log.join("\n"));
    }

    #[track_caller]
    fn assert_silent(&self, part: &str) {
        assert!(!self.says(part), "{part:?} is in the log:\n{}", self.log.join("\n"));
    }
}

/// A build script that writes a page with the given JavaScript expression in it.
fn writes(expression: &str) -> String {
    format!(
        "const fs = require('fs');\nfs.mkdirSync('dist', {{ recursive: true }});\nfs.writeFileSync('dist/index.html', String({expression}));\n"
    )
}

/// A package.json with a build script `node build.js` and one small dependency.
const PACKAGE: &str = r#"{
  "name": "shop", "version": "1.0.0", "private": true,
  "scripts": { "build": "node build.js" },
  "dependencies": { "is-number": "7.0.0" }
}"#;

/// Its lock file. Without addresses: the registry is the operator's.
const LOCK: &str = r#"{
  "name": "shop", "version": "1.0.0", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": { "name": "shop", "version": "1.0.0", "dependencies": { "is-number": "7.0.0" } },
    "node_modules/is-number": { "version": "7.0.0", "engines": { "node": ">=0.12.0" } }
  }
}"#;

/// The page says whether the dependency works.
const USES: &str = "require('is-number')(5)";
