//! How many lines an app may log in one second. What is more is dropped, and the log says how much.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Log;

/// The time for which lines are counted together.
const WINDOW: Duration = Duration::from_secs(1);

/// The lines of one app in the present window.
pub struct Rate {
    most: u32,
    window: Mutex<Window>,
    dropped: Notify,
}

struct Window {
    began: Instant,
    lines: u32,
    dropped: u64,
}

impl Rate {
    /// So many lines pass in one second.
    #[must_use]
    pub fn new(most: u32) -> Self {
        let window = Window { began: Instant::now(), lines: 0, dropped: 0 };
        Self { most, window: Mutex::new(window), dropped: Notify::new() }
    }

    /// Whether one more line may pass.
    pub fn admits(&self) -> bool {
        let mut window = self.lock();
        if window.began.elapsed() >= WINDOW {
            window.began = Instant::now();
            window.lines = 0;
        }
        if window.lines < self.most {
            window.lines += 1;
            return true;
        }
        window.dropped += 1;
        if window.dropped == 1 {
            self.dropped.notify_one();
        }
        false
    }

    /// Returns once lines were dropped, and the window in which that began is over.
    pub async fn dropped_some(&self) {
        self.dropped.notified().await;
        tokio::time::sleep(WINDOW).await;
    }

    /// Says in the log how many lines were dropped since this was last told.
    pub async fn tell(&self, log: &Log) {
        let dropped = std::mem::take(&mut self.lock().dropped);
        if dropped > 0 {
            let lines = if dropped == 1 { "1 line was".to_owned() } else { format!("{dropped} lines were") };
            log.say(format!("{lines} dropped: an app may log {} lines per second.", self.most)).await;
        }
    }

    /// Held for counting only.
    fn lock(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_later_lines_pass_again() {
        let rate = Rate::new(1);
        assert_eq!([rate.admits(), rate.admits()], [true, false]);
        tokio::time::sleep(WINDOW).await;
        assert!(rate.admits());
    }
}
