//! The ledger, for deployers that run elsewhere.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Extract;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use common::id::{DeployerId, InvalidId};
use common::ledger::call::{Call, DEPLOYER_HEADER};
use common::ledger::{Ledger as _, LedgerError};
use common::problem::Problem;
use serde::Serialize;

use super::State;
use super::error::{ApiError, Body};
use crate::auth;
use crate::lifecycle::Reports;

/// How long a deployer's question waits for a change of wanted apps: less than what proxies take for a dead connection.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        Self::from(Problem::from(error))
    }
}

/// Carries out a call of a deployer.
pub(super) async fn call(
    Extract(state): Extract<State>,
    headers: HeaderMap,
    Body(call): Body<Call>,
) -> Result<Response, ApiError> {
    let Some(token) = &state.0.config.deployer_token else {
        return Err(ApiError::not_found("This control plane has its deployer within; it takes no others."));
    };
    if !auth::shows(&headers, token) {
        return Err(ApiError::new(401, "unauthorized", "The ledger needs the deployers' token."));
    }
    let id = headers.get(DEPLOYER_HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let deployer: DeployerId =
        id.parse().map_err(|error: InvalidId| ApiError::invalid(format!("`{DEPLOYER_HEADER}`: {error}")))?;
    // On its own: what a deployer reported is carried out also when it is gone before it has the answer.
    match tokio::spawn(carry_out(state, deployer, call)).await {
        Ok(answer) => answer,
        Err(error) => Err(ApiError::internal(&error)),
    }
}

async fn carry_out(state: State, deployer: DeployerId, call: Call) -> Result<Response, ApiError> {
    let ledger = Reports::new(state.0.lifecycle.clone(), deployer);
    match call {
        Call::Claim { claim, isolation } => json(ledger.claim(&claim, &isolation).await?),
        Call::Keep { claims } => json(ledger.keep(&claims).await?),
        Call::Leave => json(ledger.leave().await?),
        Call::GiveBack { claim } => json(ledger.give_back(&claim).await?),
        Call::Facts { claim, facts } => json(ledger.facts(&claim, facts).await?),
        Call::Built { claim } => json(ledger.built(&claim).await?),
        Call::Started { claim, image } => json(ledger.started(&claim, &image).await?),
        Call::Succeeded { claim, output } => json(ledger.succeeded(&claim, output).await?),
        Call::Failed { claim, why } => json(ledger.failed(&claim, why).await?),
        Call::WantedApp { deployment } => json(ledger.wanted_app(&deployment).await?),
        Call::WantedApps => json(ledger.wanted_apps().await?),
        Call::Revision { deployment, status } => json(ledger.revision(&deployment, status).await?),
        Call::StartFailed { deployment, why } => json(ledger.start_failed(&deployment, why).await?),
        Call::AppsChanged { seen } => {
            let change = tokio::select! {
                change = tokio::time::timeout(LONGEST_WAIT, ledger.apps_change(seen)) => change.unwrap_or(seen),
                // It asks another control plane, or this one's successor.
                () = state.0.stop.cancelled() => seen,
            };
            json(change)
        }
    }
}

#[allow(clippy::unnecessary_wraps)]
fn json(answer: impl Serialize) -> Result<Response, ApiError> {
    Ok(Json(answer).into_response())
}
