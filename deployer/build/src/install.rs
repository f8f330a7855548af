//! Installing dependencies: from the cache when nothing has changed, else down the ladder of the plan's commands.

use std::path::PathBuf;
use std::time::Instant;

use detect::Plan;

use crate::BuildError;
use crate::cache::Cache;
use crate::command::{Phase, Session};
use crate::seconds;
use crate::work::Work;

/// Installs, and returns what that left, relative to the source.
pub(crate) async fn install(
    session: &Session<'_>,
    plan: &Plan,
    work: &Work,
    cache: &Cache,
) -> Result<Vec<PathBuf>, BuildError> {
    work.clear_installed().await;
    if plan.install.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(restored) = from_cache(session, plan, work, cache).await? {
        return Ok(restored);
    }
    let begun = Instant::now();
    ladder(session, plan).await?;
    session.say(format!("Installed the dependencies in {}.", seconds(begun))).await;
    // Also what the project carries, such as plug'n'play's map of a developer's machine: the install has made it fit.
    let installed = cache.found(work).await;
    // Kept also when the build fails.
    work.set_installed(&installed).await;
    Ok(installed)
}

/// Puts the cached folders into the source and runs the project's own install scripts, as an install would. `None` when
/// there is nothing in the cache, or nothing that works.
async fn from_cache(
    session: &Session<'_>,
    plan: &Plan,
    work: &Work,
    cache: &Cache,
) -> Result<Option<Vec<PathBuf>>, BuildError> {
    let restored = match cache.restore(work).await {
        Ok(Some(restored)) => restored,
        Ok(None) => return Ok(None),
        Err(e) => {
            tracing::warn!(error = %e, "a cached install can't be used");
            session.say("Warning: The cached node_modules can't be used: installing anew.").await;
            return Ok(None);
        }
    };
    session.say("Dependencies unchanged: using the cached node_modules.").await;
    let Some(manager) = &plan.package_manager else { return Ok(Some(restored)) };
    for script in &plan.lifecycle_scripts {
        let command = manager.tool.run_script(script);
        let ended = session.run(Phase::Install, &command, &plan.install_dir, &[]).await?;
        if !ended.exit.success() {
            session.say(format!("Warning: `{command}` failed with the cached node_modules: installing anew.")).await;
            cache.discard(work, restored).await;
            return Ok(None);
        }
    }
    Ok(Some(restored))
}

async fn ladder(session: &Session<'_>, plan: &Plan) -> Result<(), BuildError> {
    let mut at = 0;
    while let Some(step) = plan.install.get(at) {
        if let Some(note) = &step.note {
            session.say(format!("Warning: {note}")).await;
        }
        let ended = session.run(Phase::Install, &step.command, &plan.install_dir, &[]).await?;
        if ended.exit.success() {
            return Ok(());
        }
        match plan.next_install_step(at, &ended.said) {
            // Always further down: the ladder ends.
            Some(next) if next > at => at = next,
            _ => {
                let (command, cause) = (step.command.clone(), session.cause(&ended));
                return Err(BuildError::Install { command, cause, exit: ended.exit });
            }
        }
    }
    Ok(())
}
