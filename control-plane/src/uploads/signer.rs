//! Pre-signed upload URLs: whoever has one may put one archive, for a while. The signature is a keyed
//! BLAKE3 hash over id and time.

use common::id::UploadId;
use common::secret::MasterKey;
use common::time::Timestamp;
use url::Url;

const PURPOSE: &str = "astrocloud 2026-11 pre-signed upload URLs";

/// Makes and checks upload URLs.
#[derive(Clone)]
pub struct Signer {
    key: [u8; 32],
}

impl Signer {
    /// A signer whose key comes from the installation's.
    pub fn new(master: &MasterKey) -> Self {
        Self { key: master.derive(PURPOSE) }
    }

    fn tag(&self, upload: &UploadId, expires: i64) -> blake3::Hash {
        blake3::keyed_hash(&self.key, format!("PUT\n{upload}\n{expires}").as_bytes())
    }

    /// A URL below `base` that works until `expires`.
    pub fn sign(&self, base: &Url, upload: &UploadId, expires: Timestamp) -> Url {
        let tag = self.tag(upload, expires.as_millis()).to_hex();
        let mut url = base.clone();
        url.set_path(&format!("/uploads/{upload}"));
        url.set_query(Some(&format!("expires={}&signature={tag}", expires.as_millis())));
        url
    }

    /// Whether this URL was signed and still works.
    pub fn check(&self, upload: &UploadId, expires: i64, signature: &str) -> bool {
        // Hashes of this crate compare in constant time.
        let same = blake3::Hash::from_hex(signature).is_ok_and(|given| given == self.tag(upload, expires));
        same && Timestamp::from_millis(expires) > Timestamp::now()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_signed_url_is_good_for_its_upload_and_time_only() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::new(&MasterKey::load_or_create(&folder.path().join("key")).unwrap());
        let (upload, other) = (UploadId::new(), UploadId::new());
        let expires = Timestamp::now().after(Duration::from_secs(60));
        let url = signer.sign(&Url::parse("http://127.0.0.1:1/").unwrap(), &upload, expires);
        let signature = url.query_pairs().find(|(k, _)| k == "signature").unwrap().1.into_owned();
        assert!(signer.check(&upload, expires.as_millis(), &signature));
        assert!(!signer.check(&other, expires.as_millis(), &signature));
        assert!(!signer.check(&upload, expires.as_millis() + 1, &signature));
        let past = Timestamp::now().before(Duration::from_secs(1)).as_millis();
        let forged = signer.tag(&upload, past).to_hex();
        assert!(!signer.check(&upload, past, &forged));
    }
}
