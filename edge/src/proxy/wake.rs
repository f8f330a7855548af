//! Apps that start when a visitor asks: tells the control plane, and keeps the request until they run.

use std::sync::Arc;
use std::time::Duration;

use common::route::Target;

use super::Proxy;
use super::request_filter::find;
use crate::page::Page;
use crate::routes::Entry;

/// How often a wish is repeated while requests wait, so that one that was lost with a connection is told again.
const REPEAT_ASLEEP: Duration = Duration::from_secs(5);
/// How often the control plane is told that visitors still ask: several times within the minutes for which it
/// then keeps the app.
const REPEAT_AWAKE: Duration = Duration::from_secs(60);

/// Whether a request for this route is worth keeping, because its app starts.
pub(super) fn is_asleep(entry: &Entry) -> bool {
    matches!(&entry.route.target, Target::App { upstreams, wakes: true, .. } if upstreams.is_empty())
}

/// Tells the control plane that a visitor asks for an app that runs only on request. A project's own address
/// leads to an app that runs anyway.
pub(super) fn keep_awake(proxy: &Proxy, entry: &Entry) {
    let every = if is_asleep(entry) { REPEAT_ASLEEP } else { REPEAT_AWAKE };
    if !entry.route.production && entry.wished.is_due(every) {
        proxy.wishes.tell(&entry.route.deployment);
    }
}

/// Waits until the route's app runs, as long as is sensible. Returns the route as it is then.
pub(super) async fn wait(proxy: &Proxy, entry: Arc<Entry>) -> Result<Arc<Entry>, Page> {
    let Ok(_place) = proxy.waiting.try_acquire() else { return Ok(entry) };
    let host = &*entry.route.host;
    // Subscribed before the table is read, so that no change is missed.
    let mut changes = proxy.routes.changes();
    let awake = async {
        loop {
            match find(proxy, host) {
                Ok(now) if is_asleep(&now) => keep_awake(proxy, &now),
                found => return found,
            }
            tokio::select! {
                // The sender lives in the routes, so this can't fail.
                _ = changes.changed() => {}
                () = tokio::time::sleep(REPEAT_ASLEEP) => {}
            }
        }
    };
    tokio::select! {
        found = awake => found,
        () = tokio::time::sleep(proxy.timeouts.wake) => Ok(Arc::clone(&entry)),
        () = proxy.wishes.closed() => Ok(Arc::clone(&entry)),
    }
}
