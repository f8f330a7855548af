//! Names and labels of what the platform has in a cluster. Only what bears [`MANAGED`] is ever changed or deleted.

use common::id::DeploymentId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Who wrote which field, for server-side apply.
pub(crate) const FIELD_MANAGER: &str = "astrocloud-deployer";
/// Label that says whose an object is, and its value.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const ASTROCLOUD: &str = "astrocloud";
/// Selector of everything that is the platform's.
pub(crate) const MANAGED: &str = "app.kubernetes.io/managed-by=astrocloud";
/// Label with the project's name.
const PROJECT: &str = "app.kubernetes.io/name";
/// Label with the deployment's id.
pub(crate) const DEPLOYMENT: &str = "astrocloud.dev/deployment";
/// Annotation of a namespace and its objects with the account, as it is written.
pub(crate) const ACCOUNT: &str = "astrocloud.dev/account";
/// Annotation of a ReplicaSet: when its app was told to stop, in milliseconds since the Unix epoch.
pub(crate) const STOPPED_AT: &str = "astrocloud.dev/stopped-at";
/// Annotation of a ReplicaSet: which deployer has it in hand.
pub(crate) const HELD_BY: &str = "astrocloud.dev/held-by";
/// Annotation of a ReplicaSet: until when that deployer is believed, in milliseconds since the Unix epoch.
pub(crate) const HELD_UNTIL: &str = "astrocloud.dev/held-until";
/// The app's container.
pub(crate) const CONTAINER: &str = "app";
/// Port that apps listen on, as the variable `PORT` says: each has an address of its own.
pub(crate) const PORT: u16 = 8080;
/// Longest name of a namespace (RFC 1123 label).
const MAX_NAME: usize = 63;
/// Characters of a digest in a name.
const DIGEST_CHARS: usize = 10;

/// Namespace of an account. One whose id can't be part of a name as it is gets a digest of it, so that no two share one.
pub(crate) fn namespace(prefix: &str, account: &str) -> String {
    let good = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = prefix.chars().chain(account.chars().map(good)).collect();
    let as_it_is = account.chars().all(|c| c == good(c)) && !account.starts_with('-') && !account.ends_with('-');
    if as_it_is && !account.is_empty() && name.len() <= MAX_NAME {
        return name;
    }
    let short: String = name.chars().take(MAX_NAME - DIGEST_CHARS - 1).collect();
    format!("{}-{}", short.trim_end_matches('-'), digest(account.as_bytes()))
}

/// Name of a deployment's objects.
pub(crate) fn object(deployment: &DeploymentId) -> String {
    deployment.as_str().replace('_', "-")
}

/// Labels of a deployment's objects.
pub(crate) fn labels(deployment: &DeploymentId, project: &str) -> Value {
    json!({ MANAGED_BY: ASTROCLOUD, PROJECT: project, DEPLOYMENT: deployment.as_str() })
}

/// A digest that fits into a name.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars().take(DIGEST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_account_has_a_namespace_of_its_own_with_a_name_that_is_allowed() {
        assert_eq!(namespace("astrocloud-", "owner"), "astrocloud-owner");
        let long = "x".repeat(80);
        let accounts = ["owner", "Owner", "acc_1", "acc-1", "acc.1", "-a", "a-", "", &long];
        let names: BTreeSet<String> = accounts.iter().map(|account| namespace("astrocloud-", account)).collect();
        assert_eq!(names.len(), accounts.len());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(names.iter().all(|n| n.len() <= MAX_NAME && n.chars().all(allowed) && !n.ends_with('-')), "{names:?}");
    }
}
