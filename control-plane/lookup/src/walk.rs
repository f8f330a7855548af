//! The walk from the root to those who are in charge of a name.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hickory_proto::{
    op::Message,
    rr::{Name, RecordType},
};
use rand::seq::SliceRandom;
use tokio::{
    sync::{Mutex, Semaphore},
    time::sleep,
};

use crate::{
    address::is_public,
    ask::{Manner, ask},
    authority::{Authority, Delegations, Host},
    found::{Existence, Listed, LookupError, Server, ServerFault},
    judge::{ADDRESSES_MAX, Judged, judge, records},
    settings::Settings,
};

/// How deep the addresses of name servers may depend on further name servers.
const DEPTH_MAX: usize = 6;
/// Addresses of one zone that are asked before it is said to be out.
const TRIES_MAX: usize = 8;
/// A server that has said nothing for so long gets company by the next one.
const HEDGE: Duration = Duration::from_millis(600);

/// What all questions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub settings: Settings,
    delegations: Delegations,
    queries: Semaphore,
    ports: BTreeMap<IpAddr, u16>,
    named: HashSet<IpAddr>,
}

impl Shared {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            delegations: Delegations::new(&settings),
            queries: Semaphore::new(settings.queries.clamp(1, Semaphore::MAX_PERMITS)),
            ports: settings.ports(),
            named: settings.named(),
            settings,
        }
    }
}

/// One question's walk: what it has cost, and the server names whose addresses it has learned.
#[derive(Debug)]
pub(crate) struct Walk {
    shared: Arc<Shared>,
    dnssec: bool,
    spent: AtomicUsize,
    max: usize,
    hosts: Mutex<HashMap<(Name, Families), Vec<IpAddr>>>,
}

/// Which addresses of a server are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Families {
    /// One family is enough to ask it: IPv4, and IPv6 when there is none.
    First,
    /// All that it has.
    All,
}

/// What those in charge said.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub message: Message,
    /// `None` when there is an answer.
    pub nothing: Option<Existence>,
    /// The zone as the walk found it. A server that is in charge of a zone and of its child answers for the child at
    /// once, so the name's own zone may lie deeper.
    pub authority: Arc<Authority>,
    /// Who said it.
    pub server: IpAddr,
}

type Faults = Vec<(Server, ServerFault)>;

/// The names of servers whose addresses are being looked for, the innermost first: what depends on itself is found so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    host: Option<&'a Name>,
    up: Option<&'a Path<'a>>,
    depth: usize,
}

impl Path<'_> {
    /// Of a question that comes from outside.
    pub(crate) const START: Path<'static> = Path { host: None, up: None, depth: 0 };

    fn has(&self, host: &Name) -> bool {
        self.host == Some(host) || self.up.is_some_and(|up| up.has(host))
    }
}

impl Walk {
    /// A walk of at most `max` queries.
    pub(crate) fn new(shared: Arc<Shared>, dnssec: bool, max: usize) -> Self {
        Self { shared, dnssec, spent: AtomicUsize::new(0), max, hosts: Mutex::default() }
    }

