//! Uploads of source archives through pre-signed URLs.

use axum::Json;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::Upload;
use common::id::UploadId;
use common::source::upload_key;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use serde::Deserialize;

use super::State;
use super::error::{ApiError, Path, Query};

/// Bytes of one part of a streamed upload.
const PART: usize = 8 << 20;

/// Makes a place to put a ZIP archive.
#[utoipa::path(post, path = "/uploads", tag = "uploads", responses((status = 201, body = Upload)))]
pub(super) async fn create(Extract(state): Extract<State>) -> (StatusCode, Json<Upload>) {
    let id = UploadId::new();
    let (url, expires_at) = state.0.signer.sign(&state.0.api_url, &id);
    (StatusCode::CREATED, Json(Upload { id, url, expires_at, max_bytes: state.0.config.max_upload_bytes }))
}

#[derive(Deserialize)]
pub(super) struct Signature {
    expires: i64,
    signature: String,
}

/// Takes the archive; it is there when this answers, or not at all.
pub(super) async fn put(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    Query(signed): Query<Signature>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let id: UploadId = id.parse()?;
    if !state.0.signer.check(&id, signed.expires, &signed.signature) {
        let detail = "This upload URL is not valid or is too old. Ask for a new one.";
        return Err(ApiError::new(403, "upload_url_invalid", detail));
    }
    let limit = state.0.config.max_upload_bytes;
    let failed = |e: object_store::Error| ApiError::from(common::blob::BlobError::from(e));
    let path = object_store::path::Path::from(upload_key(&id));
    let upload = state.0.ports.store.put_multipart(&path).await.map_err(failed)?;
    let mut writer = object_store::WriteMultipart::new_with_chunk_size(upload, PART);
    let mut stream = body.into_data_stream();
    let mut bytes = 0_u64;
    let outcome = loop {
        match stream.try_next().await {
            Ok(Some(chunk)) => {
                bytes += chunk.len() as u64;
                if bytes > limit {
                    break Err(ApiError::new(
                        413,
                        "upload_too_large",
                        format!(
                            "The archive is larger than {} MiB, the most that is accepted. Leave out what is not source.",
                            limit >> 20
                        ),
                    ));
                }
                if let Err(e) = writer.wait_for_capacity(1).await {
                    break Err(failed(e));
                }
                writer.put(chunk);
            }
            Ok(None) => break Ok(()),
            Err(e) => break Err(ApiError::invalid(format!("The upload broke off: {e}. Send it again."))),
        }
    };
    match outcome {
        Ok(()) => {
            writer.finish().await.map_err(failed)?;
            Ok(StatusCode::OK)
        }
        Err(e) => {
            if let Err(e) = writer.abort().await {
                tracing::warn!(upload = %id, error = %e, "parts of a broken upload stay behind");
            }
            Err(e)
        }
    }
}
