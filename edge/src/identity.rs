//! Which edge this is: an id in its folder, so that the control plane knows it again after a restart.

use std::io::{self, Write as _};
use std::path::Path;

use common::id::EdgeId;

use crate::listener::StartError;

const NAME: &str = "edge.id";
const NEW_NAME: &str = "edge.id.new";

/// The id that the folder holds; a new one when it holds none, or one that can't be read.
pub(crate) fn load_or_create(folder: &Path) -> Result<EdgeId, StartError> {
    let path = folder.join(NAME);
    let failed = |source| StartError::Identity { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(id) => return Ok(id),
            Err(error) => tracing::warn!(%error, path = %path.display(), "the edge takes a new id"),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed(e)),
    }
    let id = EdgeId::new();
    create(folder, &id).map_err(failed)?;
    Ok(id)
}

/// Whole or not at all.
fn create(folder: &Path, id: &EdgeId) -> io::Result<()> {
    let new = folder.join(NEW_NAME);
    let mut file = std::fs::File::create(&new)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    std::fs::rename(new, folder.join(NAME))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_edge_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let id = load_or_create(folder.path()).unwrap();
        assert_eq!(load_or_create(folder.path()).unwrap(), id);
        std::fs::write(folder.path().join(NAME), "half an i").unwrap();
        let new = load_or_create(folder.path()).unwrap();
        assert_ne!(new, id);
        assert_eq!(load_or_create(folder.path()).unwrap(), new);
        assert!(load_or_create(&folder.path().join("absent")).unwrap_err().to_string().contains("edge.id"));
    }
}
