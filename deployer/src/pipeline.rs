//! One deployment, from the claim to its end: fetch, plan, build, publish, start.

use std::time::{Duration, Instant};

use common::bus::Topic;
use common::deployment::Failure;
use common::ledger::{App, Claim, DynLedger, Facts, LedgerError, Output, Work};
use common::registry::{NewImage, Origin, RegistryError};
use common::source::Source;
use logs::{Log, Mask};

use crate::Context;

/// How often fetching is tried when what failed may pass.
const FETCH_TRIES: u32 = 3;
/// Pause before the second try; it doubles.
const FETCH_PAUSE: Duration = Duration::from_secs(2);
/// How often an image is pushed again that is being deleted, and the pause before: a deletion takes seconds.
const PUSH_TRIES: u32 = 30;
const PUSH_PAUSE: Duration = Duration::from_secs(2);
/// How often publishing is tried when what failed may pass: with the pauses, for about ten minutes. The build is done, and
/// would have to be done again.
const PUBLISH_TRIES: u32 = 14;
/// First and longest pause before another try; it doubles.
const PUBLISH_PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Pause before a failure that the control plane did not take is reported again; it doubles.
const REPORT_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
const REPORT_MAX: Duration = Duration::from_secs(30);

/// Why a deployment ended early.
enum Stop {
    /// It failed, and this is said.
    Failed(Failure),
    /// It is somebody else's, or nobody's, by now: nothing more is to be said.
    Gone,
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::NotYours(_) => Self::Gone,
            e @ LedgerError::ImageGoing(_) => Self::Failed(Failure::new(
                "image_not_stored",
                format!("The app's image can't be stored: {e}. Deploy again."),
            )),
            LedgerError::DiskFull => Self::Failed(Failure::new(
                "disk_full",
                "AstroCloud's disk is full. Ask its operator for room, then deploy again.",
            )),
            LedgerError::Failed(detail) => {
                tracing::error!(detail, "the control plane takes no reports");
                Self::Failed(Failure::new(
                    "internal",
                    "AstroCloud could not record the deployment's progress. Deploy again.",
                ))
            }
        }
    }
}

/// Makes an error of a stage the deployment's failure.
macro_rules! failed {
    ($($kind:ty),+) => {
        $(impl From<$kind> for Stop {
            fn from(error: $kind) -> Self {
                Self::Failed(Failure::new(error.code(), error.to_string()))
            }
        })+
    };
}

failed!(source::FetchError, build::BuildError, publish::PublishError, common::runtime::StartError);

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        let again = match error {
            RegistryError::Unpackable { .. } => "",
            _ => " Deploy again.",
        };
        Self::Failed(Failure::new("image_not_stored", format!("The app's image can't be stored: {error}.{again}")))
    }
}

/// Claims a deployment and does all that it needs. Every end is reported to the ledger.
pub(crate) async fn deploy(context: &Context, claim: &Claim) {
    let (ledger, deployment) = (&context.ports.ledger, &claim.deployment);
    let isolation = context.ports.sandbox.level().slug();
    let work = match ledger.claim(claim, isolation).await {
        Ok(Some(work)) => work,
        Ok(None) => return,
        Err(e) => {
            tracing::error!(%deployment, error = %e, "a deployment can't be claimed; the sweep will queue it again");
            return;
        }
    };
    let mask = Mask::new(work.env.values());
    let log = Log::start(context.ports.bus.clone(), Topic::build(deployment.clone()), mask, Some(context.output));
    let begun = Instant::now();
    let held = context.claims.hold(claim);
    let done = tokio::select! {
        done = steps(context, &work, &log) => done,
        () = held.lost() => Err(Stop::Gone),
    };
    let stop = match done {
        Ok(()) => {
            tracing::info!(%deployment, project = %work.project_name, ms = begun.elapsed().as_millis(), "deployed");
            return;
        }
        Err(stop) => stop,
    };
    log.flush().await;
    let Stop::Failed(why) = stop else {
        tracing::info!(%deployment, "a deployment is no longer this deployer's");
        return;
    };
    tracing::info!(%deployment, project = %work.project_name, code = why.code, "a deployment failed");
    // Before the report: it may be this folder that leaves no room to record anything.
    context.work.remove(deployment).await;
    report_failure(ledger, claim, why).await;
}

