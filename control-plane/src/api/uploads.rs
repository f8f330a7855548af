//! Uploads of source archives through pre-signed URLs.

use axum::Json;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::http::StatusCode;
use common::api::Upload;
use common::id::UploadId;
use common::problem::Problem;
use common::source::upload_key;
use futures::TryStreamExt as _;
use object_store::ObjectStoreExt as _;
use serde::Deserialize;

use super::State;
use super::error::{ApiError, Path, Query};
use crate::uploads::UploadError;

/// Bytes of one part of a streamed upload.
const PART: usize = 8 << 20;

/// Makes a place to put a ZIP archive. It has to be uploaded within a quarter of an hour, and deployed within another hour.
#[utoipa::path(post, path = "/uploads", tag = "uploads",
    responses((status = 201, body = Upload), (status = 429, body = Problem)))]
pub(super) async fn create(Extract(state): Extract<State>) -> Result<(StatusCode, Json<Upload>), ApiError> {
    Ok((StatusCode::CREATED, Json(state.0.uploads.create(&state.0.api_url).await?)))
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::TooManyPending { .. } => Self::new(429, "too_many_uploads", detail),
            UploadError::Missing(_) => Self::new(400, "upload_missing", detail),
            UploadError::TooLarge(_) => Self::new(413, "upload_too_large", detail),
            UploadError::Rows(e) => e.into(),
            UploadError::Objects(e) => e.into(),
        }
    }
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
    if !state.0.uploads.check(&id, signed.expires, &signed.signature) {
        let detail = "This upload URL is not valid or is too old. Ask for a new one.";
        return Err(ApiError::new(403, "upload_url_invalid", detail));
    }
    let limit = state.0.uploads.max_bytes();
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
                    break Err(UploadError::TooLarge(limit).into());
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
