//! Counts of projects on their way to the control plane.

use std::collections::HashMap;

use common::usage::{LATENCY_BOUNDS_MS, Usage};

use crate::record::{CacheResult, Record};

/// Most projects that are counted apart; each takes about 300 bytes. What further ones are served is not counted.
pub(crate) const MAX_PROJECTS: usize = 100_000;

/// Adds one request.
pub(crate) fn count(usage: &mut Usage, record: &Record<'_>) {
    usage.requests += 1;
    usage.bytes_in += record.bytes_in;
    usage.bytes_out += record.bytes_out;
    if let Some(class) = record.status.and_then(class) {
        usage.statuses[class] += 1;
    }
    usage.latencies[bucket(record)] += 1;
    match record.cache {
        Some(CacheResult::Hit | CacheResult::Stale | CacheResult::Revalidated) => usage.cache_hits += 1,
        Some(CacheResult::Miss | CacheResult::Bypass) => usage.cache_misses += 1,
        None => {}
    }
}

/// Index of a status's class.
pub(crate) fn class(status: u16) -> Option<usize> {
    (100..600).contains(&status).then(|| usize::from(status / 100 - 1))
}

/// Index of the latency's bucket.
pub(crate) fn bucket(record: &Record<'_>) -> usize {
    let micros = record.duration.as_micros();
    LATENCY_BOUNDS_MS.iter().position(|bound| micros <= u128::from(*bound) * 1000).unwrap_or(LATENCY_BOUNDS_MS.len())
}

/// What is not told yet. It is added up while the control plane can't be told.
#[derive(Debug, Default)]
pub struct Pending {
    projects: HashMap<Box<str>, Usage>,
}

impl Pending {
    /// Adds counts.
    pub fn add(&mut self, counts: impl IntoIterator<Item = Usage>) {
        for usage in counts {
            if let Some(sum) = self.projects.get_mut(usage.project.as_str()) {
                sum.add(&usage);
            } else if self.projects.len() < MAX_PROJECTS {
                self.projects.insert(usage.project.as_str().into(), usage);
            } else {
                tracing::warn!(project = usage.project, "usage is lost: there are too many projects");
            }
        }
    }

    /// Takes the counts of at most so many projects.
    pub fn take(&mut self, most: usize) -> Vec<Usage> {
        let names: Vec<Box<str>> = self.projects.keys().take(most).cloned().collect();
        names.iter().filter_map(|name| self.projects.remove(name)).collect()
    }

    /// Whether all is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.projects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_request_counts_in_its_class_its_bucket_and_its_cache_result() {
        let mut usage = Usage::default();
        for (status, micros, cache) in [
            (Some(200), 0, Some(CacheResult::Hit)),
            (Some(204), 1000, Some(CacheResult::Revalidated)),
            (Some(301), 1001, None),
            (Some(404), 10_000_000, Some(CacheResult::Miss)),
            (Some(503), 10_000_001, Some(CacheResult::Bypass)),
            (None, 5_000, None),
        ] {
            let duration = Duration::from_micros(micros);
            count(&mut usage, &Record { status, duration, cache, bytes_in: 1, bytes_out: 10, ..Record::default() });
        }
        assert_eq!(usage.statuses, [0, 2, 1, 1, 1]);
        assert_eq!(usage.latencies, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((usage.cache_hits, usage.cache_misses), (2, 2));
        assert_eq!((usage.requests, usage.bytes_in, usage.bytes_out), (6, 6, 60));
    }

    #[test]
    fn what_could_not_be_told_is_added_to_what_follows() {
        let usage = |project: &str| Usage { project: project.to_owned(), requests: 1, ..Usage::default() };
        let mut pending = Pending::default();
        pending.add([usage("a"), usage("b"), usage("c"), usage("a")]);
        let untold = pending.take(2);
        assert_eq!(untold.len(), 2);
        pending.add(untold);
        pending.add([usage("a")]);
        let mut all = pending.take(10);
        all.sort_by(|x, y| x.project.cmp(&y.project));
        let told: Vec<(&str, u64)> = all.iter().map(|u| (u.project.as_str(), u.requests)).collect();
        assert_eq!(told, [("a", 3), ("b", 1), ("c", 1)]);
        assert!(pending.is_empty());
    }
}