/// Reports a failure until it is taken: one that was not would leave the deployment unfinished for ever.
async fn report_failure(ledger: &DynLedger, claim: &Claim, why: Failure) {
    let mut pause = REPORT_FIRST;
    loop {
        match ledger.failed(claim, why.clone()).await {
            Ok(()) | Err(LedgerError::NotYours(_)) => return,
            Err(e) => {
                let deployment = &claim.deployment;
                tracing::error!(%deployment, error = %e, retry_in_s = pause.as_secs(), "a failure can't be recorded");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REPORT_MAX);
    }
}

async fn steps(context: &Context, work: &Work, log: &Log) -> Result<(), Stop> {
    let ledger = &context.ports.ledger;
    let source = context.work.make(&work.claim.deployment).await.map_err(|e| {
        tracing::error!(error = %e, "a work folder can't be made");
        Stop::Failed(Failure::new("internal", "AstroCloud has no room to build in now. Deploy again later."))
    })?;
    let fetched = fetch(context, work, &source, log).await?;
    let plan = context.builder.plan(&source, &work.settings).await?;
    let framework = Some(plan.framework.name().to_owned());
    let origin = Origin {
        source: repository(&work.source),
        commit: fetched.commit.clone(),
        framework: framework.clone(),
        isolation: Some(context.ports.sandbox.level().slug().to_owned()),
        ..Origin::new(work.claim.deployment.clone())
    };
    ledger.facts(&work.claim, Facts { kind: Some(plan.kind), framework, commit: fetched.commit }).await?;
    let job = build::Job { project: &work.project, settings: &work.settings, env: &work.env, source: &source, log };
    let done = match context.builder.run(&job, &plan).await {
        Ok(output) => {
            let how = How { started_with: plan.start.as_deref().unwrap_or_default(), origin: &origin };
            finish(context, work, output, &how, log).await
        }
        Err(e) => Err(e.into()),
    };
    // Also after a failed build: the next one need not install again.
    context.builder.keep(&job, &plan).await;
    done
}

/// Address of a source's repository, without a login: images are labelled with it.
fn repository(source: &Source) -> Option<String> {
    match source.clone().without_login().0 {
        Source::Git { url, .. } => Some(url.to_string()),
        Source::Upload { .. } => None,
    }
}

async fn fetch(
    context: &Context,
    work: &Work,
    into: &std::path::Path,
    log: &Log,
) -> Result<source::Fetched, source::FetchError> {
    let branch = match &work.source {
        Source::Git { branch, .. } => branch.as_deref().or(work.settings.branch.as_deref()),
        Source::Upload { .. } => None,
    };
    let mut pause = FETCH_PAUSE;
    let mut tried = 1;
    loop {
        match context.fetcher.fetch(&work.source, branch, into, log).await {
            Err(e) if e.is_transient() && tried < FETCH_TRIES => {
                log.say(format!("{e} Trying again in {} s.", pause.as_secs())).await;
                tokio::time::sleep(pause).await;
                pause *= 2;
                tried += 1;
                context.work.make(&work.claim.deployment).await.map_err(source::FetchError::from)?;
            }
            other => return other,
        }
    }
}

/// Stores an app's image and has the control plane keep it.
async fn store(context: &Context, claim: &Claim, new: NewImage<'_>, log: &Log) -> Result<String, Stop> {
    let mut tried = 0;
    let pushed = loop {
        let pushed = context.ports.registry.push(new).await?;
        match context.ports.ledger.started(claim, &pushed.reference).await {
            Ok(()) => break pushed,
            Err(e @ LedgerError::ImageGoing(_)) if tried < PUSH_TRIES => {
                tried += 1;
                tracing::info!(deployment = %claim.deployment, reason = %e, retry_in_s = PUSH_PAUSE.as_secs(), "an image is pushed again");
                tokio::time::sleep(PUSH_PAUSE).await;
            }
            Err(e) => return Err(e.into()),
        }
    };
    let (size, sent) = (logs::size(pushed.size), logs::size(pushed.sent));
    log.say(format!("Packed the app ({size}), {sent} of it new.")).await;
    for path in &pushed.left_out {
        let hint = "such files hold secrets. Set what the app needs of it as variables of the project.";
        log.say(format!("Warning: `{path}` is left out of the image: {hint}")).await;
    }
    Ok(pushed.reference)
}

/// Publishes; while the store is away, says so and waits.
async fn publish(
    context: &Context,
    site: publish::Site<'_>,
    log: &Log,
) -> Result<publish::Published, publish::PublishError> {
    let mut pause = PUBLISH_PAUSE.0;
    let mut tried = 1;
    loop {
        match publish::publish(&context.ports.store, site, &context.publish).await {
            Err(e) if e.is_transient() && tried < PUBLISH_TRIES => {
                log.say(format!("{e}. Trying again in {} s.", pause.as_secs())).await;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PUBLISH_PAUSE.1);
                tried += 1;
            }
            other => return other,
        }
    }
}

