//! The environment of install and build, and what to change when a build complains.
//!
//! `CI` is never set: create-react-app and others then take every warning for an error, and projects
//! that build on their developer's machine would not build here.

use crate::framework::Found;
use crate::lockfile::Lock;
use crate::manifest::Manifest;
use crate::node::{OPENSSL_3_FROM, expected_major};
use crate::plan::{BuildRetry, NodeChoice, Notes};
use crate::range::lowest_of;
use crate::version::Version;

/// Downloads and hooks of developers' tools that no build here has a use for: test browsers, git hooks.
const QUIET: [(&str, &str); 3] =
    [("CYPRESS_INSTALL_BINARY", "0"), ("HUSKY", "0"), ("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")];
/// The first version of each build tool that runs on OpenSSL 3: older ones hash with MD4, which that
/// has only in its legacy provider.
const OPENSSL_3_READY: [(&str, Version); 9] = [
    ("react-scripts", Version::new(5, 0, 0)),
    ("@vue/cli-service", Version::new(5, 0, 0)),
    ("@angular-devkit/build-angular", Version::new(13, 0, 0)),
    ("next", Version::new(12, 0, 0)),
    ("nuxt", Version::new(3, 0, 0)),
    ("gatsby", Version::new(4, 0, 0)),
    ("laravel-mix", Version::new(6, 0, 39)),
    ("preact-cli", Version::new(4, 0, 0)),
    ("webpack", Version::new(5, 61, 0)),
];
/// What Node prints when such a tool asks for MD4.
const MD4_MARKS: [&str; 3] = ["ERR_OSSL_EVP_UNSUPPORTED", "error:0308010C", "digital envelope routines::unsupported"];
/// Turns the legacy provider on. Node before 17 refuses to start with it.
const LEGACY_PROVIDER: (&str, &str) = ("NODE_OPTIONS", "--openssl-legacy-provider");

/// Environment and retries of a project's build.
pub(crate) struct Environment {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) retries: Vec<BuildRetry>,
}

impl Environment {
    /// Decides by what was found and by the versions of the build tools and of Node.
    pub(crate) fn of(app: &Manifest, lock: Option<&Lock>, node: &NodeChoice, found: &Found, notes: &mut Notes) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut env: Vec<(String, String)> = QUIET.into_iter().map(owned).chain(found.env.iter().cloned()).collect();
        let openssl_3 = lowest_of(&node.want).is_some_and(|node| node.major >= OPENSSL_3_FROM);
        if found.build.is_none() || !openssl_3 {
            return Self { env, retries: Vec::new() };
        }
        if let Some((tool, version)) = needs_md4(app, lock) {
            notes.info(format!(
                "{tool} {version} needs OpenSSL's legacy provider on Node 17 and later: building with NODE_OPTIONS=--openssl-legacy-provider. A newer {tool} would make this unnecessary."
            ));
            env.push(owned(LEGACY_PROVIDER));
            return Self { env, retries: Vec::new() };
        }
        let retry = BuildRetry {
            when_output_has: MD4_MARKS.map(str::to_owned).to_vec(),
            env: vec![owned(LEGACY_PROVIDER)],
            note: "A build tool uses a hash that this Node has only in OpenSSL's legacy provider: building once more with NODE_OPTIONS=--openssl-legacy-provider. Newer build tools would make this unnecessary.".to_owned(),
        };
        Self { env, retries: vec![retry] }
    }
}

/// The first of the app's build tools that needs MD4, with its major.
fn needs_md4(app: &Manifest, lock: Option<&Lock>) -> Option<(&'static str, u64)> {
    OPENSSL_3_READY.iter().find_map(|(tool, ready)| {
        let specifier = app.dependencies.get(*tool)?;
        let old = match lock.and_then(|lock| lock.version(tool)) {
            Some(version) => (version < *ready).then_some(version.major),
            // An install without a lock file brings the newest of the major.
            None => expected_major(tool, specifier).filter(|major| *major < ready.major),
        };
        old.map(|major| (*tool, major))
    })
}
