//! Files of this machine as answers: their bytes need not come through the edge.

use guard::{PACED_PIECE, Permit};

use super::{Failed, flush};
use crate::cache::Pieces;
use crate::visit::Visit;

/// Bytes that the system is asked to send at once. More would not make it cheaper, but lets others wait.
const STEP: u64 = 256 << 10;

/// Sends as files what can be, as fast as the visitor may have it. Returns `false` when this visitor gets no files as
/// they are; else what comes next must be read, or nothing does.
pub(super) async fn send<V: Visit>(visit: &mut V, permit: &Permit, pieces: &mut Pieces) -> Result<bool, Failed> {
    let step = if permit.is_paced() { PACED_PIECE as u64 } else { STEP };
    while let Some(part) = pieces.part(step) {
        let len = part.len;
        if visit.is_full() {
            flush(visit).await?;
        }
        if visit.send_file(part).is_err() {
            return Ok(false);
        }
        pieces.skip(len as u64);
        if let Some(wait) = permit.pace(len) {
            flush(visit).await?;
            tokio::time::sleep(wait).await;
        }
    }
    Ok(true)
}
