//! Settings of what carries the logs of builds and apps.

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use jiff::fmt::serde::unsigned_duration::friendly::compact::required as span;
use kafka_bus::{Address, Broker, Compression, Keep, Login, Mechanism};
use serde::{Deserialize, Serialize};

use super::{Bytes, Maybe};
use crate::exit::Usage;

/// Before a log is archived, up to this time passes: long enough that one control plane finds what another stored.
const SPREAD: Duration = Duration::from_secs(2);

/// What carries logs; files of the data folder when the address is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Logs {
    pub url: Maybe<Address>,
    pub spool: Bytes,
    pub copy: Bytes,
    #[serde(with = "span")]
    pub build_retention: Duration,
    #[serde(with = "span")]
    pub runtime_retention: Duration,
    pub kafka: Kafka,
}

/// How Kafka is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Kafka {
    pub partitions: u32,
    pub replication: u16,
    #[serde(with = "span")]
    pub retention: Duration,
    pub compression: Compression,
    pub sasl: Mechanism,
    pub user: Maybe<String>,
    pub password_file: Maybe<String>,
    pub ca_file: Maybe<String>,
}

impl Default for Logs {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self {
            url: Maybe(None),
            // About ten million lines.
            spool: Bytes(1 << 30),
            copy: Bytes(1 << 30),
            build_retention: days(90),
            runtime_retention: days(7),
            kafka: Kafka {
                // What one control plane reads, twelve brokers can serve.
                partitions: 12,
                replication: 0,
                // Longer than a control plane is away: logs are archived within half a day.
                retention: days(3),
                compression: Compression::default(),
                sasl: Mechanism::default(),
                user: Maybe(None),
                password_file: Maybe(None),
                ca_file: Maybe(None),
            },
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Logs::default().kafka
    }
}

impl Logs {
    /// The settings as the bus on Kafka takes them, whose files are in `folder`.
    ///
    /// # Errors
    /// When the password can't be read, or a setting has no meaning without another.
    pub fn on_kafka(&self, address: &Address, folder: PathBuf) -> anyhow::Result<kafka_bus::Settings> {
        let set = &self.kafka;
        let login = match (&set.user.0, &set.password_file.0) {
            (Some(user), Some(file)) => {
                let password = std::fs::read_to_string(file).map_err(|e| {
                    Usage::new(format!("the file of logs.kafka.password_file, {file}, can't be read: {e}"))
                })?;
                Some(Login { mechanism: set.sasl, user: user.clone(), password: Secret::new(password.trim()) })
            }
            (None, None) => None,
            _ => return Err(Usage::new("logs.kafka.user and logs.kafka.password_file belong together").into()),
        };
        let broker = Broker {
            address: address.clone(),
            partitions: set.partitions,
            replication: (set.replication > 0).then_some(set.replication),
            retention: set.retention,
            compression: set.compression,
            login,
            ca_file: set.ca_file.0.as_ref().map(PathBuf::from),
        };
        Ok(kafka_bus::Settings { broker, folder, spool: self.spool.0 })
    }

    /// How long logs are kept in the object store.
    pub fn keep(&self) -> Keep {
        Keep { build: self.build_retention, runtime: self.runtime_retention, spread: SPREAD }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn on_kafka(text: &str) -> anyhow::Result<kafka_bus::Settings> {
        let logs: Logs = toml::from_str(text).unwrap();
        logs.on_kafka(logs.url.0.as_ref().unwrap(), PathBuf::from("/logs"))
    }

    #[test]
    fn the_endpoint_of_event_hubs_is_set_as_the_page_on_logs_says() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("connection");
        let password = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=astro;SharedAccessKey=a2V5=";
        std::fs::write(&file, format!("{password}\n")).unwrap();
        let text = format!(
            "url = \"kafkas://ns.servicebus.windows.net:9093/logs\"\n[kafka]\nsasl = \"plain\"\n\
             user = \"$ConnectionString\"\npassword_file = \"{}\"\ncompression = \"none\"\npartitions = 4\n",
            file.display()
        );
        let settings = on_kafka(&text).unwrap();
        let login = settings.broker.login.unwrap();
        assert_eq!((login.user.as_str(), login.password.reveal()), ("$ConnectionString", password));
        assert!(settings.broker.address.tls && settings.broker.compression == Compression::None);
        assert_eq!((settings.broker.partitions, settings.broker.replication), (4, None));
    }

    #[test]
    fn a_login_that_is_half_said_is_refused() {
        for (text, hint) in [
            ("url = \"kafka://a/p\"\n[kafka]\nuser = \"me\"\n", "belong together"),
            ("url = \"kafka://a/p\"\n[kafka]\nuser = \"me\"\npassword_file = \"/nowhere\"\n", "/nowhere"),
        ] {
            let error = on_kafka(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
