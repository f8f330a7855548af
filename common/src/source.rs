//! Where a deployment's source comes from.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::id::UploadId;
use crate::secret::Secret;

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

impl Source {
    /// Takes the login (`user:password@`) out of a repository's URL: it is a secret, and the rest is shown.
    #[must_use]
    pub fn without_login(mut self) -> (Self, Option<Secret>) {
        let Self::Git { url, .. } = &mut self else { return (self, None) };
        let login = match (url.username(), url.password()) {
            ("", None) => return (self, None),
            (user, None) => Secret::new(user),
            (user, Some(password)) => Secret::new(format!("{user}:{password}")),
        };
        // Both can be set, or neither could have been there.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        (self, Some(login))
    }

    /// Puts back what [`Self::without_login`] took.
    #[must_use]
    pub fn with_login(mut self, login: &Secret) -> Self {
        if let Self::Git { url, .. } = &mut self {
            // Both parts are percent-encoded already, and stay as they are.
            let (user, password) = login.reveal().split_once(':').map_or((login.reveal(), None), |(u, p)| (u, Some(p)));
            let _ = url.set_username(user);
            let _ = url.set_password(password);
        }
        self
    }
}

/// Key in the object store of an archive that is a deployment's source.
#[must_use]
pub fn source_key(upload: &UploadId) -> String {
    format!("sources/{upload}.zip")
}

/// Key in the object store of an uploaded archive, until it is deployed.
#[must_use]
pub fn upload_key(upload: &UploadId) -> String {
    format!("uploads/{upload}.zip")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn git(url: &str) -> Source {
        Source::Git { url: Url::parse(url).unwrap(), branch: None, commit: None }
    }

    #[test]
    fn a_login_is_taken_out_of_a_url_and_put_back_as_it_was() {
        for (url, rest) in [
            ("https://bot:p%40ss%2Fword%3A1@host/repo.git", "https://host/repo.git"),
            ("https://token@host/repo.git", "https://host/repo.git"),
            ("https://host/repo.git", "https://host/repo.git"),
        ] {
            let (source, login) = git(url).without_login();
            assert_eq!(source, git(rest));
            assert_eq!(login.map_or(source.clone(), |login| source.with_login(&login)), git(url));
        }
    }
}
