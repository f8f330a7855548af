//! Clients of an Azurite.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use azure_blob::{Address, AzureBlob, Config, Credential};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::secret::Secret;
use testkit::azurite::{ACCOUNT, Azurite, KEY};
use url::form_urlencoded::Serializer;

use crate::identity::{Authority, CLIENT, TENANT};

/// The container of these tests.
pub const CONTAINER: &str = "sites";

pub fn address(azurite: &Azurite) -> Address {
    let address: Address = format!("azure://{ACCOUNT}/{CONTAINER}").parse().unwrap();
    address.at(&azurite.endpoint().parse().unwrap()).unwrap()
}

fn open(azurite: &Azurite, credential: Credential) -> AzureBlob {
    let ca_file: Option<PathBuf> = azurite.endpoint().starts_with("https:").then(|| azurite.certificate());
    AzureBlob::open(Config { address: address(azurite), credential, ca_file }).unwrap()
}

pub fn with_key(azurite: &Azurite) -> AzureBlob {
    open(azurite, Credential::SharedKey(Secret::new(KEY)))
}

pub fn with_identity(azurite: &Azurite, authority: &Authority) -> AzureBlob {
    open(
        azurite,
        Credential::WorkloadIdentity {
            tenant: TENANT.to_owned(),
            client: CLIENT.to_owned(),
            token_file: authority.token_file(),
            authority: Some(authority.url()),
        },
    )
}

/// With a SAS of the account, as the portal gives it
/// (<https://learn.microsoft.com/rest/api/storageservices/create-account-sas>).
pub fn with_sas(azurite: &Azurite) -> AzureBlob {
    let [permissions, services, types, end, version] = ["rwdlacup", "b", "sco", "2099-01-01T00:00:00Z", "2021-12-02"];
    let fields = [ACCOUNT, permissions, services, types, "", end, "", "", version, "", ""];
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
    let signature = STANDARD.encode(hmac::sign(&key, fields.join("\n").as_bytes()));
    let sas = Serializer::new(String::new())
        .extend_pairs([("sv", version), ("ss", services), ("srt", types), ("sp", permissions), ("se", end)])
        .append_pair("sig", &signature)
        .finish();
    open(azurite, Credential::Sas(Secret::new(sas)))
}
