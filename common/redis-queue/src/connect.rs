//! Addresses of Redis, and connections to it: one server, a cluster, or a primary that sentinels name.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisError, RedisFuture, RedisResult, Value,
};
use tokio::sync::Mutex;

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// Where Redis is. Its password is in what [`Display`](std::fmt::Display) gives, for settings, and in nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// As it was given.
    text: String,
    kind: Kind,
    /// Addresses of servers or sentinels, as `redis://` or `rediss://`.
    nodes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Server,
    Cluster,
    /// The primary's name among the sentinels.
    Sentinel(String),
}

/// Why an address is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another scheme.
    #[error(
        "`{0}` is no address of Redis: it begins with redis://, rediss:// (TLS), redis+unix://, redis-cluster://, \
         rediss-cluster://, redis-sentinel:// or rediss-sentinel://"
    )]
    Scheme(String),
    /// The client library does not take it.
    #[error("an address of Redis can't be read: {0}")]
    Malformed(String),
    /// Sentinels without a primary.
    #[error("an address of sentinels names the primary too: redis-sentinel://host:26379,host:26379/0?master=NAME")]
    NoMaster,
}

impl FromStr for Address {
    type Err = AddressError;

    /// `redis://user:password@host:6379/0`; several hosts, with commas, for a cluster or sentinels.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let node = |node: &str| {
            // What the library says never holds the address.
            node.into_connection_info().map_err(|e| AddressError::Malformed(e.to_string()))
        };
        let (plain, kind) = match scheme {
            "redis+unix" => {
                node(text)?;
                return Ok(Self { text: text.to_owned(), kind: Kind::Server, nodes: vec![text.to_owned()] });
            }
            "redis" | "rediss" => (scheme, Kind::Server),
            "redis-cluster" => ("redis", Kind::Cluster),
            "rediss-cluster" => ("rediss", Kind::Cluster),
            "redis-sentinel" => ("redis", Kind::Sentinel(String::new())),
            "rediss-sentinel" => ("rediss", Kind::Sentinel(String::new())),
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        let (rest, kind) = match kind {
            Kind::Sentinel(_) => {
                let (rest, name) = rest.split_once("?master=").ok_or(AddressError::NoMaster)?;
                (rest, Kind::Sentinel(name.to_owned()))
            }
            other => (rest, other),
        };
        let (login, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(l, h)| (format!("{l}@"), h));
        let (hosts, path) = hosts.split_once('/').unwrap_or((hosts, ""));
        let nodes: Vec<String> = hosts.split(',').map(|host| format!("{plain}://{login}{host}/{path}")).collect();
        for each in &nodes {
            node(each)?;
        }
        Ok(Self { text: text.to_owned(), kind, nodes })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts: Vec<&str> = self.nodes.iter().map(|node| node.rsplit(['@', '/']).nth(1).unwrap_or("")).collect();
        f.debug_struct("Address").field("kind", &self.kind).field("hosts", &hosts).finish_non_exhaustive()
    }
}

/// A connection that is made again when it breaks. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Connection {
    Server(ConnectionManager),
    Cluster(ClusterConnection),
}

/// Makes connections to one address.
pub(crate) struct Connector {
    address: Address,
    /// How long an answer may take.
    patience: Duration,
    current: Mutex<Option<Connection>>,
    sentinels: Option<Arc<Mutex<SentinelClient>>>,
}

impl Connector {
    pub fn new(address: Address, patience: Duration) -> RedisResult<Self> {
        let sentinels = match &address.kind {
            Kind::Sentinel(name) => Some(Arc::new(Mutex::new(sentinels(&address.nodes, name)?))),
            Kind::Server | Kind::Cluster => None,
        };
        Ok(Self { address, patience, current: Mutex::new(None), sentinels })
    }

    /// The connection; made when there is none yet.
    pub async fn get(&self) -> RedisResult<Connection> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let made = self.connect().await?;
        Ok(current.insert(made).clone())
    }

    /// Says what came of using a connection: one whose server is gone, or no primary any more, is not used again.
    pub async fn used<T>(&self, result: &RedisResult<T>) {
        // A manager connects again by itself; sentinels have to be asked who is the primary now.
        if let Err(e) = result
            && self.sentinels.is_some()
            && !is_our_fault(e)
        {
            *self.current.lock().await = None;
        }
    }

    async fn connect(&self) -> RedisResult<Connection> {
        let manager = |client: Client| async {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECT))
                .set_response_timeout(Some(self.patience))
                .set_number_of_retries(1);
            Ok(Connection::Server(ConnectionManager::new_with_config(client, config).await?))
        };
        match (&self.address.kind, &self.sentinels) {
            (Kind::Cluster, _) => {
                let client = ClusterClientBuilder::new(self.address.nodes.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(self.patience)
                    .build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            (_, Some(sentinels)) => manager(sentinels.lock().await.async_get_client().await?).await,
            _ => manager(Client::open(self.address.nodes[0].as_str())?).await,
        }
    }
}

/// Whether an error says that the command was wrong, not that the server is away.
fn is_our_fault(error: &RedisError) -> bool {
    !(error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || error.code() == Some("READONLY"))
}

fn sentinels(nodes: &[String], name: &str) -> RedisResult<SentinelClient> {
    let infos =
        nodes.iter().map(|node| node.as_str().into_connection_info()).collect::<RedisResult<Vec<ConnectionInfo>>>()?;
    let login = infos.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
    let node = SentinelNodeConnectionInfo::default().set_redis_connection_info(login);
    SentinelClient::build(infos, name, Some(node), SentinelServerType::Master)
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Server(one) => one.req_packed_command(command),
            Self::Cluster(many) => many.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Server(one) => one.req_packed_commands(pipeline, offset, count),
            Self::Cluster(many) => many.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Server(one) => one.get_db(),
            Self::Cluster(many) => many.get_db(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_of_servers_clusters_and_sentinels_are_read() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("rediss://me:pw@r.example:6380/2").nodes, ["rediss://me:pw@r.example:6380/2"]);
        let cluster = read("redis-cluster://me:p%40w@a:1,b:2");
        assert_eq!((cluster.kind, cluster.nodes.len()), (Kind::Cluster, 2));
        assert_eq!(cluster.nodes[1], "redis://me:p%40w@b:2/");
        let sentinels = read("redis-sentinel://a:26379,b:26379/0?master=main");
        assert_eq!(sentinels.kind, Kind::Sentinel("main".to_owned()));
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_shown() {
        let refused = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(refused("amqp://q"), AddressError::Scheme("amqp".to_owned()));
        assert_eq!(refused("redis-sentinel://a:1"), AddressError::NoMaster);
        assert!(matches!(refused("redis://:pass word@[/"), AddressError::Malformed(e) if !e.contains("pass")));
        let shown = format!("{:?}", "redis://me:hidden@a:1,b:2".parse::<Address>());
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
