//! Kept answers of apps that edges are to forget.

use axum::Json;
use axum::extract::State as Extract;
use common::api::{PurgeRequest, PurgeResult};
use common::problem::Problem;
use common::route::{Purge, Purged};
use url::Url;

use super::State;
use super::error::{ApiError, Body, Path};
use crate::store::projects::ProjectRow;

/// Longest tag in bytes: what an edge takes of a `Cache-Tag`.
const MAX_TAG: usize = 1024;

/// Makes the edges forget kept answers of a project's apps; answers when they have.
#[utoipa::path(post, path = "/projects/{project}/purge", tag = "purge", params(("project" = String, Path, description = "Name or id")),
    request_body = PurgeRequest,
    responses((status = 200, body = PurgeResult), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn create(
    Extract(state): Extract<State>,
    Path(project): Path<String>,
    Body(request): Body<PurgeRequest>,
) -> Result<Json<PurgeResult>, ApiError> {
    let project = state.project(&project).await?;
    let what = state.purged(&project, request).await?;
    let arrived = state.0.hub.purge(Purge { project: project.name.to_string(), what }).await?;
    Ok(Json(PurgeResult { edges: arrived.edges, late: arrived.late }))
}

impl State {
    async fn purged(&self, project: &ProjectRow, request: PurgeRequest) -> Result<Purged, ApiError> {
        let host = match &request {
            PurgeRequest { everything: true, host: None, url: None, tag: None } => return Ok(Purged::Everything),
            PurgeRequest { everything: false, host: Some(host), url: None, tag: None } => host.to_ascii_lowercase(),
            PurgeRequest { everything: false, host: None, url: Some(url), tag: None } => {
                url.host_str().unwrap_or_default().to_owned()
            }
            PurgeRequest { everything: false, host: None, url: None, tag: Some(tag) } => {
                if tag.is_empty() || tag.len() > MAX_TAG || !tag.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
                    let detail = format!("A tag has 1 to {MAX_TAG} visible ASCII characters, without commas.");
                    return Err(ApiError::invalid(detail));
                }
                return Ok(Purged::Tag(tag.clone()));
            }
            _ => {
                return Err(ApiError::invalid("Say one thing to purge: `everything`, `host`, `url` or `tag`."));
            }
        };
        if !self.0.hub.has_host(&project.id, &host).await {
            return Err(ApiError::invalid(format!("`{host}` is no address of the project `{}`.", project.name)));
        }
        Ok(match &request.url {
            Some(url) => Purged::Url(address(&host, url)),
            None => Purged::Host(host),
        })
    }
}

/// An address as the edges know it: without scheme, port and fragment.
fn address(host: &str, url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{host}{}{query}", url.path())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_told_as_visitors_ask_for_it() {
        for (url, told) in [
            ("https://a.example:8443/b?c#d", "a.example/b?c"),
            ("http://A.example", "a.example/"),
            ("http://a.example/b%20c?", "a.example/b%20c?"),
        ] {
            let url: Url = url.parse().unwrap();
            assert_eq!(address(url.host_str().unwrap(), &url), told);
        }
    }
}
