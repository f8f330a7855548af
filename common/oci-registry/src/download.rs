//! Blobs out of a registry, checked against their digests, and after a failure from where they broke.

use std::io::Write as _;
use std::path::Path;

use common::registry::RegistryError;
use common::registry::oci::{Digesting, sha256};
use futures::TryStreamExt as _;
use oci_spec::image::Descriptor;
use reqwest::header::RANGE;
use reqwest::{Method, Response, StatusCode};
use tempfile::NamedTempFile;

use crate::client::{Client, pull};
use crate::failure::Failure;

/// Largest document that is read into memory, bytes: registries take no larger manifests, and configurations are like them.
const DOCUMENT: u64 = 4 << 20;

impl Client {
    /// A small blob.
    pub(crate) async fn document(&self, repository: &str, blob: &Descriptor) -> Result<Vec<u8>, Failure> {
        let digest = blob.digest().to_string();
        if blob.size() > DOCUMENT {
            return Err(damaged(&digest, "it is too large for a document"));
        }
        let call = self.call(Method::GET, &format!("{repository}/blobs/{digest}"), pull(repository))?;
        let mut retry = self.retry();
        let bytes = loop {
            let got = async { bounded(self.once(&call).await?).await };
            match got.await {
                Ok(bytes) => break bytes,
                Err(failure) => retry.wait(failure).await?,
            }
        };
        if format!("sha256:{}", sha256(&bytes)) == digest {
            Ok(bytes)
        } else {
            Err(damaged(&digest, "its bytes are others"))
        }
    }

    /// A blob as a file in `folder`.
    pub(crate) async fn blob(
        &self,
        repository: &str,
        blob: &Descriptor,
        folder: &Path,
    ) -> Result<NamedTempFile, Failure> {
        let digest = blob.digest().to_string();
        let mut call = self.call(Method::GET, &format!("{repository}/blobs/{digest}"), pull(repository))?;
        call.is_long = true;
        let mut file = Digesting::new(NamedTempFile::new_in(folder)?);
        let (mut retry, mut has) = (self.retry(), 0);
        loop {
            let before = has;
            let ranged = if has == 0 { call.clone() } else { call.clone().with(RANGE, format!("bytes={has}-")) };
            let copied = async {
                let response = self.once(&ranged).await?;
                if has > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
                    // It gives all or nothing.
                    file = Digesting::new(NamedTempFile::new_in(folder)?);
                    has = 0;
                }
                copy(response, &mut file, &mut has, blob.size()).await
            };
            match copied.await {
                Ok(()) => break,
                Err(failure) => {
                    if has > before {
                        retry.progress();
                    }
                    retry.wait(failure).await?;
                }
            }
        }
        file.flush()?;
        let (found, _, file) = file.finish();
        if format!("sha256:{found}") == digest { Ok(file) } else { Err(damaged(&digest, "its bytes are others")) }
    }
}

async fn copy(
    response: Response,
    file: &mut Digesting<NamedTempFile>,
    has: &mut u64,
    size: u64,
) -> Result<(), Failure> {
    let mut stream = std::pin::pin!(response.bytes_stream());
    while let Some(bytes) = stream.try_next().await? {
        *has += bytes.len() as u64;
        if *has > size {
            return Err(RegistryError::Refused("it sends more than a blob has".to_owned()).into());
        }
        file.write_all(&bytes)?;
    }
    if *has < size { Err(Failure::Passing { why: "a blob ended early".to_owned(), wait: None }) } else { Ok(()) }
}

/// An answer's body, unless it is larger than any document.
pub(crate) async fn bounded(response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut stream = std::pin::pin!(response.bytes_stream());
    while let Some(more) = stream.try_next().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() as u64 > DOCUMENT {
            return Err(RegistryError::Refused("it sends a document that is too large".to_owned()).into());
        }
    }
    Ok(bytes)
}

pub(crate) fn damaged(reference: &str, detail: &str) -> Failure {
    Failure::Other(RegistryError::Damaged { reference: reference.to_owned(), detail: detail.to_owned() })
}
