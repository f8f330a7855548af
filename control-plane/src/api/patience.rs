//! Requests that only read wait while the database is away, instead of failing: asking twice changes nothing.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::UPGRADE;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

use super::error::DatabaseAway;

/// How long a request waits: a server restarts in less, and people wait no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Pause before the second try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks again, for as long as the answer is that the database is away.
pub(super) async fn wait_for_database(request: Request, next: Next) -> Response {
    if request.method() != Method::GET || request.headers().contains_key(UPGRADE) {
        return next.run(request).await;
    }
    let (head, _) = request.into_parts();
    let until = Instant::now() + LONGEST_WAIT;
    let mut pause = FIRST_PAUSE;
    loop {
        let response = next.clone().run(Request::from_parts(head.clone(), Body::empty())).await;
        if response.extensions().get::<DatabaseAway>().is_none() || Instant::now() + pause > until {
            return response;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
