//! How Kafka is spoken to: settings, clients with them, and our topics.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::api::LogKind;
use common::secret::Secret;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::address::Address;
use crate::status::{Context, RECONNECT, Status};

/// The logs of a deployment.
pub(crate) const KINDS: [LogKind; 2] = [LogKind::Build, LogKind::Runtime];
/// For one request to a broker: one that hangs is given up then.
const REQUEST: Duration = Duration::from_secs(20);
/// For topics to be made.
const CREATE: Duration = Duration::from_secs(15);

/// How Kafka is used, beside its address.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Where it is.
    pub address: Address,
    /// Partitions over which deployments are spread, of each topic. It must not change while logs are kept.
    pub partitions: u32,
    /// Copies of each partition in new topics; nothing for what the cluster does by default.
    pub replication: Option<u16>,
    /// How long new topics keep messages: long enough for any control plane to archive them.
    pub retention: Duration,
    /// How messages are compressed.
    pub compression: Compression,
    /// How we log in; nothing when nobody asks.
    pub login: Option<Login>,
    /// File (PEM) of the authorities that brokers' certificates are checked with; nothing for the system's.
    pub ca_file: Option<std::path::PathBuf>,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all, for servers that take nothing else.
    None,
    /// Fast.
    Lz4,
    /// Small.
    #[default]
    Zstd,
}

/// A login over SASL.
#[derive(Clone, Debug)]
pub struct Login {
    /// How it is proven.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// Ways of SASL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// The password itself (RFC 4616): over TLS only, unless the network is trusted.
    #[default]
    Plain,
    /// SCRAM (RFC 5802) with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Mechanism {
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl Broker {
    /// The topic of a kind of logs.
    pub(crate) fn topic(&self, kind: LogKind) -> String {
        format!("{}.{}", self.address.prefix, kind.name())
    }

    /// Whether this program can do all that is asked for.
    pub(crate) fn needs_tls_feature(&self) -> bool {
        let scram = self.login.as_ref().is_some_and(|login| login.mechanism != Mechanism::Plain);
        (self.address.tls || scram) && !cfg!(feature = "tls")
    }

    /// What all clients have in common.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.address.brokers.join(","))
            .set("client.id", "astrocloud")
            .set("socket.timeout.ms", REQUEST.as_millis().to_string())
            .set("socket.keepalive.enable", "true")
            // Azure drops connections that were idle for four minutes, without a word.
            .set("connections.max.idle.ms", "180000")
            .set("topic.metadata.refresh.interval.ms", "180000")
            .set("reconnect.backoff.max.ms", RECONNECT.as_millis().to_string())
            // A topic that was just made is found at once, not after minutes.
            .set("topic.metadata.refresh.fast.interval.ms", "100")
            // One that is gone is missed soon, and made again.
            .set("topic.metadata.propagation.max.ms", "3000")
            .set("allow.auto.create.topics", "false");
        let protocol = match (self.address.tls, &self.login) {
            (false, None) => "PLAINTEXT",
            (false, Some(_)) => "SASL_PLAINTEXT",
            (true, None) => "SSL",
            (true, Some(_)) => "SASL_SSL",
        };
        config.set("security.protocol", protocol);
        if let Some(login) = &self.login {
            config
                .set("sasl.mechanism", login.mechanism.name())
                .set("sasl.username", &login.user)
                .set("sasl.password", login.password.reveal());
        }
        if let Some(file) = &self.ca_file {
            config.set("ssl.ca.location", file.to_string_lossy());
        }
        config
    }

    /// What a client that writes has more: nothing twice, nothing out of order, nothing given up.
    pub(crate) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            // When one message is refused, those behind it are too: they are sent again in order, from the spool.
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            // The spool bounds what is on its way, by bytes.
            .set("queue.buffering.max.messages", "0")
            .set("linger.ms", "2")
            .set("message.max.bytes", "1000000")
            .set(
                "compression.type",
                match self.compression {
                    Compression::None => "none",
                    Compression::Lz4 => "lz4",
                    Compression::Zstd => "zstd",
                },
            );
        config
    }

    /// What a client that reads has more. Each control plane reads everything, so there are no groups.
    pub(crate) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            // Asked for by the library, told to nobody.
            .set("group.id", "astrocloud")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // The follower itself looks where a partition begins.
            .set("auto.offset.reset", "error")
            .set("check.crcs", "true")
            // Memory for what was fetched and not taken yet.
            .set("queued.max.messages.kbytes", "32768")
            .set("fetch.error.backoff.ms", "200");
        config
    }

    /// Makes the topics that are not there.
    ///
    /// # Errors
    /// Says what to do when there is none and none can be made, or when one has too few partitions.
    pub(crate) async fn topics(&self, status: &Arc<Status>) -> Result<(), String> {
        let admin: AdminClient<Context> =
            self.client().create_with_context(Context(status.clone())).map_err(|e| e.to_string())?;
        let admin = Arc::new(admin);
        let asked = admin.clone();
        let known = tokio::task::spawn_blocking(move || {
            // Of all topics: asking for one by name may make it, of the wrong size.
            let known = asked.inner().fetch_metadata(None, REQUEST)?;
            let sizes = known.topics().iter().map(|topic| (topic.name().to_owned(), topic.partitions().len()));
            Ok(sizes.collect::<HashMap<_, _>>())
        });
        let known = known.await.map_err(|e| e.to_string())?.map_err(|e| said(status, &e))?;
        for name in KINDS.map(|kind| self.topic(kind)) {
            match known.get(&name).copied() {
                // Another process may make it meanwhile, of another size: the next start tells.
                None => self.create(&admin, &name).await?,
                Some(found) if found < self.partitions as usize => {
                    return Err(format!(
                        "Kafka's topic {name} has {found} partitions, and logs.kafka.partitions is {}: set that to \
                         {found}, or take another prefix",
                        self.partitions
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn create(&self, admin: &AdminClient<Context>, name: &str) -> Result<(), String> {
        let partitions = i32::try_from(self.partitions).unwrap_or(i32::MAX);
        let copies = self.replication.map_or(-1, i32::from);
        let retention = self.retention.as_millis().to_string();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies))
            .set("retention.ms", &retention)
            .set("cleanup.policy", "delete");
        let options = AdminOptions::new().request_timeout(Some(CREATE)).operation_timeout(Some(CREATE));
        let refused = |what: String| {
            format!(
                "Kafka's topic {name} does not exist and can't be made ({what}): make it with {partitions} partitions, \
                 or allow this user to"
            )
        };
        let results = admin.create_topics([&topic], &options).await.map_err(|e| refused(e.to_string()))?;
        for result in results {
            match result {
                Ok(_) => tracing::info!(topic = name, partitions, "made a topic in Kafka"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(refused(code.to_string())),
            }
        }
        Ok(())
    }
}

/// An error with what librdkafka said of its connections.
pub(crate) fn said(status: &Status, error: &KafkaError) -> String {
    match status.last() {
        Some(last) => format!("Kafka does not answer: {last}"),
        None => format!("Kafka does not answer: {error}"),
    }
}
