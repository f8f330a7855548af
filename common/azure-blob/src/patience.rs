//! An HTTP client that waits for as long as Azure asks it to. `object_store` tries again on its own, with growing pauses,
//! but does not know `Retry-After` (RFC 9110 section 10.2.3), which Azure sends when an account is over its limits.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use http::StatusCode;
use http::header::RETRY_AFTER;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

/// Longest wait that is obeyed: whoever waits for the answer gives up not much later.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Makes clients that wait.
#[derive(Debug)]
pub struct Connector;

#[derive(Debug)]
struct Patient(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Patient(ReqwestConnector::default().connect(options)?)))
    }
}

#[async_trait]
impl HttpService for Patient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let response = self.0.execute(request).await?;
        if let Some(wait) = wait(&response, SystemTime::now()) {
            tracing::info!(status = response.status().as_u16(), wait_s = wait.as_secs(), "Azure asks to wait");
            // The caller tries again when it has this answer, so it gets it when it may.
            tokio::time::sleep(wait).await;
        }
        Ok(response)
    }
}

/// How long one is asked to wait before the next try.
fn wait(response: &HttpResponse, now: SystemTime) -> Option<Duration> {
    let status = response.status();
    if !(status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()) {
        return None;
    }
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(status: u16, retry_after: &str) -> HttpResponse {
        http::Response::builder().status(status).header(RETRY_AFTER, retry_after).body(String::new().into()).unwrap()
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_bounded() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(wait(&answer(503, "7"), now), Some(Duration::from_secs(7)));
        assert_eq!(wait(&answer(429, "9999"), now), Some(WAIT_MAX));
        let date = httpdate::fmt_http_date(now + Duration::from_secs(3));
        assert_eq!(wait(&answer(500, &date), now), Some(Duration::from_secs(3)));
        assert_eq!(wait(&answer(503, "soon"), now), None);
        assert_eq!(wait(&answer(200, "7"), now), None);
    }
}
