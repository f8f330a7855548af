//! What the runtime needs to know, with its defaults.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where apps lie, and how they are treated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder for unpacked images. It is this runtime's own: what lies in it at the start is deleted.
    pub folder: PathBuf,
    /// How apps are treated.
    pub settings: Settings,
}

/// How apps are treated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What an app may use.
    pub limits: AppLimits,
    /// Time from the start of the process to its first passed health check. 60 s: frameworks that compile
    /// at their start and apps that migrate a database need some tens of seconds.
    pub start_timeout: Duration,
    /// Time for one try of a health check. 2 s: an app that is slower than that is of no use to visitors.
    pub health_timeout: Duration,
    /// Time between traffic moving away and SIGTERM, for requests in flight: many servers, Node's among
    /// them, die at once on SIGTERM. 3 s: longer than nearly all requests last.
    pub drain_delay: Duration,
    /// Time between SIGTERM and SIGKILL. 10 s, as container runtimes give it.
    pub grace: Duration,
    /// When an app that ended is started again.
    pub backoff: Backoff,
    /// Pause between two health checks of a running app. 10 s: often enough to notice that an app hangs
    /// before its visitors write mails, seldom enough to cost nothing.
    pub liveness_every: Duration,
    /// Failed health checks in a row after which a running app is restarted. 3: one slow answer under load
    /// must not make it worse.
    pub liveness_failures: u32,
    /// The address of this machine at which edges elsewhere reach apps; without one, edges on this machine do.
    pub advertise: Option<IpAddr>,
    /// Lines that an app may log in one second, both streams together; what is more is dropped, and the log
    /// says how much. 500: a chatty app stays below, and a runaway one cannot fill the disk or starve others.
    pub log_lines_per_second: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: AppLimits::default(),
            start_timeout: Duration::from_secs(60),
            health_timeout: Duration::from_secs(2),
            drain_delay: Duration::from_secs(3),
            grace: Duration::from_secs(10),
            backoff: Backoff::default(),
            liveness_every: Duration::from_secs(10),
            liveness_failures: 3,
            advertise: None,
            log_lines_per_second: 500,
        }
    }
}

/// What one app may use, all its processes together unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppLimits {
    /// Memory, bytes. 512 MiB: a Node server of ordinary size needs 50 to 200 MiB.
    pub memory: u64,
    /// Processes and threads at one time. 256: a Node process has a dozen threads, and some apps run one
    /// process for each core.
    pub processes: u32,
    /// Open files and connections of any one process. 16,384: one for each visitor that is connected.
    pub open_files: u64,
    /// Bytes of any one file. 256 MiB: an upload or a small database.
    pub file_size: u64,
    /// Bytes that it may add to its image on disk. 1 GiB: caches and uploads that are gone with the app.
    pub disk: u64,
}

impl Default for AppLimits {
    fn default() -> Self {
        Self { memory: 512 << 20, processes: 256, open_files: 16_384, file_size: 256 << 20, disk: 1 << 30 }
    }
}

/// The pause before an app that ended is started again: it doubles with each end, up to a maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause. 1 s: a single crash should hardly be noticed.
    pub first: Duration,
    /// The longest pause. 60 s: an app that waits for a database is back within a minute of it.
    pub max: Duration,
    /// Health of this length makes the next pause the first again. 60 s.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(60), reset_after: Duration::from_secs(60) }
    }
}
