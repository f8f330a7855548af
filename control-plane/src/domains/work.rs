//! Looks at domains' DNS when their time has come.

use std::time::Duration;

use common::deployment::Failure;
use common::domain::hostname::Finding;
use common::domain::{Event, Expected, Hostname, Proof, Verdict};
use common::signs;
use common::time::Timestamp;
use doctor::Front;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::judge::{Holder, Known, Leads, judge};
use super::look::{Seen, look};
use super::{DomainError, Domains, TRIES};
use crate::store::domains::{DomainRow, LEASE};

/// Domains that are looked at together, by one control plane: they mostly wait for the network.
const AT_ONCE: usize = 128;
/// Longest time between two questions to the database: other control planes attach domains too.
const LONGEST_SLEEP: Duration = Duration::from_secs(2);
/// Time between two looks at a row that somebody else works on, which mostly takes some hundred milliseconds.
const ANOTHERS_LOOK: Duration = Duration::from_millis(100);
/// Wait after the database failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

impl Domains {
    /// Looks at domains, until `stop`; what is being looked at then is given back.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.look_for_ever() => {}
            () = self.keep_certified() => {}
        }
        if let Err(error) = self.0.store.release_domains(&self.0.holder).await {
            tracing::warn!(%error, rest_s = LEASE.as_secs(), "domains that were being looked at rest");
        }
    }

    /// Each domain is looked at for itself: one whose name servers are silent holds up no other.
    async fn look_for_ever(&self) {
        // Tasks of their own: a look within a transaction has to go on while the next ones are leased.
        let mut looks = JoinSet::new();
        loop {
            let pause = match self.begin(AT_ONCE.saturating_sub(looks.len())).await {
                Ok((begun, pause)) => {
                    for row in begun {
                        let domains = self.clone();
                        looks.spawn(async move { domains.look_and_tell(row).await });
                    }
                    pause
                }
                Err(error) => {
                    tracing::error!(%error, retry_in_s = AFTER_FAILURE.as_secs(), "domains can't be looked at");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                Some(_) = looks.join_next() => {}
                _ = tokio::time::timeout(pause, self.0.woken.notified()) => {}
            }
        }
    }

    /// Leases at most so many domains whose time has come. Gives them, and how long nothing else is due.
    async fn begin(&self, room: usize) -> Result<(Vec<DomainRow>, Duration), DomainError> {
        let store = &self.0.store;
        let mut begun = Vec::new();
        if room == 0 {
            return Ok((begun, LONGEST_SLEEP));
        }
        for row in store.due_domains(Timestamp::now(), u32::try_from(room).unwrap_or(u32::MAX)).await? {
            if store.lease_domain(&row, &self.0.holder, Timestamp::now()).await? {
                begun.push(row);
            }
        }
        let now = Timestamp::now();
        let next = store.next_domain_check(now).await?;
        let pause = next.map_or(LONGEST_SLEEP, |next| next.since(now).min(LONGEST_SLEEP));
        // Without room nothing can be begun before a look ends.
        let pause = if begun.len() == room { LONGEST_SLEEP } else { pause };
        Ok((begun, pause))
    }

    async fn look_and_tell(&self, row: DomainRow) {
        let name = row.name.clone();
        if let Err(error) = self.looked(row).await {
            tracing::error!(domain = %name, %error, retry_in_s = LEASE.as_secs(), "a domain can't be looked at");
        }
    }

    /// A person asks for a look now. Returns the domain after it.
    pub(crate) async fn check(&self, row: DomainRow) -> Result<DomainRow, DomainError> {
        let mut row = self.step(row, Event::Asked).await?;
        let asked = row.version;
        let begun = Instant::now();
        // Another control plane, or this one's own work, may be faster.
        while row.version == asked && begun.elapsed() < LEASE {
            if let Some(looked) = self.try_look(&row).await? {
                return Ok(looked);
            }
            tokio::time::sleep(ANOTHERS_LOOK).await;
            row = self.row(&row.account, &row.name).await?;
        }
        Ok(row)
    }

    /// Looks at a domain's DNS and does what follows; `None` when somebody does so already.
    async fn try_look(&self, row: &DomainRow) -> Result<Option<DomainRow>, DomainError> {
        if !self.0.store.lease_domain(row, &self.0.holder, Timestamp::now()).await? {
            return Ok(None);
        }
        self.looked(row.clone()).await.map(Some)
    }

    /// Looks at a domain that was leased. When that fails, its lease is left to end, so that it is not tried at once.
    async fn looked(&self, mut row: DomainRow) -> Result<DomainRow, DomainError> {
        for _ in 0..TRIES {
            let (verdict, holder) = self.verdict(&row).await?;
            let now = Timestamp::now();
            let hostname = row.hostname.clone().on(Event::Looked(verdict), now, self.0.config.notice)?;
            // Whoever shows by the text that a name is theirs takes it from the account that had it.
            let loser = holder.filter(|holder| hostname.is_served() && holder.name == row.name);
            let taken = match &loser {
                Some(loser) => Some((loser, self.taken(loser, now)?)),
                None => None,
            };
            let from = taken.as_ref().map(|(loser, hostname)| (*loser, hostname));
            if let Some(saved) = self.save(&row, hostname, from).await? {
                return Ok(saved);
            }
            row = self.row(&row.account, &row.name).await?;
            if row.hostname.next_check().is_none() {
                break;
            }
        }
        // Others change it all the time: its time has come again already.
        self.0.store.release_domain(&row, &self.0.holder).await?;
        Ok(row)
    }

    fn taken(&self, loser: &DomainRow, now: Timestamp) -> Result<Hostname, DomainError> {
        let text = self.0.records.text(&loser.name, &loser.account);
        let message = format!(
            "Another account has shown by its TXT record that {} is its own. If it is yours, set the TXT record {} with the \
             value {text}, and remove the other one.",
            loser.name,
            super::records::proof_name(&loser.name)
        );
        Ok(loser.hostname.clone().on(Event::Taken(Failure::new("taken", message)), now, self.0.config.notice)?)
    }

    /// Names below `localhost` are nobody's in particular: whoever attaches one first has it.
    async fn local(&self, row: &DomainRow) -> Result<Verdict, DomainError> {
        let served = self.0.store.served_domain(&row.name).await?;
        Ok(match served.filter(|served| served.account != row.account) {
            None => Verdict::Ours(Proof::Local),
            Some(_) => Verdict::Not {
                finding: Finding::Held,
                cause: Failure::new("held_by_another_account", format!("Another account holds {}.", row.name)),
                seen: Vec::new(),
                expected: Expected::default(),
            },
        })
    }

    /// What the DNS says of a domain, and the other account's domain that stands in its way.
    pub(super) async fn verdict(&self, row: &DomainRow) -> Result<(Verdict, Option<DomainRow>), DomainError> {
        let inner = &self.0;
        if row.name.is_local() {
            return Ok((self.local(row).await?, None));
        }
        let holder = match row.hostname.is_served() {
            true => None,
            false => inner.store.domain_holders(&row.account, &row.name).await?.into_iter().next(),
        };
        let project = row.project_name.as_str();
        let expected = inner.records.of(&row.name, project, &row.account, holder.is_some());
        let seen = match look(&inner.examiners.lookup, &inner.records, &row.name).await {
            Ok(seen) => seen,
            Err(error) => {
                let cause =
                    Failure::new("dns_not_answering", format!("The DNS of {} can't be asked: {error}.", row.name));
                return Ok((Verdict::Not { finding: Finding::Unknown, cause, seen: Vec::new(), expected }, None));
            }
        };
        let leads_to = match seen.cnames.last().and_then(|name| inner.records.project_of(name)) {
            None => None,
            Some(label) => Some(match inner.store.project(label).await? {
                Some(project) if project.account == row.account => Leads::Ours,
                Some(_) => Leads::Others,
                None => Leads::Nobody,
            }),
        };
        let text = inner.records.text(&row.name, &row.account);
        let front = match leads_to {
            None => self.front(row, &seen, &text).await,
            Some(_) => None,
        };
        let known = Known {
            leads_to,
            front,
            text,
            holder: holder.as_ref().map(|holder| Holder {
                name: holder.name.clone(),
                text: (holder.name == row.name).then(|| inner.records.text(&holder.name, &holder.account)),
            }),
        };
        Ok((judge(&inner.records, &row.name, &seen, &known, expected), holder))
    }

    /// What stands in front of a name. It is visited only when its owner asks for that: by the text.
    async fn front(&self, row: &DomainRow, seen: &Seen, text: &str) -> Option<Front> {
        let inner = &self.0;
        let strangers: Vec<_> = seen.addresses.iter().copied().filter(|at| !inner.records.is_edge(*at)).collect();
        if strangers.is_empty() {
            return None;
        }
        if !seen.texts.iter().any(|found| found == text) {
            return Front::by_dns(&seen.cnames, &strangers);
        }
        inner.examiners.doctor.front(row.name.as_str(), &seen.cnames, &strangers, signs::DEPLOYMENT).await
    }
}
