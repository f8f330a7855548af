//! The API's domains.

use common::domain::DomainName;
use common::domain::api::{Domain, DomainChange, Domains, NewDomain, Suspension, Transfer};
use common::name::ProjectName;
use doctor::Report;
use reqwest::Method;

use super::{Client, Result};

impl Client {
    /// A project's domains by name.
    pub async fn domains(&self, project: &ProjectName) -> Result<Vec<Domain>> {
        self.list(&["projects", project.as_str(), "domains"], usize::MAX).await
    }

    /// Attaches a domain, and its counterpart when both are wanted.
    pub async fn attach_domain(&self, project: &ProjectName, new: &NewDomain) -> Result<Vec<Domain>> {
        let attached: Domains = self.post(&["projects", project.as_str(), "domains"], new).await?;
        Ok(attached.items)
    }

    /// A domain.
    pub async fn domain(&self, name: &DomainName) -> Result<Domain> {
        self.get(&["domains", name.as_str()]).await
    }

    /// Looks at a domain's DNS now.
    pub async fn check_domain(&self, name: &DomainName) -> Result<Domain> {
        self.call(self.request(Method::POST, &["domains", name.as_str(), "check"])).await
    }

    /// Sets a domain's records in the zone held here, and looks at its DNS.
    pub async fn set_domain_records(&self, name: &DomainName) -> Result<Domain> {
        self.call(self.request(Method::POST, &["domains", name.as_str(), "records"])).await
    }

    /// Names what is wrong with a domain.
    pub async fn examine_domain(&self, name: &DomainName) -> Result<Report> {
        self.get(&["domains", name.as_str(), "check"]).await
    }

    /// Changes what a domain's visitors meet; returns when they do.
    pub async fn change_domain(&self, name: &DomainName, change: &DomainChange) -> Result<Domain> {
        self.call(self.request(Method::PATCH, &["domains", name.as_str()]).json(change)).await
    }

    /// Moves a domain, and those that lead to it, to another project.
    pub async fn transfer_domain(&self, name: &DomainName, to: &ProjectName) -> Result<Vec<Domain>> {
        let moved: Domains =
            self.post(&["domains", name.as_str(), "transfer"], &Transfer { project: to.clone() }).await?;
        Ok(moved.items)
    }

    /// Stops a domain, for a reason.
    pub async fn suspend_domain(&self, name: &DomainName, reason: &str) -> Result<Domain> {
        let body = Suspension { reason: reason.to_owned() };
        self.call(self.request(Method::PUT, &["domains", name.as_str(), "suspension"]).json(&body)).await
    }

    /// Lets a stopped domain go on.
    pub async fn resume_domain(&self, name: &DomainName) -> Result<Domain> {
        self.call(self.request(Method::DELETE, &["domains", name.as_str(), "suspension"])).await
    }

    /// Detaches a domain.
    pub async fn remove_domain(&self, name: &DomainName) -> Result<Domain> {
        self.call(self.request(Method::DELETE, &["domains", name.as_str()])).await
    }
}
