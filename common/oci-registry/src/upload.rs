//! Blobs into a registry: in chunks, and after a failure from where the registry says that it stopped
//! (distribution specification, "Pushing a blob in chunks").

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use common::registry::oci::Document;
use oci_spec::image::Descriptor;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use crate::client::{Call, Client, push, scope};
use crate::failure::Failure;

/// Bytes of a chunk: what is lost at most when a connection breaks, and what Azure's own client sends.
const CHUNK: u64 = 4 << 20;
/// Bytes of the largest chunk that a registry may insist on: chunks are in memory.
const CHUNK_MAX: u64 = 64 << 20;
/// How often an upload begins anew because the registry knows nothing of it any more.
const ANEW: u32 = 5;
/// A registry's smallest chunk.
const MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Memory(Bytes),
    File(PathBuf),
}

impl From<&Document> for Content {
    fn from(document: &Document) -> Self {
        Self::Memory(Bytes::copy_from_slice(&document.bytes))
    }
}

impl Content {
    async fn read(&self, from: u64, bytes: u64) -> std::io::Result<Bytes> {
        let size = usize::try_from(bytes).map_err(std::io::Error::other)?;
        match self {
            Self::Memory(all) => {
                let from = usize::try_from(from).map_err(std::io::Error::other)?;
                Ok(all.slice(from..from + size))
            }
            Self::File(path) => {
                let path = path.clone();
                let read = move || {
                    let mut file = std::fs::File::open(path)?;
                    file.seek(SeekFrom::Start(from))?;
                    let mut chunk = vec![0; size];
                    file.read_exact(&mut chunk)?;
                    Ok(Bytes::from(chunk))
                };
                tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?
            }
        }
    }
}

/// An upload that the registry has begun.
#[derive(Debug)]
struct Session {
    url: Url,
    /// Bytes that it has.
    has: u64,
    chunk: u64,
}

impl Client {
    /// Whether a repository has a blob.
    pub(crate) async fn has_blob(&self, repository: &str, digest: &str) -> Result<bool, Failure> {
        let call = self.call(Method::HEAD, &format!("{repository}/blobs/{digest}"), push(repository))?;
        match self.send(&call).await {
            Ok(_) => Ok(true),
            Err(Failure::Missing(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives a repository a blob that another one of this registry has; tells whether that was possible.
    pub(crate) async fn mount(&self, repository: &str, digest: &str, from: &str) -> Result<bool, Failure> {
        let mut scopes = push(repository);
        scopes.push(scope(from, "pull"));
        let mut call = self.call(Method::POST, &format!("{repository}/blobs/uploads/"), scopes)?;
        call.url.query_pairs_mut().append_pair("mount", digest).append_pair("from", from);
        match self.send(&call).await {
            Ok(response) if response.status() == StatusCode::CREATED => Ok(true),
            // An upload was begun instead; it is given up, so that it need not time out.
            Ok(response) => {
                if let Some(url) = self.location(&response)? {
                    let mut cancel = self.call(Method::DELETE, "", push(repository))?;
                    cancel.url = url;
                    // It times out all the same.
                    let _ = self.once(&cancel).await;
                }
                Ok(false)
            }
            // Some say so when they can't find it there.
            Err(Failure::Missing(_) | Failure::Refused { status: StatusCode::METHOD_NOT_ALLOWED, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Puts a blob into a repository unless it is there; returns how many of its bytes were sent, repeats among them.
    pub(crate) async fn put_blob(
        &self,
        repository: &str,
        blob: &Descriptor,
        content: &Content,
    ) -> Result<u64, Failure> {
        let digest = blob.digest().to_string();
        if self.has_blob(repository, &digest).await? {
            return Ok(0);
        }
        let (mut retry, mut anew, mut sent) = (self.retry(), 0, 0);
        let mut session = self.begin(repository).await?;
        loop {
            let failure = match self.step(repository, blob, content, &mut session, &mut sent).await {
                Ok(true) => return Ok(sent),
                Ok(false) => {
                    retry.progress();
                    continue;
                }
                // It has other bytes than we think.
                Err(Failure::Refused { status: StatusCode::RANGE_NOT_SATISFIABLE, said }) => {
                    Failure::Passing { why: said, wait: None }
                }
                // Distribution says so of an upload that was broken within a chunk.
                Err(Failure::Missing(said)) => Failure::Passing { why: said, wait: None },
                Err(failure) => failure,
            };
            retry.wait(failure).await?;
            let had = session.has;
            match self.status(repository, &mut session).await {
                Ok(()) => tracing::info!(repository, from = session.has, had, "an upload is resumed"),
                // Its end may have come through, and the answer not.
                Err(Failure::Missing(_)) if self.has_blob(repository, &digest).await? => return Ok(sent),
                Err(Failure::Missing(said) | Failure::Refused { said, .. }) if anew < ANEW => {
                    anew += 1;
                    tracing::info!(repository, lost = had, reason = said, "an upload begins anew");
                    session = self.begin(repository).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn begin(&self, repository: &str) -> Result<Session, Failure> {
        let call = self.call(Method::POST, &format!("{repository}/blobs/uploads/"), push(repository))?;
        let response = self.send(&call).await?;
        let least = response.headers().get(MIN_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let url = self.location(&response)?.ok_or_else(nowhere)?;
        Ok(Session { url, has: 0, chunk: CHUNK.max(least.unwrap_or(0)).min(CHUNK_MAX) })
    }

    /// Sends the next chunk, or ends the upload; tells whether it has ended.
    async fn step(
        &self,
        repository: &str,
        blob: &Descriptor,
        content: &Content,
        session: &mut Session,
        sent: &mut u64,
    ) -> Result<bool, Failure> {
        let bytes = session.chunk.min(blob.size().saturating_sub(session.has));
        let mut call = self.at(session, repository, Method::PATCH)?;
        if bytes == 0 {
            call.method = Method::PUT;
            call.url.query_pairs_mut().append_pair("digest", blob.digest().as_ref());
            self.once(&call.with(CONTENT_TYPE, "application/octet-stream")).await?;
            return Ok(true);
        }
        let range = format!("{}-{}", session.has, session.has + bytes - 1);
        let call = call.with(CONTENT_TYPE, "application/octet-stream").with(CONTENT_RANGE, range);
        let call = call.body(content.read(session.has, bytes).await?);
        *sent += bytes;
        let response = self.once(&call).await?;
        session.url = self.location(&response)?.ok_or_else(nowhere)?;
        session.has = range_end(&response).unwrap_or(session.has + bytes);
        Ok(false)
    }

    /// Asks the registry how far an upload got.
    async fn status(&self, repository: &str, session: &mut Session) -> Result<(), Failure> {
        let response = self.send(&self.at(session, repository, Method::GET)?).await?;
        if let Some(url) = self.location(&response)? {
            session.url = url;
        }
        session.has = range_end(&response).unwrap_or(0);
        Ok(())
    }

    fn at(&self, session: &Session, repository: &str, method: Method) -> Result<Call, Failure> {
        let mut call = self.call(method, "", push(repository))?;
        call.url = session.url.clone();
        Ok(call)
    }
}

/// How many bytes a registry has. `0-0` is what it says of an empty upload, although it means one byte.
fn range_end(response: &Response) -> Option<u64> {
    let text = response.headers().get(RANGE)?.to_str().ok()?;
    let (_, last) = text.trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some(if last == 0 { 0 } else { last + 1 })
}

fn nowhere() -> Failure {
    let said = "it does not say where to upload to".to_owned();
    Failure::Other(common::registry::RegistryError::Refused(said))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
