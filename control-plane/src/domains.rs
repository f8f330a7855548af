//! Custom domains: attached by developers, verified by the DNS, served and certified once it is shown whose they are.
//!
//! The row is the truth. [`work`] looks at the DNS when a row's time has come, [`judge`] makes a verdict of what it saw,
//! and the state machine of `common` decides. Any number of control planes work on the same rows: whoever looks at a
//! domain has leased it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::api::MAX_PAGE;
use common::domain::api::{Domain, DomainChange, DomainRedirect, DomainSettings, NewDomain};
use common::domain::{DomainName, Event, Expected, Hostname};
use common::id::ProjectId;
use common::time::Timestamp;
use doctor::Doctor;
use lookup::Lookup;
use tokio::sync::Notify;
use url::Url;

use crate::feed::Hub;
use crate::issuing::Issuing;
use crate::store::Store;
use crate::store::domains::{Attached, DomainRow};
use crate::store::projects::ProjectRow;

mod certificate;
mod error;
mod examine;
mod judge;
mod look;
mod records;
mod work;

pub(crate) use error::DomainError;
use records::Records;

/// How often a change is tried again that another one came before.
const TRIES: usize = 5;

/// What is to be known of domains.
#[derive(Clone, Debug)]
pub struct DomainsConfig {
    /// The edges' public addresses, to which registered names point.
    pub addresses: Vec<IpAddr>,
    /// How long a domain that leads elsewhere is served on.
    pub notice: Duration,
    /// Most domains of a project.
    pub per_project: u32,
}

impl Default for DomainsConfig {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            // A weekend in which nobody reads what the platform says.
            notice: Duration::from_secs(3 * 24 * 60 * 60),
            per_project: 100,
        }
    }
}

/// Who looks at domains.
pub(crate) struct Examiners {
    /// Asks the DNS.
    pub lookup: Lookup,
    /// Visits what answers, and names what is wrong.
    pub doctor: Doctor,
}

/// Operations on domains. Cheap to clone.
#[derive(Clone)]
pub struct Domains(Arc<Inner>);

struct Inner {
    store: Store,
    hub: Hub,
    issuing: Issuing,
    examiners: Examiners,
    config: DomainsConfig,
    records: Records,
    base_domain: String,
    sites_url: Url,
    /// Who this process is, among those that look at domains.
    holder: String,
    /// A domain's time has come earlier than was known.
    woken: Notify,
}

