//! Manifests read, written and deleted.

use bytes::Bytes;
use common::registry::oci::{Document, sha256};
use oci_spec::image::{Descriptor, MediaType};
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};

use crate::client::{Client, pull, push, scope};
use crate::download::{bounded, damaged};
use crate::failure::Failure;

/// What is taken for a manifest; Docker's own kinds are read, too, for base images.
const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.docker.distribution.manifest.list.v2+json";
/// Says that a registry keeps track of what refers to an image.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

impl Client {
    /// A manifest, by its tag or digest.
    pub(crate) async fn manifest(&self, repository: &str, reference: &str) -> Result<Document, Failure> {
        let path = format!("{repository}/manifests/{reference}");
        let call = self.call(Method::GET, &path, pull(repository))?.with(ACCEPT, KINDS);
        let mut retry = self.retry();
        let (kind, bytes) = loop {
            let got = async {
                let response = self.once(&call).await?;
                let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
                Ok((kind, bounded(response).await?))
            };
            match got.await {
                Ok(got) => break got,
                Err(failure) => retry.wait(failure).await?,
            }
        };
        if let Some(hex) = reference.strip_prefix("sha256:")
            && sha256(&bytes) != hex
        {
            return Err(damaged(reference, "the registry gives another manifest"));
        }
        Ok(Document::new(MediaType::from(kind.as_deref().unwrap_or_default()), bytes)?)
    }

    /// Writes a manifest under a tag or its digest. Tells whether the registry has noted what it refers to.
    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Document,
    ) -> Result<bool, Failure> {
        let path = format!("{repository}/manifests/{reference}");
        let call = self
            .call(Method::PUT, &path, push(repository))?
            .with(CONTENT_TYPE, manifest.descriptor.media_type().as_ref())
            .body(Bytes::copy_from_slice(&manifest.bytes));
        Ok(self.send(&call).await?.headers().contains_key(SUBJECT))
    }

    /// Deletes a manifest by its digest; one that is not there is no error.
    pub(crate) async fn delete_manifest(&self, repository: &str, digest: &str) -> Result<(), Failure> {
        let path = format!("{repository}/manifests/{digest}");
        let call = self.call(Method::DELETE, &path, vec![scope(repository, "pull,push,delete")])?;
        match self.send(&call).await {
            Ok(_) | Err(Failure::Missing(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The digest of a descriptor, `sha256:…`.
pub(crate) fn digest(descriptor: &Descriptor) -> String {
    descriptor.digest().to_string()
}