    /// Asks those in charge of a name. Boxed, because their own addresses may need the same.
    pub(crate) fn resolve<'a>(
        &'a self,
        name: &'a Name,
        kind: RecordType,
        path: &'a Path<'a>,
    ) -> BoxFuture<'a, Result<Reply, LookupError>> {
        async move {
            let mut authority = self.shared.delegations.nearest(name, kind);
            // Each referral leads at least one label down, so this ends.
            loop {
                let (message, judged, server) = self.ask_any(&authority, name, kind, path).await?;
                let nothing = match judged {
                    Judged::Referral(referral) => {
                        authority = Arc::new(Authority::from(&referral));
                        self.shared.delegations.learn(&referral, &authority);
                        continue;
                    }
                    Judged::Nothing(existence) => Some(existence),
                    Judged::Answer | Judged::Fault(_) => None,
                };
                return Ok(Reply { message, nothing, authority, server });
            }
        }
        .boxed()
    }

    /// The delegation nearest above a name or at it, whether its servers answer or not.
    pub(crate) async fn delegation(&self, name: &Name) -> Result<Arc<Authority>, LookupError> {
        let mut authority = self.shared.delegations.nearest(name, RecordType::SOA);
        loop {
            match self.ask_any(&authority, name, RecordType::SOA, &Path::START).await {
                Ok((_, Judged::Referral(referral), _)) => {
                    authority = Arc::new(Authority::from(&referral));
                    self.shared.delegations.learn(&referral, &authority);
                }
                Ok(_) => return Ok(authority),
                // Of the root and top-level domains nobody wants to know why.
                Err(LookupError::Unanswered { zone, .. }) if zone == authority.zone && zone.iter().len() > 1 => {
                    return Ok(authority);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first answer that counts of a zone's servers. One that is slow gets company by the next.
    async fn ask_any(
        &self,
        authority: &Authority,
        name: &Name,
        kind: RecordType,
        path: &Path<'_>,
    ) -> Result<(Message, Judged, IpAddr), LookupError> {
        let mut faults = Vec::new();
        let mut asked = HashSet::new();
        let servers = order(&authority.hosts);
        if let Some(answer) = self.race(authority, servers, name, kind, &mut asked, &mut faults).await? {
            return Ok(answer);
        }
        for host in authority.hosts.iter().filter(|host| host.addresses.is_empty()) {
            let addresses = self.addresses(&host.name, path, Families::First).await?;
            if addresses.is_empty() {
                faults.push((server(&host.name, None), ServerFault::NoAddress));
            }
            let servers = order(&[Host { name: host.name.clone(), addresses }]);
            if let Some(answer) = self.race(authority, servers, name, kind, &mut asked, &mut faults).await? {
                return Ok(answer);
            }
        }
        if authority.zone.iter().len() == 1 {
            // What is remembered of a top-level domain may be old: the next question begins at the root.
            self.shared.delegations.forget(&authority.zone);
        }
        Err(LookupError::Unanswered { zone: authority.zone.clone(), faults })
    }

    async fn race(
        &self,
        authority: &Authority,
        servers: Vec<Server>,
        name: &Name,
        kind: RecordType,
        asked: &mut HashSet<IpAddr>,
        faults: &mut Faults,
    ) -> Result<Option<(Message, Judged, IpAddr)>, LookupError> {
        let mut waiting = servers.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            if let Some((next, address)) = waiting.find_map(|server| {
                let address = server.address.filter(|address| asked.len() < TRIES_MAX && asked.insert(*address))?;
                Some((server, address))
            }) {
                running.push(async move { (self.ask_one(address, name, kind).await, next, address) });
            } else if running.is_empty() {
                return Ok(None);
            }
            let company = async {
                match waiting.len() {
                    0 => std::future::pending().await,
                    _ => sleep(HEDGE).await,
                }
            };
            let (answer, server, address) = tokio::select! {
                Some(done) = running.next() => done,
                () = company => continue,
            };
            match answer? {
                Ok(message) => match judge(&message, name, kind, &authority.zone) {
                    Judged::Fault(fault) => faults.push((server, fault)),
                    judged => return Ok(Some((message, judged, address))),
                },
                Err(fault) => faults.push((server, fault)),
            }
        }
    }

    /// Asks one address.
    ///
    /// # Errors
    /// When the walk's queries are used up.
    pub(crate) async fn ask_one(
        &self,
        address: IpAddr,
        name: &Name,
        kind: RecordType,
    ) -> Result<Result<Message, ServerFault>, LookupError> {
        if self.spent.fetch_add(1, Ordering::Relaxed) >= self.max {
            return Err(LookupError::TooManyQueries { name: name.clone(), max: self.max });
        }
        if !is_public(address) && !self.shared.named.contains(&address) {
            return Ok(Err(ServerFault::Inner));
        }
        let Ok(_permit) = self.shared.queries.acquire().await else {
            return Ok(Err(ServerFault::Timeout));
        };
        let port = self.shared.ports.get(&address).copied().unwrap_or(53);
        let manner = Manner { timeout: self.shared.settings.server_timeout, dnssec: self.dnssec, recursion: false };
        let answer = ask(SocketAddr::new(address, port), name, kind, manner).await;
        tracing::trace!(%name, %kind, %address, answered = answer.is_ok(), "asked a name server");
        Ok(answer)
    }

    /// The addresses of a server's name; none when it has none, or when they cannot be learned.
    ///
    /// # Errors
    /// When the walk's queries are used up.
    pub(crate) async fn addresses(
        &self,
        host: &Name,
        path: &Path<'_>,
        families: Families,
    ) -> Result<Vec<IpAddr>, LookupError> {
        if path.depth >= DEPTH_MAX || path.has(host) {
            return Ok(Vec::new());
        }
        if let Some(known) = self.hosts.lock().await.get(&(host.clone(), families)) {
            return Ok(known.clone());
        }
        let path = Path { host: Some(host), up: Some(path), depth: path.depth + 1 };
        let mut addresses = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            if families == Families::First && !addresses.is_empty() {
                break;
            }
            match self.resolve(host, kind, &path).await {
                Ok(reply) => {
                    let found = records(&reply.message, host, kind);
                    addresses.extend(found.iter().filter_map(|record| record.data.ip_addr()));
                }
                Err(error @ LookupError::TooManyQueries { .. }) => return Err(error),
                // Its own servers are out: it counts as a server without an address.
                Err(_) => {}
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        self.hosts.lock().await.insert((host.clone(), families), addresses.clone());
        Ok(addresses)
    }
}

pub(crate) fn server(name: &Name, address: Option<IpAddr>) -> Server {
    Server { name: name.clone(), address, listed: Listed::Parent }
}

/// The addresses in the order in which they are tried: hosts at random, each one's first address before any one's
/// second, and IPv4 before IPv6, which not every machine has.
fn order(hosts: &[Host]) -> Vec<Server> {
    let mut servers: Vec<(usize, Server)> = Vec::new();
    for host in hosts {
        let mut addresses = host.addresses.clone();
        addresses.shuffle(&mut rand::rng());
        addresses.sort_by_key(IpAddr::is_ipv6);
        servers.extend(addresses.iter().enumerate().map(|(rank, address)| (rank, server(&host.name, Some(*address)))));
    }
    servers.shuffle(&mut rand::rng());
    servers.sort_by_key(|(rank, server)| (server.address.is_some_and(|address| address.is_ipv6()), *rank));
    servers.into_iter().map(|(_, server)| server).collect()
}
