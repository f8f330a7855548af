//! The edges that follow the feed, and those that did a moment ago: an edge that has lost its connection goes on
//! serving, so a change waits for it as for a slow one.

use std::collections::HashMap;
use std::time::Duration;

use common::id::EdgeId;
use common::time::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a change waits for a connected edge to say that it applied it.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after it left an edge is waited for: twice the longest pause that edges make before they reconnect.
const AWAY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for one edge, however often it comes and goes.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(APPLY_TIMEOUT.as_secs() + AWAY_TIMEOUT.as_secs());
/// How long an edge that left is known. Later it is taken for one that was shut down without a word.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);
/// Edges at most that left and are known: those that a crash loop leaves within that time.
const MAX_AWAY: usize = 1024;

/// How it stands with an edge.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// The version that all its connections have applied.
    applied: u64,
    /// When its newest connection began.
    connected: Instant,
    /// Nothing while it is connected.
    left: Option<Left>,
}

/// An edge that lost its last connection.
#[derive(Clone, Copy, Debug)]
struct Left {
    since: Timestamp,
    /// Until when it is waited for.
    until: Timestamp,
    deadline: Instant,
}

impl Left {
    fn since(since: Timestamp) -> Self {
        Self { since, until: Timestamp::now().after(AWAY_TIMEOUT), deadline: Instant::now() + AWAY_TIMEOUT }
    }
}

struct Edge {
    /// Whether it said who it is. One that did not is not known any more once it leaves.
    is_named: bool,
    /// The version that each of its connections has applied, by number: two while a new process takes over from an old
    /// one.
    connections: HashMap<u64, u64>,
    standing: watch::Sender<Standing>,
}

impl Edge {
    fn update(&self, change: impl FnOnce(&mut Standing)) {
        let applied = self.connections.values().copied().min();
        self.standing.send_modify(|standing| {
            standing.applied = applied.unwrap_or(standing.applied);
            change(standing);
        });
    }
}

/// Every edge that is known.
#[derive(Default)]
pub(super) struct Known(HashMap<EdgeId, Edge>);

/// How an edge stands, as it is kept in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is connected, and has applied what it was told first.
    Connected,
    /// It is connected, and has not applied anything yet: what was kept before counts.
    Silent,
    Left(Timestamp),
    Unknown,
}

/// An edge that a change waits for.
pub(super) struct Wait {
    pub(super) edge: EdgeId,
    standing: watch::Receiver<Standing>,
    told: Instant,
}

impl Wait {
    /// Waits until the edge has applied a version; `false` when it did not in time. `None` when it said that it is no
    /// edge any more.
    pub(super) async fn applied(mut self, version: u64) -> Option<bool> {
        let last = self.told + LONGEST_WAIT;
        loop {
            let now = *self.standing.borrow_and_update();
            if now.applied >= version {
                return Some(true);
            }
            let deadline = now.left.map_or(now.connected.max(self.told) + APPLY_TIMEOUT, |left| left.deadline);
            tokio::select! {
                changed = self.standing.changed() => if changed.is_err() {
                    return None;
                },
                () = tokio::time::sleep_until(deadline.min(last)) => {
                    tracing::warn!(edge = %self.edge, version, "an edge did not apply a change in time");
                    return Some(false);
                }
            }
        }
    }
}

impl Known {
    /// The edges that an earlier process knew, and when they left. All are away since now at the latest.
    pub(super) fn remembered(known: Vec<(EdgeId, Option<Timestamp>)>, now: Timestamp) -> Self {
        let mut this = Self::default();
        for (id, left) in known {
            this.edge(id, true).update(|standing| standing.left = Some(Left::since(left.unwrap_or(now))));
        }
        this
    }

    fn edge(&mut self, id: EdgeId, is_named: bool) -> &mut Edge {
        self.0.entry(id).or_insert_with(|| {
            let standing = Standing { applied: 0, connected: Instant::now(), left: None };
            Edge { is_named, connections: HashMap::new(), standing: watch::Sender::new(standing) }
        })
    }

    /// Adds a connection of this number.
    pub(super) fn connect(&mut self, id: EdgeId, is_named: bool, connection: u64) {
        let edge = self.edge(id, is_named);
        edge.connections.insert(connection, 0);
        edge.update(|standing| (standing.connected, standing.left) = (Instant::now(), None));
    }

    /// A connection says that it applied a version. Gives whether it is the first word of an edge that says who it is.
    pub(super) fn applied(&mut self, id: &EdgeId, connection: u64, version: u64) -> bool {
        let Some(edge) = self.0.get_mut(id) else { return false };
        let Some(applied) = edge.connections.get_mut(&connection) else { return false };
        let is_first = *applied == 0 && version > 0;
        *applied = version.max(*applied);
        edge.update(|_| {});
        is_first && edge.is_named
    }

    /// How many edges are connected.
    pub(super) fn connected(&self) -> usize {
        self.0.values().filter(|edge| !edge.connections.is_empty()).count()
    }

