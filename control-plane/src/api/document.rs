//! What the OpenAPI document says of every operation alike, which no handler says for itself: how one logs in,
//! unique ids, and the answers to requests that reach no handler.

use axum::http::StatusCode;
use common::problem::{MEDIA_TYPE, Problem};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response};
use utoipa::{PartialSchema as _, ToSchema as _};

/// Problems that every operation may answer with.
const ALWAYS: [(&str, &str); 3] = [
    ("400", "The request makes no sense"),
    ("401", "There is no valid token"),
    ("5XX", "AstroCloud failed; its log says why"),
];
/// Problems of operations that take a body.
const WITH_BODY: [(&str, &str); 3] = [
    ("413", "The body is too large"),
    ("415", "The body is not said to be JSON"),
    ("422", "The body is not what this operation takes"),
];

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AstroCloud",
        description = "Projects, deployments, logs and settings. Errors are problem details (RFC 9457).",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    security(("token" = []))
)]
pub(super) struct Document;

/// Completes the document once all operations are in it.
pub(super) fn complete(document: &mut OpenApi) {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.schemas.insert(Problem::name().into_owned(), Problem::schema());
    document.paths.paths.values_mut().flat_map(operations).for_each(complete_operation);
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete].into_iter().flatten()
}

fn complete_operation(operation: &mut Operation) {
    // Handlers are named within their module, ids within the whole document.
    let tag = operation.tags.iter().flatten().next().cloned();
    operation.operation_id =
        tag.into_iter().chain(operation.operation_id.take()).reduce(|tag, id| format!("{tag}_{id}"));
    let responses = &mut operation.responses.responses;
    let bodily = if operation.request_body.is_some() { WITH_BODY.as_slice() } else { &[] };
    for (status, description) in ALWAYS.iter().chain(bodily) {
        responses.entry((*status).to_owned()).or_insert_with(|| problem(description));
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if response.description.is_empty() {
            let reason = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
            reason.unwrap_or(status).clone_into(&mut response.description);
        }
        if status.starts_with(['4', '5'])
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert(MEDIA_TYPE.to_owned(), content);
        }
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let mut response = Response::new(description);
    let content = Content::new(Some(Ref::from_schema_name(Problem::name())));
    response.content.insert(MEDIA_TYPE.to_owned(), RefOr::T(content));
    RefOr::T(response)
}
