//! The scripts that run within Redis, each as one step.

use redis::Script;

/// All of them. What they take and give is said at the head of each file.
pub(crate) struct Scripts {
    pub enqueue: Script,
    pub take: Script,
    pub extend: Script,
    pub release: Script,
    pub cancel: Script,
    pub stats: Script,
}

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("scripts/common.lua"), include_str!($file)))
    };
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            enqueue: script!("scripts/enqueue.lua"),
            take: script!("scripts/take.lua"),
            extend: script!("scripts/extend.lua"),
            release: script!("scripts/release.lua"),
            cancel: script!("scripts/cancel.lua"),
            stats: script!("scripts/stats.lua"),
        }
    }
}
