//! How an image came about: an in-toto statement with SLSA's predicate
//! (<https://slsa.dev/spec/v1.0/provenance>, <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>).

use serde_json::{Value, json};

use super::super::NewImage;
use super::config::Base;
use crate::time::Timestamp;

/// What the parameters of a build mean.
const BUILD_TYPE: &str = "https://astrocloud.dev/provenance/node-app/v1";
/// Who builds.
const BUILDER: &str = "https://astrocloud.dev/deployer";

/// The statement about the image with this digest, `sha256:…`.
pub(super) fn of(image: &NewImage<'_>, base: Option<&Base>, digest: &str) -> std::io::Result<Vec<u8>> {
    let origin = image.origin;
    let source = origin.source.as_ref().map(|source| {
        let mut material = json!({ "uri": format!("git+{source}") });
        if let Some(commit) = &origin.commit {
            material["digest"] = json!({ "gitCommit": commit });
        }
        material
    });
    let base = base.map(|base| {
        let digest = base.digest.trim_start_matches("sha256:");
        json!({ "uri": format!("oci://{}", base.name), "digest": { "sha256": digest } })
    });
    let materials: Vec<Value> = source.into_iter().chain(base).collect();
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": image.name, "digest": { "sha256": digest.trim_start_matches("sha256:") } }],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": { "source": origin.source, "commit": origin.commit },
                "internalParameters": {
                    "framework": origin.framework,
                    "isolation": origin.isolation,
                    "node": image.start.node,
                },
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": { "id": BUILDER, "version": { "astrocloud": env!("CARGO_PKG_VERSION") } },
                "metadata": {
                    "invocationId": origin.deployment.as_str(),
                    "startedOn": origin.begun.to_string(),
                    "finishedOn": Timestamp::now().to_string(),
                },
            },
        },
    });
    Ok(serde_json::to_vec(&statement)?)
}
