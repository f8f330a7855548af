//! The keys that seal session tickets on every edge.
//!
//! Time is cut into slots of twelve hours, each with a key of its own. Kept are three: the present slot's seals, the
//! one before still opens, and the next is told ahead, so that every edge opens what another one seals. The slot
//! follows from the time alone, so several control planes agree on it, and the first to store its key decides.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::certificate::TicketKey;
use common::secret::{KeyRing, Secret, random_bytes};
use common::time::Timestamp;

use crate::store::{Store, StoreError};

/// How long a key seals. A ticket lives as long at most, so it opens until its own end.
const SLOT: Duration = Duration::from_secs(12 * 60 * 60);
/// Bytes of a key, and of its name.
const KEY_BYTES: usize = 64;
const NAME_BYTES: usize = 16;

/// The keys that count now, made where they are missing, oldest first.
///
/// # Errors
/// When the database failed.
pub async fn rotate(store: &Store, keys: &KeyRing, now: Timestamp) -> Result<Vec<TicketKey>, StoreError> {
    let span = i64::try_from(SLOT.as_millis()).unwrap_or(i64::MAX);
    let present = now.as_millis().div_euclid(span);
    let new = [present, present + 1].map(|slot| (slot, make(Timestamp::from_millis(slot * span))));
    store.rotate_ticket_keys(keys, present - 1, &new).await
}

fn make(since: Timestamp) -> TicketKey {
    let name = random_bytes::<NAME_BYTES>().iter().map(|byte| format!("{byte:02x}")).collect();
    TicketKey { name, key: Secret::new(STANDARD.encode(random_bytes::<KEY_BYTES>())), since }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::secret::MasterKey;

    use super::*;

    #[tokio::test]
    async fn a_key_is_told_before_it_seals_and_opens_after_it_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}?mode=rwc", folder.path().join("db").display())).await.unwrap();
        let keys = KeyRing::from(MasterKey::load_or_create(&folder.path().join("key")).unwrap());
        let start = Timestamp::from_millis(1_800_000_000_000);
        let at = |hours: u32| rotate(&store, &keys, start.after(Duration::from_secs(3600) * hours));

        let first = at(0).await.unwrap();
        assert_eq!(first.len(), 2);
        assert!(first[0].since <= start && first[1].since > start);
        assert_eq!((first[0].name.len(), STANDARD.decode(first[0].key.reveal()).unwrap().len()), (32, KEY_BYTES));
        assert_eq!(at(0).await.unwrap(), first, "within a slot nothing changes");

        let second = at(12).await.unwrap();
        assert_eq!((second.len(), &second[..2]), (3, &first[..]));
        let third = at(24).await.unwrap();
        assert_eq!((third.len(), &third[..2]), (3, &second[1..]));
        let later = at(1000).await.unwrap();
        assert!(later.iter().all(|key| !third.contains(key)), "after a long pause all are new");
    }
}
