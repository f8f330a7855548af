//! Where a deployment's source comes from.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::id::UploadId;

/// The source of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// A ZIP archive put to a pre-signed URL.
    Upload {
        /// The upload's id, as `POST /api/v1/uploads` gave it.
        upload: UploadId,
        /// Name of the folder or archive it was made from, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A git repository over HTTP(S).
    Git {
        /// Clone URL.
        #[schema(value_type = String)]
        url: Url,
        /// Branch; the repository's default when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
        /// Commit to build; the branch's newest when absent. Recorded once it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<String>,
    },
}

/// Key in the object store of an uploaded archive.
#[must_use]
pub fn upload_key(upload: &UploadId) -> String {
    format!("uploads/{upload}.zip")
}
