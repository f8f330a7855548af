//! Addresses of Redis, and connections to it: one server, a cluster, or a primary that sentinels name.

use std::str::FromStr;
use std::time::Duration;

use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisError, RedisFuture,
    RedisResult, TlsCertificates, TlsMode, Value,
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
    Sentinel {
        /// The primary's name among the sentinels.
        master: String,
        /// Whether the sentinels know the address's login too, not the servers alone.
        login: bool,
    },
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
    /// A parameter that says nothing.
    #[error(
        "`{0}` says nothing in an address of sentinels: it has master=NAME and, where the sentinels know no login, \
         sentinel_login=no"
    )]
    Parameter(String),
}

impl FromStr for Address {
    type Err = AddressError;

    /// `redis://user:password@host:6379/0`; several hosts, with commas, for a cluster or sentinels.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(text.to_owned()))?;
        let (plain, kind) = match scheme {
            "redis+unix" => {
                check(text)?;
                return Ok(Self { text: text.to_owned(), kind: Kind::Server, nodes: vec![text.to_owned()] });
            }
            "redis" | "rediss" => (scheme, Kind::Server),
            "redis-cluster" => ("redis", Kind::Cluster),
            "rediss-cluster" => ("rediss", Kind::Cluster),
            "redis-sentinel" => return Self::of_sentinels(text, "redis", rest),
            "rediss-sentinel" => return Self::of_sentinels(text, "rediss", rest),
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        Ok(Self { text: text.to_owned(), kind, nodes: nodes(plain, rest)? })
    }
}

/// Each host of an address as one of its own.
fn nodes(scheme: &str, rest: &str) -> Result<Vec<String>, AddressError> {
    let (login, hosts) = rest.rsplit_once('@').map_or((String::new(), rest), |(l, h)| (format!("{l}@"), h));
    let (hosts, path) = hosts.split_once('/').unwrap_or((hosts, ""));
    let nodes: Vec<String> = hosts.split(',').map(|host| format!("{scheme}://{login}{host}/{path}")).collect();
    for each in &nodes {
        check(each)?;
    }
    Ok(nodes)
}

fn check(node: &str) -> Result<(), AddressError> {
    // What the library says never holds the address.
    node.into_connection_info().map(drop).map_err(|e| AddressError::Malformed(e.to_string()))
}

impl Address {
    fn is_encrypted(&self) -> bool {
        self.nodes.iter().any(|node| node.starts_with("rediss:"))
    }

    fn of_sentinels(text: &str, scheme: &str, rest: &str) -> Result<Self, AddressError> {
        let (rest, parameters) = rest.split_once('?').ok_or(AddressError::NoMaster)?;
        let (mut master, mut login) = (None, true);
        for parameter in parameters.split('&') {
            match parameter.split_once('=') {
                Some(("master", name)) if !name.is_empty() => master = Some(name.to_owned()),
                Some(("sentinel_login", "yes")) => login = true,
                Some(("sentinel_login", "no")) => login = false,
                _ => return Err(AddressError::Parameter(parameter.to_owned())),
            }
        }
        let master = master.ok_or(AddressError::NoMaster)?;
        Ok(Self { text: text.to_owned(), kind: Kind::Sentinel { master, login }, nodes: nodes(scheme, rest)? })
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
    /// What a server's certificate is checked with; the system's authorities when it is nothing.
    ca: Option<TlsCertificates>,
    current: Mutex<Option<Connection>>,
    sentinels: Option<Mutex<SentinelClient>>,
}

impl Connector {
    pub fn new(address: Address, patience: Duration, ca: Option<&str>) -> RedisResult<Self> {
        let ca = ca.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.as_bytes().to_vec()) });
        let sentinels = match &address.kind {
            Kind::Sentinel { master, login } => {
                Some(Mutex::new(sentinels(&address.nodes, master, *login, ca.as_ref())?))
            }
            Kind::Server | Kind::Cluster => None,
        };
        Ok(Self { address, patience, ca, current: Mutex::new(None), sentinels })
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
                let mut builder = ClusterClientBuilder::new(self.address.nodes.clone())
                    .connection_timeout(CONNECT)
                    .response_timeout(self.patience);
                if let (true, Some(ca)) = (self.address.is_encrypted(), &self.ca) {
                    builder = builder.certs(ca.clone());
                }
                let client = builder.build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
            (_, Some(sentinels)) => manager(sentinels.lock().await.async_get_client().await?).await,
            _ => manager(client(&self.address, self.ca.as_ref())?).await,
        }
    }
}

/// Whether an error says that the command was wrong, not that the server is away.
fn is_our_fault(error: &RedisError) -> bool {
    !(error.is_io_error() || error.is_connection_dropped() || error.is_timeout() || error.code() == Some("READONLY"))
}

fn client(address: &Address, ca: Option<&TlsCertificates>) -> RedisResult<Client> {
    let node = address.nodes[0].as_str();
    match ca {
        Some(ca) if address.is_encrypted() => Client::build_with_tls(node, ca.clone()),
        _ => Client::open(node),
    }
}

fn sentinels(nodes: &[String], master: &str, login: bool, ca: Option<&TlsCertificates>) -> RedisResult<SentinelClient> {
    let infos =
        nodes.iter().map(|node| node.as_str().into_connection_info()).collect::<RedisResult<Vec<ConnectionInfo>>>()?;
    let addresses: Vec<ConnectionAddr> = infos.iter().map(|info| info.addr().clone()).collect();
    let encrypted = addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }));
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
    if let Some(known) = infos.first().map(ConnectionInfo::redis_settings) {
        builder = builder.set_client_to_redis_db(known.db());
        if let Some(user) = known.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = known.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let (true, Some(user)) = (login, known.username()) {
            builder = builder.set_client_to_sentinel_username(user);
        }
        if let (true, Some(password)) = (login, known.password()) {
            builder = builder.set_client_to_sentinel_password(password);
        }
    }
    if encrypted {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(ca) = ca {
            builder = builder.set_client_to_redis_certificates(ca.clone());
            builder = builder.set_client_to_sentinel_certificates(ca.clone());
        }
    }
    builder.build()
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
        assert_eq!(sentinels.kind, Kind::Sentinel { master: "main".to_owned(), login: true });
        assert_eq!(sentinels.nodes[1], "redis://b:26379/0");
        let open = read("redis-sentinel://me:pw@a/?sentinel_login=no&master=main");
        assert_eq!(open.kind, Kind::Sentinel { master: "main".to_owned(), login: false });
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_password_shown() {
        let refused = |text: &str| text.parse::<Address>().unwrap_err();
        assert_eq!(refused("amqp://q"), AddressError::Scheme("amqp".to_owned()));
        assert_eq!(refused("redis-sentinel://a:1"), AddressError::NoMaster);
        assert_eq!(refused("redis-sentinel://a:1/?name=main"), AddressError::Parameter("name=main".to_owned()));
        assert!(matches!(refused("redis://:pass word@[/"), AddressError::Malformed(e) if !e.contains("pass")));
        let shown = format!("{:?}", "redis://me:hidden@a:1,b:2".parse::<Address>());
        assert!(!shown.contains("hidden"), "{shown}");
    }
}
