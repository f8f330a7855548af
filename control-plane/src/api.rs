//! The REST API under `/api/v1`, one module a resource, and what lies beside it: uploads, the log
//! WebSocket, the route feed, and the start page.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use tokio_util::sync::CancellationToken;
use url::Url;
use utoipa::OpenApi as _;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use crate::auth;
use crate::certificates::Certificates;
use crate::domains::Domains;
use crate::feed::Hub;
use crate::issuing::Issuing;
use crate::lifecycle::Lifecycle;
use crate::objects::Garbage;
use crate::policies::Policies;
use crate::store::Store;
use crate::uploads::Uploads;
use crate::usage::Counts;
use crate::zones::Zones;
use crate::{Config, Ports};
use document::Document;

mod certificates;
mod deployments;
mod document;
mod domain_records;
mod domains;
mod env;
pub(crate) mod error;
mod garbage;
mod host_certificates;
mod ledger;
pub(crate) mod login_links;
mod logs;
mod patience;
mod policy;
mod projects;
mod purge;
mod queue;
mod route_feed;
mod start_page;
mod system;
mod uploads;
mod usage;
mod zones;

/// Largest JSON body, bytes: settings and variables are far smaller.
const MAX_BODY: usize = 256 << 10;
/// Largest JSON body with a zone in it, bytes: a master file's bound, and what JSON escapes of it.
const MAX_ZONE_BODY: usize = 8 << 20;

/// What handlers need. Cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

/// What they need.
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) domains: Domains,
    pub(crate) hub: Hub,
    pub(crate) issuing: Issuing,
    pub(crate) policies: Policies,
    pub(crate) certificates: Certificates,
    pub(crate) counts: Counts,
    pub(crate) config: Config,
    pub(crate) ports: Ports,
    pub(crate) api_url: Url,
    pub(crate) uploads: Uploads,
    pub(crate) garbage: Garbage,
    pub(crate) zones: Zones,
    pub(crate) stop: CancellationToken,
}

impl State {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }
}

/// The resources, and the document that describes them.
fn resources() -> (Router<State>, utoipa::openapi::OpenApi) {
    let resources = OpenApiRouter::with_openapi(Document::openapi()).nest(
        "/api/v1",
        OpenApiRouter::new()
            .routes(routes!(system::system))
            .routes(routes!(login_links::create))
            .routes(routes!(projects::list, projects::create))
            .routes(routes!(projects::read, projects::update, projects::remove))
            .routes(routes!(projects::rollback))
            .routes(routes!(policy::read, policy::replace, policy::change))
            .routes(routes!(purge::create))
            .routes(routes!(queue::read))
            .routes(routes!(queue::metrics))
            .routes(routes!(queue::dead))
            .routes(routes!(queue::replay))
            .routes(routes!(usage::read))
            .routes(routes!(deployments::list, deployments::create))
            .routes(routes!(deployments::read))
            .routes(routes!(deployments::cancel))
            .routes(routes!(deployments::redeploy))
            .routes(routes!(logs::read))
            .routes(routes!(env::list, env::set))
            .routes(routes!(env::unset))
            .routes(routes!(domains::list, domains::attach))
            .routes(routes!(domains::read, domains::change, domains::remove))
            .routes(routes!(domains::check, domains::examine))
            .routes(routes!(domain_records::read, domain_records::set))
            .routes(routes!(domains::transfer))
            .routes(routes!(domains::suspend, domains::resume))
            .routes(routes!(uploads::create))
            .routes(routes!(garbage::collect))
            .routes(routes!(zones::list, zones::create).layer(DefaultBodyLimit::max(MAX_ZONE_BODY)))
            .routes(routes!(zones::read, zones::remove))
            .routes(routes!(zones::export))
            .routes(routes!(zones::set_dnssec))
            .routes(routes!(zones::records, zones::edit).layer(DefaultBodyLimit::max(MAX_ZONE_BODY)))
            .routes(routes!(zones::edits))
            .routes(routes!(zones::undo))
            .routes(routes!(host_certificates::list))
            .routes(routes!(host_certificates::read))
            .routes(routes!(host_certificates::retry))
            .routes(routes!(host_certificates::replace)),
    );
    let (resources, mut document) = resources.split_for_parts();
    document::complete(&mut document);
    (resources, document)
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    resources().1
}

/// Everything that the API's address answers.
pub(crate) fn router(state: State) -> Router {
    let (resources, document) = resources();
    let document = Arc::new(document);
    Router::new()
        .merge(
            resources
                .route_layer(axum::middleware::from_fn_with_state(state.clone(), auth::require))
                .route_layer(axum::middleware::from_fn(patience::wait_for_database)),
        )
        .route("/api/v1/health", get(system::health))
        .route("/api/v1/openapi.json", get(move || async move { axum::Json((*document).clone()) }))
        .route("/internal/v1/routes", get(route_feed::follow))
        .route("/internal/v1/certificates/{id}", get(certificates::read))
        .route(&format!("/{}", common::ledger::call::PATH), post(ledger::call))
        .route("/ca.pem", get(certificates::authority))
        .route("/login", get(auth::login))
        .route("/logout", post(auth::logout))
        .merge(start_page::router(state.0.uploads.origin()))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .route("/uploads/{id}", put(uploads::put).layer(DefaultBodyLimit::disable()))
        .method_not_allowed_fallback(|| async { error::ApiError::method_not_allowed() })
        .fallback(|| async { error::ApiError::not_found("There is nothing at this address of the API.") })
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .layer(axum::middleware::map_response(security_headers))
        .with_state(state)
}

async fn security_headers(mut response: axum::response::Response) -> axum::response::Response {
    use axum::http::{HeaderName, HeaderValue};
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