/// How an app came about.
struct How<'a> {
    /// As the plan has it: the image's own command has the tools' paths in it, which say nothing to people.
    started_with: &'a str,
    origin: &'a Origin,
}

async fn finish(context: &Context, work: &Work, output: build::Output, how: &How<'_>, log: &Log) -> Result<(), Stop> {
    let (ledger, claim, deployment) = (&context.ports.ledger, &work.claim, &work.claim.deployment);
    ledger.built(claim).await?;
    match output {
        build::Output::Static { folder, single_page } => {
            let site = publish::Site { folder: &folder, single_page, deployment, previous: work.previous.as_ref() };
            let published = publish(context, site, log).await?;
            for warning in &published.warnings {
                log.say(format!("Warning: {warning}")).await;
            }
            let files = if published.files == 1 { "1 file".to_owned() } else { format!("{} files", published.files) };
            log.say(format!("Published {files} ({}), {} new.", logs::size(published.bytes), published.new_files)).await;
            log.flush().await;
            ledger.succeeded(claim, Output::Static).await?;
        }
        build::Output::Node { root, start } => {
            log.say(format!("Packing the app, started with `{}`.", how.started_with)).await;
            let new = NewImage { name: work.project_name.as_str(), root: &root, start: &start, origin: how.origin };
            let image = store(context, claim, new, log).await?;
            log.say("Starting the app.").await;
            let app = App {
                deployment: deployment.clone(),
                account: work.account.clone(),
                project_name: work.project_name.clone(),
                image: image.clone(),
                health_path: work.settings.health_path.clone(),
                env: work.env.clone(),
            };
            let begun = Instant::now();
            let endpoints = context.apps.start_new(&app).await?;
            log.say(format!("The app is healthy after {} ms.", begun.elapsed().as_millis())).await;
            log.flush().await;
            let live = ledger.succeeded(claim, Output::App { image, endpoints }).await?;
            if live {
                context.apps.keep(deployment);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use common::id::DeploymentId;
    use common::ledger::{Ledger, Wanted};
    use common::revision::RevisionStatus;

    use super::*;

    /// A control plane whose disk is full for so many reports.
    struct Full(AtomicU32);

    #[async_trait]
    impl Ledger for Full {
        async fn failed(&self, _: &Claim, _: Failure) -> Result<(), LedgerError> {
            match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)) {
                Ok(_) => Err(LedgerError::DiskFull),
                Err(_) => Ok(()),
            }
        }

        async fn claim(&self, _: &Claim, _: &str) -> Result<Option<Work>, LedgerError> {
            unreachable!("it is claimed")
        }
        async fn keep(&self, _: &[Claim]) -> Result<Vec<Claim>, LedgerError> {
            unreachable!("nobody keeps it up")
        }
        async fn leave(&self) -> Result<bool, LedgerError> {
            unreachable!("nobody leaves")
        }
        async fn give_back(&self, _: &Claim) -> Result<(), LedgerError> {
            unreachable!("it failed")
        }
        async fn facts(&self, _: &Claim, _: Facts) -> Result<(), LedgerError> {
            unreachable!("it failed")
        }
        async fn built(&self, _: &Claim) -> Result<(), LedgerError> {
            unreachable!("it failed")
        }
        async fn started(&self, _: &Claim, _: &str) -> Result<(), LedgerError> {
            unreachable!("it failed")
        }
        async fn succeeded(&self, _: &Claim, _: Output) -> Result<bool, LedgerError> {
            unreachable!("it failed")
        }
        async fn wanted_app(&self, _: &DeploymentId) -> Result<Option<Wanted>, LedgerError> {
            unreachable!("no app is concerned")
        }
        async fn wanted_apps(&self) -> Result<Vec<DeploymentId>, LedgerError> {
            unreachable!("no app is concerned")
        }
        async fn revision(&self, _: &DeploymentId, _: RevisionStatus) -> Result<(), LedgerError> {
            unreachable!("no app is concerned")
        }
        async fn start_failed(&self, _: &DeploymentId, _: Failure) -> Result<(), LedgerError> {
            unreachable!("no app is concerned")
        }
        async fn apps_changed(&self) {
            unreachable!("no app is concerned")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_reported_until_there_is_room_to_record_it() {
        let ledger = Arc::new(Full(AtomicU32::new(9)));
        let port: DynLedger = ledger.clone();
        report_failure(&port, &Claim::new(DeploymentId::new()), Failure::new("build_failed", "It failed.")).await;
        assert_eq!(ledger.0.load(Ordering::Acquire), 0);
    }
}
