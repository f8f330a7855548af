//! The settings as the parts take them, and the parts' defaults as settings: a default has one home, its part.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::{Apps, Builds, Bytes, Settings, Sites, Sources};

/// Largest upload when nothing else is set: above it lies no source that people wrote, only media and archives.
const UPLOAD: Bytes = Bytes(500 << 20);

/// Uploads that may wait to be deployed when nothing else is set: each is deployed in the same minute as a rule.
const PENDING_UPLOADS: u32 = 100;

impl Default for Builds {
    fn default() -> Self {
        let limits = build::Limits::default();
        Self {
            concurrency: NonZeroUsize::new(deployer::DEFAULT_CONCURRENCY).unwrap_or(NonZeroUsize::MIN),
            wall: limits.wall,
            memory: Bytes(limits.memory),
            processes: limits.processes,
            file_size: Bytes(limits.file_size),
            disk: Bytes(limits.disk),
            open_files: limits.open_files,
            output_lines: limits.output.lines,
            output_bytes: Bytes(limits.output.bytes),
            downloads: Bytes(limits.downloads),
        }
    }
}

impl Default for Sources {
    fn default() -> Self {
        let limits = source::Limits::default();
        Self {
            upload: UPLOAD,
            pending_uploads: PENDING_UPLOADS,
            entries: limits.entries,
            bytes: Bytes(limits.bytes),
            file_bytes: Bytes(limits.file_bytes),
            wall: limits.wall,
        }
    }
}

impl Default for Sites {
    fn default() -> Self {
        let limits = publish::Limits::default();
        Self { files: limits.files, bytes: Bytes(limits.bytes), file_bytes: Bytes(limits.file_bytes) }
    }
}

impl Default for Apps {
    fn default() -> Self {
        let settings = runtime::Settings::default();
        Self {
            memory: Bytes(settings.limits.memory),
            processes: settings.limits.processes,
            open_files: settings.limits.open_files,
            file_size: Bytes(settings.limits.file_size),
            disk: Bytes(settings.limits.disk),
            log_lines_per_second: settings.log_lines_per_second,
            start_timeout: settings.start_timeout,
            health_timeout: settings.health_timeout,
            liveness_every: settings.liveness_every,
            liveness_failures: settings.liveness_failures,
            drain_delay: settings.drain_delay,
            grace: settings.grace,
            restart_first: settings.backoff.first,
            restart_max: settings.backoff.max,
            restart_reset: settings.backoff.reset_after,
        }
    }
}

impl Settings {
    /// What the deployer takes.
    pub fn deployer(&self, folder: PathBuf) -> deployer::Config {
        let (builds, sources, sites, apps) = (&self.builds, &self.sources, &self.sites, &self.apps);
        deployer::Config {
            folder,
            concurrency: builds.concurrency.get(),
            fetch: source::Limits {
                entries: sources.entries,
                bytes: sources.bytes.0,
                file_bytes: sources.file_bytes.0,
                wall: sources.wall,
            },
            build: build::Limits {
                wall: builds.wall,
                memory: builds.memory.0,
                processes: builds.processes,
                file_size: builds.file_size.0,
                disk: builds.disk.0,
                open_files: builds.open_files,
                output: logs::Bounds { lines: builds.output_lines, bytes: builds.output_bytes.0 },
                downloads: builds.downloads.0,
            },
            publish: publish::Limits { files: sites.files, bytes: sites.bytes.0, file_bytes: sites.file_bytes.0 },
            runtime: runtime::Settings {
                limits: runtime::AppLimits {
                    memory: apps.memory.0,
                    processes: apps.processes,
                    open_files: apps.open_files,
                    file_size: apps.file_size.0,
                    disk: apps.disk.0,
                },
                start_timeout: apps.start_timeout,
                health_timeout: apps.health_timeout,
                drain_delay: apps.drain_delay,
                grace: apps.grace,
                backoff: runtime::Backoff {
                    first: apps.restart_first,
                    max: apps.restart_max,
                    reset_after: apps.restart_reset,
                },
                liveness_every: apps.liveness_every,
                liveness_failures: apps.liveness_failures,
                advertise: self.deployer.advertise.0,
                log_lines_per_second: apps.log_lines_per_second,
            },
        }
    }
}
