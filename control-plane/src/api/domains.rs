//! Custom domains.

use axum::Json;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::Page;
use common::domain::DomainName;
use common::domain::api::{Domain, DomainChange, Domains, NewDomain, Suspension, Transfer};
use common::problem::Problem;
use doctor::Report;

use super::State;
use super::error::{ApiError, Body, Path, Query};
use super::projects::Paging;
use crate::domains::DomainError;
use crate::store::domains::DomainRow;
use crate::store::projects::OWNER;

impl From<DomainError> for ApiError {
    fn from(error: DomainError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            DomainError::Store(e) => e.into(),
            DomainError::Issuing(_) | DomainError::Certificate(_) => Self::internal(&error),
            DomainError::Name(_) | DomainError::NoPair(_) => Self::new(422, "invalid_domain", detail),
            DomainError::PairAndRedirect | DomainError::BadRedirect { .. } => {
                Self::new(422, "invalid_redirect", detail)
            }
            DomainError::NoSuchDomain(_) => Self::not_found(detail),
            DomainError::Attached { .. } => Self::new(409, "domain_attached", detail),
            DomainError::TooMany { .. } => Self::new(409, "too_many_domains", detail),
            DomainError::NoAddresses(_) => Self::new(409, "no_edge_addresses", detail),
            DomainError::LedTo { .. } | DomainError::LeadsAway { .. } => Self::new(409, "redirect_in_use", detail),
            DomainError::NotLive(_) => Self::new(409, "nothing_live", detail),
            DomainError::OtherAccount(_) => Self::new(409, "another_account", detail),
            DomainError::State(_) => Self::new(409, "not_in_this_state", detail),
            DomainError::Busy => Self::new(409, "changed_meanwhile", detail),
        }
    }
}

/// A message as a sentence.
fn sentence(message: &str) -> String {
    let mut text = format!("{message}.");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

impl State {
    /// The domain of this name, in Unicode or as the DNS has it.
    pub(super) async fn domain(&self, name: &str) -> Result<DomainRow, ApiError> {
        let name: DomainName = name.parse().map_err(DomainError::Name)?;
        Ok(self.0.domains.row(OWNER, &name).await?)
    }

    async fn shown(&self, row: DomainRow) -> Result<Json<Domain>, ApiError> {
        Ok(Json(self.0.domains.show(row).await?))
    }

    async fn all_shown(&self, rows: Vec<DomainRow>) -> Result<Vec<Domain>, ApiError> {
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            items.push(self.0.domains.show(row).await?);
        }
        Ok(items)
    }
}

/// Lists a project's domains by name.
#[utoipa::path(get, path = "/projects/{project}/domains", tag = "domains",
    params(("project" = String, Path, description = "Name or id"), Paging),
    responses((status = 200, body = Page<Domain>), (status = 404, body = Problem)))]
pub(super) async fn list(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Domain>>, ApiError> {
    let limit = paging.limit()?;
    let project = state.project(&project).await?;
    let rows = state.0.store.domains(&project.id, paging.cursor.as_deref().unwrap_or(""), limit + 1).await?;
    let (rows, next_cursor) = Paging::page(rows, limit, |row| row.name.to_string());
    Ok(Json(Page { items: state.all_shown(rows).await?, next_cursor }))
}

/// Attaches a domain to a project; the answer names the records to set. It is served once these show whose it is.
#[utoipa::path(post, path = "/projects/{project}/domains", tag = "domains",
    params(("project" = String, Path, description = "Name or id")), request_body = NewDomain,
    responses((status = 201, body = Domains), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn attach(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(new): Body<NewDomain>,
) -> Result<(StatusCode, Json<Domains>), ApiError> {
    let project = state.project(&project).await?;
    let rows = state.0.domains.attach(&project, new).await?;
    Ok((StatusCode::CREATED, Json(Domains { items: state.all_shown(rows).await? })))
}

/// Reads a domain.
#[utoipa::path(get, path = "/domains/{name}", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Domain), (status = 404, body = Problem)))]
pub(super) async fn read(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    state.shown(row).await
}

/// Changes what a domain's visitors meet: what is given replaces, `null` takes back. Answers when they meet it.
#[utoipa::path(patch, path = "/domains/{name}", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")), request_body = DomainChange,
    responses((status = 200, body = Domain), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn change(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Body(change): Body<DomainChange>,
) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let row = state.0.domains.change(row, change).await?;
    state.shown(row).await
}

/// Detaches a domain: it stops answering at once.
#[utoipa::path(delete, path = "/domains/{name}", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Domain), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn remove(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let row = state.0.domains.remove(row).await?;
    state.shown(row).await
}

/// Looks at a domain's DNS now, and often again for a while; answers with what came of it.
#[utoipa::path(post, path = "/domains/{name}/check", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Domain), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn check(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let row = state.0.domains.check(row).await?;
    state.shown(row).await
}

/// Names what is wrong with a domain, each fault with the record that mends it: its registration, name servers,
/// signatures, records, who may issue certificates, and what answers at its addresses. It takes up to a minute.
#[utoipa::path(get, path = "/domains/{name}/check", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Report), (status = 404, body = Problem)))]
pub(super) async fn examine(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
) -> Result<Json<Report>, ApiError> {
    let row = state.domain(&name).await?;
    Ok(Json(state.0.domains.examine(&state.0.certificates, &row).await?))
}

/// Moves a domain, and those that lead to it, to another project; answers when visitors get that one.
#[utoipa::path(post, path = "/domains/{name}/transfer", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")), request_body = Transfer,
    responses((status = 200, body = Domains), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn transfer(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Body(transfer): Body<Transfer>,
) -> Result<Json<Domains>, ApiError> {
    let row = state.domain(&name).await?;
    let to = state.project(transfer.project.as_str()).await?;
    let rows = state.0.domains.transfer(row, &to).await?;
    Ok(Json(Domains { items: state.all_shown(rows).await? }))
}

/// Stops a domain for a reason that its owner is told.
#[utoipa::path(put, path = "/domains/{name}/suspension", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")), request_body = Suspension,
    responses((status = 200, body = Domain), (status = 404, body = Problem)))]
pub(super) async fn suspend(
    Extract(state): Extract<State>,
    Path(name): Path<String>,
    Body(suspension): Body<Suspension>,
) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let row = state.0.domains.suspend(row, &suspension.reason).await?;
    state.shown(row).await
}

/// Lets a stopped domain go on: its DNS is looked at anew.
#[utoipa::path(delete, path = "/domains/{name}/suspension", tag = "domains",
    params(("name" = String, Path, description = "In Unicode or as the DNS has it")),
    responses((status = 200, body = Domain), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn resume(Extract(state): Extract<State>, Path(name): Path<String>) -> Result<Json<Domain>, ApiError> {
    let row = state.domain(&name).await?;
    let row = state.0.domains.resume(row).await?;
    state.shown(row).await
}
