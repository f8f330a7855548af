//! What every adapter must do.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::{NewImage, Origin, Registry, RegistryError, Start};
use crate::id::DeploymentId;

/// What every adapter must do; called by each adapter's tests.
///
/// # Errors
/// Names the first expectation that did not hold.
pub async fn conformance(registry: &Registry) -> Result<(), String> {
    let (from, into) = (tempfile::tempdir().map_err(io)?, tempfile::tempdir().map_err(io)?);
    tree(from.path()).map_err(io)?;
    let start =
        Start { command: "node server.js".to_owned(), working_dir: "app".to_owned(), node: "20.1.0".to_owned() };
    let (first, other) = (Origin::new(DeploymentId::new()), Origin::new(DeploymentId::new()));
    let image = NewImage { name: "shop", root: from.path(), start: &start, origin: &first };

    let pushed = registry.push(image).await.map_err(text)?;
    let reference = pushed.reference.clone();
    ensure(pushed.sent > 0, "a new image costs bytes")?;
    ensure(pushed.left_out == ["app/.env", "app/.npmrc"], "files of secrets are left out and told")?;
    let same = registry.push(NewImage { origin: &other, ..image }).await.map_err(text)?;
    ensure(reference == same.reference, "the same tree has the same reference")?;

    let pulled = registry.pull(&reference, into.path()).await.map_err(text)?;
    ensure(pulled == start, "an image tells how it is started")?;
    let server = std::fs::read_to_string(into.path().join("app/server.js")).map_err(io)?;
    ensure(server == "listen()", "files come back")?;
    let module = std::fs::read_to_string(into.path().join("app/node_modules/left/index.js")).map_err(io)?;
    ensure(module == "pad()", "dependencies come back")?;
    let mode = std::fs::metadata(into.path().join("app/bin/run")).map_err(io)?.permissions().mode();
    ensure(mode & 0o111 == 0o111, "executable files stay executable")?;
    let link = std::fs::read_link(into.path().join("app/link")).map_err(io)?;
    ensure(link == Path::new("bin/run"), "links stay links")?;
    ensure(!into.path().join("app/.env").exists(), "secrets are in no layer")?;

    std::fs::write(from.path().join("app/server.js"), "listen(1)").map_err(io)?;
    let changed = registry.push(image).await.map_err(text)?;
    ensure(changed.reference != reference, "another tree has another reference")?;
    ensure(changed.sent < changed.size, "what did not change is not sent again")?;
    registry.remove(&reference).await.map_err(text)?;
    registry.remove(&reference).await.map_err(text)?;
    let again = tempfile::tempdir().map_err(io)?;
    let gone = registry.pull(&reference, again.path()).await;
    ensure(matches!(gone, Err(RegistryError::NotFound(_))), "a removed image is told as not found")?;
    let kept = tempfile::tempdir().map_err(io)?;
    registry.pull(&changed.reference, kept.path()).await.map_err(text)?;
    ensure(kept.path().join("app/node_modules/left/index.js").is_file(), "layers of other images stay")?;

    std::fs::write(from.path().join("app/.wh.x"), "").map_err(io)?;
    let refused = registry.push(image).await;
    ensure(matches!(refused, Err(RegistryError::Unpackable { .. })), "a name that means a deletion is refused")
}

fn tree(root: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(root.join("app/bin"))?;
    std::fs::create_dir_all(root.join("app/node_modules/left"))?;
    std::fs::write(root.join("app/server.js"), "listen()")?;
    std::fs::write(root.join("app/.env"), "KEY=1")?;
    std::fs::write(root.join("app/.npmrc"), "//registry.example/:_authToken=1")?;
    std::fs::write(root.join("app/node_modules/left/index.js"), "pad()")?;
    std::fs::write(root.join("app/node_modules/left/package.json"), r#"{"name":"left","version":"1.3.0"}"#)?;
    std::fs::write(root.join("app/bin/run"), "#!/bin/sh")?;
    std::fs::set_permissions(root.join("app/bin/run"), std::fs::Permissions::from_mode(0o755))?;
    symlink("bin/run", root.join("app/link"))
}

fn ensure(held: bool, what: &str) -> Result<(), String> {
    if held { Ok(()) } else { Err(what.to_owned()) }
}

fn text(e: RegistryError) -> String {
    e.to_string()
}

fn io(e: std::io::Error) -> String {
    e.to_string()
}
