//! What an app finds in its environment.

use std::collections::BTreeMap;
use std::path::Path;

use common::ledger::App;

use crate::config::Settings;

/// Where an app listens unless it knows better: reachable for the edge on this machine, for nobody else.
const HOST: &str = "127.0.0.1";
/// Where it listens when edges elsewhere are to reach it.
const EVERYWHERE: &str = "0.0.0.0";
/// The system's own programs.
const SYSTEM_PATH: &str = "/usr/bin:/bin";
/// The part of the memory limit that Node may fill with objects, in percent, before it collects harder. Node
/// does not see the limit and would be killed rather than clean up; the rest is for code, stacks and buffers.
const HEAP_PERCENT: u64 = 75;

/// The whole environment of an app. The project's variables win over the platform's defaults, except `PORT`,
/// which says where the health check looks; what the project adds to `PATH` comes last.
pub(crate) fn environment(app: &App, port: u16, node: &Path, dir: &Path, settings: &Settings) -> Vec<(String, String)> {
    let memory = settings.limits.memory;
    let host = if settings.advertise.is_some() { EVERYWHERE } else { HOST };
    let heap = (memory / 100 * HEAP_PERCENT) >> 20;
    let defaults = [
        ("HOME", "/tmp".to_owned()),
        ("HOST", host.to_owned()),
        // What Next listens on.
        ("HOSTNAME", host.to_owned()),
        ("NODE_ENV", "production".to_owned()),
        ("NODE_OPTIONS", format!("--max-old-space-size={heap}")),
    ];
    let mut all: BTreeMap<String, String> = defaults.map(|(name, value)| (name.to_owned(), value)).into();
    all.extend(app.env.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())));
    let own = all.remove("PATH").unwrap_or_else(|| SYSTEM_PATH.to_owned());
    let bin = dir.join("node_modules/.bin");
    all.insert("PATH".to_owned(), format!("{}:{}:{own}", bin.display(), node.display()));
    all.insert("PORT".to_owned(), port.to_string());
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::id::DeploymentId;
    use common::secret::Secret;

    use super::*;

    #[test]
    fn the_projects_variables_win_except_over_the_port() {
        let given = [("NODE_ENV", "staging"), ("PORT", "80"), ("PATH", "/app/tools:/usr/bin"), ("KEY", "hunter2")];
        let app = App {
            deployment: DeploymentId::new(),
            account: "owner".to_owned(),
            project_name: "shop".parse().unwrap(),
            image: String::new(),
            health_path: None,
            env: given.map(|(name, value)| (name.to_owned(), Secret::new(value))).into(),
        };
        let (node, dir, settings) = (Path::new("/node/bin"), Path::new("/app/api"), Settings::default());
        let found: BTreeMap<_, _> = environment(&app, 20_001, node, dir, &settings).into_iter().collect();
        let expected = [
            ("HOME", "/tmp"),
            ("HOST", "127.0.0.1"),
            ("HOSTNAME", "127.0.0.1"),
            ("KEY", "hunter2"),
            ("NODE_ENV", "staging"),
            ("NODE_OPTIONS", "--max-old-space-size=383"),
            ("PATH", "/app/api/node_modules/.bin:/node/bin:/app/tools:/usr/bin"),
            ("PORT", "20001"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let settings = Settings { advertise: Some([10, 0, 0, 7].into()), ..settings };
        let elsewhere = environment(&app, 20_001, node, dir, &settings);
        assert!(elsewhere.contains(&("HOST".to_owned(), "0.0.0.0".to_owned())), "edges elsewhere reach it");
    }
}