    /// Edges that are connected, and said who they are.
    pub(super) fn named(&self) -> Vec<EdgeId> {
        let named = self.0.iter().filter(|(_, edge)| edge.is_named && !edge.connections.is_empty());
        named.map(|(id, _)| id.clone()).collect()
    }

    /// Whether any edge has left.
    pub(super) fn has_left(&self) -> bool {
        self.0.values().any(|edge| edge.connections.is_empty())
    }

    /// Edges whose control plane is gone, and when they left it: they are waited for here from now on.
    pub(super) fn inherit(&mut self, edges: Vec<(EdgeId, Timestamp)>) {
        for (id, left) in edges {
            if !self.0.contains_key(&id) {
                self.edge(id, true).update(|standing| standing.left = Some(Left::since(left)));
            }
        }
    }

    /// Edges that hang on other control planes: those that have left are waited for there.
    pub(super) fn part_with(&mut self, edges: &[EdgeId]) {
        for id in edges {
            if self.0.get(id).is_some_and(|edge| edge.connections.is_empty()) {
                self.0.remove(id);
            }
        }
    }

    /// The edges that have not applied a version: the one that each has applied, and when it left.
    pub(super) fn behind_of(&self, version: u64) -> Vec<(EdgeId, u64, Option<Timestamp>)> {
        let each = self.0.iter().map(|(id, edge)| (id, *edge.standing.borrow()));
        let behind = each.filter(|(_, now)| now.applied < version);
        behind.map(|(id, now)| (id.clone(), now.applied, now.left.map(|left| left.since))).collect()
    }

    /// A connection has ended; the edge is not known any more when it was its last, and it `is_gone` for good or never
    /// said who it is. Gives whether it is known.
    pub(super) fn disconnect(&mut self, id: &EdgeId, connection: u64, is_gone: bool) -> bool {
        let Some(edge) = self.0.get_mut(id) else { return false };
        if edge.connections.remove(&connection).is_none() {
            return true;
        }
        if !edge.connections.is_empty() {
            edge.update(|_| {});
        } else if is_gone || !edge.is_named {
            self.0.remove(id);
            return false;
        } else {
            edge.update(|standing| standing.left = Some(Left::since(Timestamp::now())));
        }
        true
    }

    /// Every edge, to wait for. Those away for too long are late at once.
    pub(super) fn waits(&self) -> Vec<Wait> {
        let wait = |(id, edge): (&EdgeId, &Edge)| Wait {
            edge: id.clone(),
            standing: edge.standing.subscribe(),
            told: Instant::now(),
        };
        self.0.iter().map(wait).collect()
    }

    /// Which edges have not applied a version, and what is done about it; `of` limits the answer to some. Nothing when
    /// all have.
    pub(super) fn behind(&self, version: u64, of: Option<&[EdgeId]>) -> Option<String> {
        let mut behind: Vec<_> = self.0.iter().map(|(id, edge)| (id, *edge.standing.borrow())).collect();
        behind.retain(|(id, now)| now.applied < version && of.is_none_or(|of| of.contains(id)));
        behind.sort_by_key(|(id, _)| *id);
        let (first, now) = behind.first()?;
        let others = match behind.len() - 1 {
            0 => String::new(),
            1 => " (1 more edge is behind)".to_owned(),
            n => format!(" ({n} more edges are behind)"),
        };
        let now_at = Timestamp::now();
        Some(match now.left {
            Some(left) if of.is_none() && left.until > now_at => format!(
                "Edge {first} is away since {}, and serves this once it is back; it is waited for until {}{others}.",
                left.since, left.until
            ),
            Some(left) => format!(
                "Edge {first} is away since {}, and may serve what was live before until it is back{others}.",
                left.since
            ),
            None if of.is_none() => {
                format!("Edge {first} is connected, and has not said yet that it serves this{others}.")
            }
            None => format!("Edge {first} is slow, and may serve what was live before for some moments{others}."),
        })
    }

    /// How it stands with an edge, to be kept.
    pub(super) fn kept(&self, id: &EdgeId) -> Kept {
        match self.0.get(id) {
            Some(edge) => match edge.standing.borrow().left {
                Some(left) => Kept::Left(left.since),
                None if edge.connections.values().all(|applied| *applied == 0) => Kept::Silent,
                None => Kept::Connected,
            },
            None => Kept::Unknown,
        }
    }

    /// Forgets edges that left long ago, and of too many those that left first. Gives which.
    pub(super) fn forget(&mut self, now: Timestamp) -> Vec<EdgeId> {
        let left = |edge: &Edge| edge.standing.borrow().left.map(|left| left.since);
        let mut away: Vec<_> = self.0.iter().filter_map(|(id, edge)| Some((left(edge)?, id.clone()))).collect();
        away.sort();
        let too_many = away.len().saturating_sub(MAX_AWAY);
        let old = |(n, (since, _)): &(usize, (Timestamp, EdgeId))| *n < too_many || now.since(*since) > KNOWN_FOR;
        let gone: Vec<_> = away.into_iter().enumerate().filter(old).map(|(_, (_, id))| id).collect();
        gone.iter().for_each(|id| drop(self.0.remove(id)));
        gone
    }
}

