//! Asking again: for a fresh nonce at once, for an order that is not done after a wait.

use std::time::Duration;

use super::{NONCE_TRIES, trouble};
use crate::transport::{Seen, seeing};

/// Longest time that one step asks again and again before it rests; well within [`crate::manager::STEP_LIMIT`].
const ASKING: Duration = Duration::from_secs(30);
/// First wait before the authority is asked again; it doubles.
const FIRST_ASK: Duration = Duration::from_millis(200);
/// Longest wait before the authority is asked again, unless it says otherwise.
const LONGEST_ASK: Duration = Duration::from_secs(5);
/// Longest that an authority may tell us to wait between two looks at an order.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Calls until the nonce is taken: `instant-acme` itself tries thrice.
pub(super) async fn again<T, F: Future<Output = Result<T, instant_acme::Error>>>(
    mut call: impl FnMut() -> F,
) -> (Result<T, instant_acme::Error>, Option<Seen>) {
    let mut tries = NONCE_TRIES;
    loop {
        let (result, seen) = seeing(call()).await;
        tries -= 1;
        match &result {
            Err(error) if tries > 0 && trouble::is_nonce(error) => {}
            _ => return (result, seen),
        }
    }
}

/// Waits between looks at an order.
pub(super) struct Asking {
    until: tokio::time::Instant,
    wait: Duration,
}

impl Asking {
    pub(super) fn new() -> Self {
        Self { until: tokio::time::Instant::now() + ASKING, wait: FIRST_ASK }
    }

    /// Waits for the next look; or says for how long to rest, when that is too long to be waited for here.
    pub(super) async fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let wait = asked.unwrap_or(self.wait).clamp(FIRST_ASK, LONGEST_WAIT);
        if tokio::time::Instant::now() + wait > self.until {
            return Some(wait);
        }
        tokio::time::sleep(wait).await;
        self.wait = (self.wait * 2).min(LONGEST_ASK);
        None
    }
}