impl Domains {
    /// Operations on the rows of `store`.
    pub(crate) fn new(
        store: Store,
        hub: Hub,
        issuing: Issuing,
        examiners: Examiners,
        config: DomainsConfig,
        base_domain: &str,
        sites_url: &Url,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            hub,
            issuing,
            examiners,
            records: Records::new(base_domain, &config.addresses),
            config,
            base_domain: base_domain.to_owned(),
            sites_url: sites_url.clone(),
            holder: common::secret::Secret::random("").reveal().to_owned(),
            woken: Notify::new(),
        }))
    }

    /// An account's domain.
    pub(crate) async fn row(&self, account: &str, name: &DomainName) -> Result<DomainRow, DomainError> {
        let row = self.0.store.domain(account, name).await?;
        row.ok_or_else(|| DomainError::NoSuchDomain(name.clone()))
    }

    /// Attaches a domain, and its counterpart when both are wanted. Their DNS is looked at soon.
    pub(crate) async fn attach(&self, project: &ProjectRow, new: NewDomain) -> Result<Vec<DomainRow>, DomainError> {
        let now = Timestamp::now();
        let name = new.name.outside(&self.0.base_domain)?;
        let settings = DomainSettings { redirect: new.redirect, https_redirect: new.https_redirect, hsts: new.hsts };
        let mut wanted = vec![(name.clone(), settings.clone())];
        if new.pair {
            if settings.redirect.is_some() {
                return Err(DomainError::PairAndRedirect);
            }
            let other = name.counterpart().ok_or_else(|| DomainError::NoPair(name.clone()))?;
            let redirect = Some(DomainRedirect { to: name.clone(), status: Default::default() });
            wanted.push((other.outside(&self.0.base_domain)?, DomainSettings { redirect, ..settings.clone() }));
        } else if let Some(redirect) = &settings.redirect {
            self.check_redirect(project, &name, redirect).await?;
        }
        let mut rows = Vec::with_capacity(wanted.len());
        for (name, settings) in wanted {
            if name.is_apex() && !name.is_local() && self.0.config.addresses.is_empty() {
                return Err(DomainError::NoAddresses(name));
            }
            let expected = self.0.records.of(&name, project.name.as_str(), &project.account, false);
            let mut row = DomainRow {
                hostname: Hostname::attached(expected, now),
                name,
                account: project.account.clone(),
                project: project.id.clone(),
                project_name: project.name.clone(),
                settings,
                version: 0,
                created_at: now,
            };
            // No DNS is asked for these, so there is nothing to wait for.
            if row.name.is_local() {
                let (verdict, _) = self.verdict(&row).await?;
                row.hostname = row.hostname.on(Event::Looked(verdict), now, self.0.config.notice)?;
            }
            rows.push(row);
        }
        let limit = self.0.config.per_project;
        match self.0.store.insert_domains(&rows, limit).await? {
            Attached::Done => {}
            Attached::Taken(name) => {
                let row = self.row(&project.account, &name).await?;
                return Err(DomainError::Attached { name, project: row.project_name });
            }
            Attached::TooMany => return Err(DomainError::TooMany { project: project.name.clone(), limit }),
        }
        for row in &rows {
            tracing::info!(domain = %row.name, project = %row.project_name, "attached a domain");
        }
        if rows.iter().any(|row| row.hostname.is_served()) {
            self.0.hub.refresh(&project.id).await?;
        }
        self.0.woken.notify_one();
        Ok(rows)
    }

    /// Changes what a domain's visitors meet; returns when they do.
    pub(crate) async fn change(&self, row: DomainRow, change: DomainChange) -> Result<DomainRow, DomainError> {
        let project = self.project(&row).await?;
        let settings = row.settings.clone().changed(change);
        if let Some(redirect) = &settings.redirect {
            self.check_redirect(&project, &row.name, redirect).await?;
            if let Some(by) = self.leading_to(&row).await?.first() {
                return Err(DomainError::LedTo { name: row.name, by: by.name.clone() });
            }
        }
        self.0.store.set_domain_settings(&row, &settings).await?;
        self.0.hub.refresh(&row.project).await?;
        Ok(DomainRow { settings, ..row })
    }

    /// Moves a domain, and those that lead to it, to another project of the account. Returns when visitors get that one;
    /// at every moment they get one of the two.
    pub(crate) async fn transfer(&self, row: DomainRow, to: &ProjectRow) -> Result<Vec<DomainRow>, DomainError> {
        if to.account != row.account {
            return Err(DomainError::OtherAccount(to.name.clone()));
        }
        if let Some(redirect) = &row.settings.redirect {
            return Err(DomainError::LeadsAway { name: row.name, to: redirect.to.clone() });
        }
        if to.id == row.project {
            return Ok(vec![row]);
        }
        if row.hostname.is_served() && to.live_deployment.is_none() {
            return Err(DomainError::NotLive(to.name.clone()));
        }
        let (name, account, from) = (row.name.clone(), row.account.clone(), row.project.clone());
        let mut rows = vec![row];
        rows.extend(self.leading_to(&rows[0]).await?);
        let limit = self.0.config.per_project;
        let write = self.0.store.transfer_domains(&rows, &to.id, limit);
        // The project that loses them comes first: so they are not taken from the one that gets them.
        if !self.0.hub.refresh_after(&[&from, &to.id], write).await? {
            let gone = self.row(&account, &name).await?;
            return Err(match gone.project == from {
                true => DomainError::TooMany { project: to.name.clone(), limit },
                false => DomainError::Busy,
            });
        }
        for row in &mut rows {
            tracing::info!(domain = %row.name, from = %row.project_name, to = %to.name, "a domain shows another project");
            *row = self.row(&account, &row.name).await?;
        }
        Ok(rows)
    }

    /// Detaches a domain: it stops answering at once, and its certificate is not renewed.
    pub(crate) async fn remove(&self, row: DomainRow) -> Result<DomainRow, DomainError> {
        if let Some(by) = self.leading_to(&row).await?.first() {
            return Err(DomainError::LedTo { name: row.name, by: by.name.clone() });
        }
        let hostname = row.hostname.clone().on(Event::Removed, Timestamp::now(), self.0.config.notice)?;
        self.0.store.delete_domain(&row).await?;
        self.0.hub.refresh(&row.project).await?;
        self.certify(&row, &hostname).await?;
        tracing::info!(domain = %row.name, project = %row.project_name, "removed a domain");
        Ok(DomainRow { hostname, ..row })
    }

    /// All domains of a project.
    pub(crate) async fn of_project(&self, project: &ProjectId) -> Result<Vec<DomainRow>, DomainError> {
        let mut all: Vec<DomainRow> = Vec::new();
        loop {
            let after = all.last().map_or("", |row| row.name.as_str());
            let page = self.0.store.domains(project, after, MAX_PAGE).await?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    /// These domains went with their project.
    pub(crate) async fn gone(&self, rows: &[DomainRow]) -> Result<(), DomainError> {
        for row in rows {
            self.certify(row, &Hostname::Removed { at: Timestamp::now() }).await?;
        }
        Ok(())
    }

    /// The operator stops a domain.
    pub(crate) async fn suspend(&self, row: DomainRow, reason: &str) -> Result<DomainRow, DomainError> {
        let cause = common::deployment::Failure::new("suspended", reason);
        self.step(row, Event::Suspended(cause)).await
    }

    /// The operator lets a domain go on: its DNS is looked at anew.
    pub(crate) async fn resume(&self, row: DomainRow) -> Result<DomainRow, DomainError> {
        let row = self.step(row, Event::Resumed).await?;
        self.0.woken.notify_one();
        Ok(row)
    }

    /// A person's event.
    async fn step(&self, mut row: DomainRow, event: Event) -> Result<DomainRow, DomainError> {
        for _ in 0..TRIES {
            let hostname = row.hostname.clone().on(event.clone(), Timestamp::now(), self.0.config.notice)?;
            if let Some(row) = self.save(&row, hostname, None).await? {
                return Ok(row);
            }
            row = self.row(&row.account, &row.name).await?;
        }
        Err(DomainError::Busy)
    }

    /// Saves a state, and does what follows from it: routes and certificates. `None` when it changed meanwhile.
    async fn save(
        &self,
        row: &DomainRow,
        hostname: Hostname,
        from: Option<(&DomainRow, &Hostname)>,
    ) -> Result<Option<DomainRow>, DomainError> {
        let inner = &self.0;
        let (was, is) = (row.hostname.as_str(), hostname.as_str());
        let changes_routes = row.hostname.is_served() != hostname.is_served();
        let saved = match (changes_routes, from) {
            (true, Some((other, _))) => {
                let write = inner.store.save_domain(row, &hostname, from);
                inner.hub.refresh_after(&[&other.project, &row.project], write).await?
            }
            (true, None) => {
                inner.hub.refresh_after(&[&row.project], inner.store.save_domain(row, &hostname, None)).await?
            }
            (false, _) => inner.store.save_domain(row, &hostname, None).await?,
        };
        if !saved {
            return Ok(None);
        }
        if was != is {
            let cause = hostname.cause().map(|cause| cause.code.as_str());
            tracing::info!(domain = %row.name, project = %row.project_name, was, is, cause, "a domain's state changed");
        }
        self.certify(row, &hostname).await?;
        Ok(Some(DomainRow { hostname, version: row.version + 1, ..row.clone() }))
    }

    /// Domains whose visitors are led to this one.
    async fn leading_to(&self, row: &DomainRow) -> Result<Vec<DomainRow>, DomainError> {
        let mut all = self.of_project(&row.project).await?;
        all.retain(|other| other.settings.redirect.as_ref().is_some_and(|redirect| redirect.to == row.name));
        Ok(all)
    }

    /// Refuses a redirect that leads nowhere.
    async fn check_redirect(
        &self,
        project: &ProjectRow,
        from: &DomainName,
        redirect: &DomainRedirect,
    ) -> Result<(), DomainError> {
        let target = self.0.store.domain(&project.account, &redirect.to).await?;
        let why = match target {
            _ if redirect.to == *from => "it is the same domain",
            _ if redirect.to.is_wildcard() => "a wildcard is no address",
            None => "it is not attached; attach it first, or attach both at once as a pair",
            Some(target) if target.project != project.id => "it shows another project",
            Some(target) if target.settings.redirect.is_some() => "its visitors are led elsewhere themselves",
            Some(_) => return Ok(()),
        };
        Err(DomainError::BadRedirect { from: from.clone(), to: redirect.to.clone(), why })
    }

    async fn project(&self, row: &DomainRow) -> Result<ProjectRow, DomainError> {
        let project = self.0.store.project(row.project.as_str()).await?;
        project.ok_or_else(|| DomainError::NoSuchDomain(row.name.clone()))
    }

    /// The records that a domain needs.
    fn records(&self, row: &DomainRow) -> Expected {
        let expected = row.hostname.waiting().map(|waiting| &waiting.expected);
        let is_required = expected.is_some_and(|expected| expected.prove_required);
        self.0.records.of(&row.name, row.project_name.as_str(), &row.account, is_required)
    }

    /// A domain as people see it.
    pub(crate) async fn show(&self, row: DomainRow) -> Result<Domain, DomainError> {
        let records = self.records(&row);
        let mut url = self.0.sites_url.clone();
        // It is a host's name, so this can't fail.
        let _ = url.set_host(Some(row.name.base()));
        Ok(Domain {
            certificate: self.certificate(&row).await?,
            unicode: row.name.unicode(),
            url: (!row.name.is_wildcard()).then_some(url),
            project: row.project_name,
            hostname: row.hostname,
            records,
            settings: row.settings,
            created_at: row.created_at,
            name: row.name,
        })
    }
}

#[cfg(test)]
mod tests;
