//! Kept answers that are not to be used any more, on the developer's word.

use std::sync::PoisonError;

use common::route::{Purge, Purged};

use crate::cache::Cache;
use crate::entry::{Place, Variants};

impl Cache {
    /// Purges. Requests that come after it never see what was kept before, and what is on its way from an app is
    /// not kept.
    pub fn purge(&self, purge: &Purge) {
        let _no_one_keeps = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.inner.flights.each(|fill| {
            if let Purged::Tag(tag) = &purge.what {
                if *fill.place.project == *purge.project {
                    fill.purge_tag(tag);
                }
            } else if names_place(purge, &fill.place) {
                fill.doom();
            }
        });
        self.inner.shelf.retain(|variants| !names(purge, variants));
    }

    /// Purges everything of all projects.
    pub fn clear(&self) {
        let _no_one_keeps = self.inner.gate.write().unwrap_or_else(PoisonError::into_inner);
        self.inner.flights.each(|fill| fill.doom());
        self.inner.shelf.retain(|_| false);
    }
}

fn names(purge: &Purge, variants: &Variants) -> bool {
    match &purge.what {
        Purged::Tag(tag) => {
            let mut tags = variants.entries.iter().flat_map(|entry| &entry.head.tags);
            *variants.place.project == *purge.project && tags.any(|t| **t == **tag)
        }
        _ => names_place(purge, &variants.place),
    }
}

fn names_place(purge: &Purge, place: &Place) -> bool {
    *place.project == *purge.project
        && match &purge.what {
            Purged::Everything => true,
            Purged::Host(host) => place.host() == host,
            Purged::Url(url) => place.url() == url,
            Purged::Tag(_) => false,
        }
}