/// That an edge is behind a change which is not waited for any more.
pub(super) fn late(edge: &EdgeId, left: Option<Timestamp>) -> String {
    match left {
        Some(since) => {
            format!("Edge {edge} is away since {since}, and may serve what was live before until it is back.")
        }
        None => format!("Edge {edge} is slow, and may serve what was live before for some moments."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn only(edges: &Known) -> Wait {
        edges.waits().pop().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_left_is_waited_for_until_it_is_back_and_has_applied_the_change() {
        let (id, mut edges) = (EdgeId::new(), Known::default());
        edges.connect(id.clone(), true, 1);
        edges.applied(&id, 1, 1);
        edges.disconnect(&id, 1, false);
        assert!(edges.behind(2, None).unwrap().contains("is away since"));
        let waiting = tokio::spawn(only(&edges).applied(2));
        tokio::time::advance(AWAY_TIMEOUT - Duration::from_secs(1)).await;
        edges.connect(id.clone(), true, 2);
        assert!(edges.behind(2, None).unwrap().contains("has not said yet"));
        edges.applied(&id, 2, 2);
        assert_eq!(waiting.await.unwrap(), Some(true));
        assert_eq!(edges.behind(2, None), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_stays_away_is_late_and_later_changes_do_not_wait_for_it() {
        let (id, mut edges) = (EdgeId::new(), Known::remembered(Vec::new(), Timestamp::now()));
        edges.connect(id.clone(), true, 1);
        edges.disconnect(&id, 1, false);
        assert_eq!(only(&edges).applied(1).await, Some(false));
        let before = Instant::now();
        assert_eq!(only(&edges).applied(2).await, Some(false));
        assert_eq!(before, Instant::now());
        assert!(edges.behind(1, Some(std::slice::from_ref(&id))).unwrap().contains("may serve what was live before"));
        assert_eq!(edges.behind(1, Some(&[EdgeId::new()])), None, "another one was late");
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_says_nothing_is_late_after_its_time() {
        let mut edges = Known::default();
        edges.connect(EdgeId::new(), true, 1);
        assert_eq!(only(&edges).applied(1).await, Some(false));
    }

    #[tokio::test]
    async fn an_edge_that_says_goodbye_is_not_waited_for() {
        let (id, mut edges) = (EdgeId::new(), Known::default());
        edges.connect(id.clone(), true, 1);
        let waiting = tokio::spawn(only(&edges).applied(1));
        edges.disconnect(&id, 1, true);
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!((edges.waits().len(), edges.kept(&id)), (0, Kept::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_process_takes_over_from_another_both_are_waited_for() {
        let (id, mut edges) = (EdgeId::new(), Known::default());
        edges.connect(id.clone(), true, 1);
        edges.connect(id.clone(), true, 2);
        edges.applied(&id, 1, 5);
        assert!(edges.behind(5, None).is_some());
        edges.disconnect(&id, 1, true);
        assert_eq!(edges.kept(&id), Kept::Silent, "the one that stays has not said anything");
        assert!(edges.applied(&id, 2, 5));
        assert_eq!(edges.kept(&id), Kept::Connected);
        assert_eq!(only(&edges).applied(5).await, Some(true));
    }

    #[tokio::test]
    async fn an_edge_that_does_not_say_who_it_is_is_not_known_once_it_leaves() {
        let (named, anonymous, mut edges) = (EdgeId::new(), EdgeId::new(), Known::default());
        edges.connect(named.clone(), true, 1);
        edges.connect(anonymous.clone(), false, 2);
        assert!(edges.disconnect(&named, 1, false));
        assert!(!edges.disconnect(&anonymous, 2, false));
        assert_eq!(edges.kept(&anonymous), Kept::Unknown);
        assert!(matches!(edges.kept(&named), Kept::Left(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_left_for_another_control_plane_is_waited_for_there() {
        let (id, stays, mut edges) = (EdgeId::new(), EdgeId::new(), Known::default());
        edges.connect(id.clone(), true, 1);
        edges.connect(stays.clone(), true, 2);
        edges.disconnect(&id, 1, false);
        let waiting = tokio::spawn(edges.waits().into_iter().find(|wait| wait.edge == id).unwrap().applied(1));
        edges.part_with(&[id.clone(), stays.clone()]);
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!((edges.waits().len(), edges.has_left()), (1, false), "one that is connected here stays");
        edges.inherit(vec![(id.clone(), Timestamp::now()), (stays, Timestamp::now())]);
        assert_eq!(edges.behind_of(1).len(), 2);
        assert_eq!((edges.connected(), edges.has_left()), (1, true));
    }

    #[tokio::test]
    async fn edges_that_left_long_ago_are_forgotten() {
        let now = Timestamp::now();
        let (long_ago, lately) = (EdgeId::new(), EdgeId::new());
        let known = vec![(long_ago.clone(), Some(now.before(KNOWN_FOR * 2))), (lately, None)];
        let mut edges = Known::remembered(known, now);
        assert_eq!(edges.forget(now), [long_ago]);
        assert_eq!(edges.waits().len(), 1);
    }
}
