//! Keys sealed anew, when another master key came.

use super::{Manager, ManagerError};

/// Certificates that are fetched at once.
const BATCH: usize = 256;

impl Manager {
    /// Seals with the newest master key what an older one sealed; afterwards the older is needed no longer. Accounts
    /// are sealed anew when they are next used. Gives how many certificates it was.
    ///
    /// # Errors
    /// When the store failed or a key can't be opened.
    pub async fn reseal(&self) -> Result<u64, ManagerError> {
        let (mut after, mut done) = (String::new(), 0);
        loop {
            let ids = self.store.certificate_ids(&after, BATCH).await?;
            let Some(last) = ids.last() else { return Ok(done) };
            last.clone_into(&mut after);
            for id in ids {
                let Some(kept) = self.store.certificate(&id).await? else { continue };
                if let Some(anew) = self.keys.reseal(&kept.sealed_key)? {
                    self.store.reseal(&id, &kept.sealed_key, &anew).await?;
                    done += 1;
                }
            }
        }
    }
}
