//! Who asks.

use std::path::PathBuf;

use common::secret::Secret;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use url::Url;

/// How one proves who one is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// One of the account's two keys. Whoever has it may do everything.
    SharedKey(Secret),
    /// A shared access signature of the container or the account, as Azure's portal gives it. It can't sign uploads.
    Sas(Secret),
    /// A token that the cluster writes to a file, again and again
    /// (<https://azure.github.io/azure-workload-identity/docs/concepts.html>).
    WorkloadIdentity {
        /// The directory.
        tenant: String,
        /// The identity's client id.
        client: String,
        /// The file.
        token_file: PathBuf,
        /// Where tokens are exchanged; the public cloud's when there is none.
        authority: Option<Url>,
    },
    /// The identity of the machine.
    ManagedIdentity {
        /// Client id of the identity, where the machine has several.
        client: Option<String>,
    },
}

impl Credential {
    /// Whether URLs can be signed for others.
    pub(crate) const fn signs(&self) -> bool {
        !matches!(self, Self::Sas(_))
    }

    /// Whether tokens come over plain HTTP: from the machine's own metadata service.
    pub(crate) const fn tokens_over_http(&self) -> bool {
        matches!(self, Self::ManagedIdentity { .. })
    }

    pub(crate) fn apply(&self, builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
        match self {
            Self::SharedKey(key) => builder.with_credential_type("access_key").with_access_key(key.reveal()),
            Self::Sas(sas) => {
                builder.with_credential_type("sas_token").with_config(AzureConfigKey::SasKey, sas.reveal())
            }
            Self::WorkloadIdentity { tenant, client, token_file, authority } => {
                let builder = builder
                    .with_credential_type("workload_identity")
                    .with_tenant_id(tenant)
                    .with_client_id(client)
                    .with_federated_token_file(token_file.to_string_lossy());
                match authority {
                    Some(authority) => builder.with_authority_host(authority.as_str().trim_end_matches('/')),
                    None => builder,
                }
            }
            Self::ManagedIdentity { client } => {
                let builder = builder.with_credential_type("managed_identity");
                match client {
                    Some(client) => builder.with_client_id(client),
                    None => builder,
                }
            }
        }
    }
}
