//! What refers to an image: kept by the registry, or where it does not, in an index under a tag made of the image's
//! digest (distribution specification, "Referrers Tag Schema").

use common::registry::oci::{Artifact, Document};
use oci_spec::image::{Descriptor, ImageIndex, ImageIndexBuilder, MediaType};
use reqwest::Method;
use reqwest::header::ACCEPT;

use crate::client::{Client, pull};
use crate::download::{bounded, damaged};
use crate::failure::Failure;
use crate::manifests::digest;
use crate::upload::Content;

/// How often the index is written: somebody else may write it at the same time.
const TRIES: usize = 3;

impl Client {
    /// Stores an artifact, and sees to it that it is found by its subject.
    pub(crate) async fn attach(&self, repository: &str, subject: &str, artifact: &Artifact) -> Result<(), Failure> {
        for document in [&artifact.config, &artifact.payload] {
            self.put_blob(repository, &document.descriptor, &Content::from(document)).await?;
        }
        let own = artifact.manifest.digest();
        if self.put_manifest(repository, &own, &artifact.manifest).await? {
            return Ok(());
        }
        for _ in 0..TRIES {
            let mut all = self.tagged(repository, subject).await?;
            if all.iter().any(|listed| digest(listed) == own) {
                return Ok(());
            }
            all.push(artifact.listed.clone());
            let index = ImageIndexBuilder::default()
                .schema_version(2_u32)
                .media_type(MediaType::ImageIndex)
                .manifests(all)
                .build()
                .map_err(std::io::Error::other)?;
            let index = Document::json(MediaType::ImageIndex, &index)?;
            self.put_manifest(repository, &tag(subject), &index).await?;
        }
        // The last write may have held; if not, the artifact is there and found by its digest alone.
        if !self.tagged(repository, subject).await?.iter().any(|listed| digest(listed) == own) {
            tracing::warn!(repository, subject, artifact = own, "an artifact is not listed at its image");
        }
        Ok(())
    }

    /// Everything that refers to an image.
    pub(crate) async fn referrers(&self, repository: &str, subject: &str) -> Result<Vec<Descriptor>, Failure> {
        let path = format!("{repository}/referrers/{subject}");
        let call = self.call(Method::GET, &path, pull(repository))?.with(ACCEPT, MediaType::ImageIndex.as_ref());
        match self.send(&call).await {
            Ok(response) => read(subject, &bounded(response).await?),
            // Not every registry has this call; there the tag tells.
            Err(Failure::Missing(_) | Failure::Refused { .. }) => self.tagged(repository, subject).await,
            Err(e) => Err(e),
        }
    }

    /// Deletes what refers to an image, and the index of it.
    pub(crate) async fn detach(&self, repository: &str, subject: &str) -> Result<(), Failure> {
        for artifact in self.referrers(repository, subject).await? {
            self.delete_manifest(repository, &digest(&artifact)).await?;
        }
        match self.manifest(repository, &tag(subject)).await {
            Ok(index) => self.delete_manifest(repository, &index.digest()).await,
            Err(Failure::Missing(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn tagged(&self, repository: &str, subject: &str) -> Result<Vec<Descriptor>, Failure> {
        match self.manifest(repository, &tag(subject)).await {
            Ok(index) => read(subject, &index.bytes),
            Err(Failure::Missing(_)) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

fn read(subject: &str, index: &[u8]) -> Result<Vec<Descriptor>, Failure> {
    let index: ImageIndex = serde_json::from_slice(index).map_err(|e| damaged(subject, &e.to_string()))?;
    Ok(index.manifests().clone())
}

fn tag(subject: &str) -> String {
    subject.replace(':', "-")
}
