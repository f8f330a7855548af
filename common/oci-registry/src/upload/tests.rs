//! An upload to a registry that keeps what arrived of a broken chunk, which Docker's own does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use url::Url;

use super::*;
use crate::auth::Login;
use crate::client::Patience;

/// What the registry has, and how many chunks came.
type Has = Arc<Mutex<(Vec<u8>, usize)>>;

const UPLOAD: &str = "/v2/shop/blobs/uploads/1";

fn state(status: StatusCode, has: usize) -> Response {
    let range = format!("0-{}", has.saturating_sub(1));
    (status, [("location", UPLOAD.to_owned()), ("range", range)]).into_response()
}

async fn chunk(State(has): State<Has>, headers: HeaderMap, body: Body) -> Response {
    let mut has = has.lock().unwrap();
    has.1 += 1;
    let begin = headers["content-range"].to_str().unwrap().split('-').next().unwrap().parse::<usize>().unwrap();
    if begin != has.0.len() {
        return state(StatusCode::RANGE_NOT_SATISFIABLE, has.0.len());
    }
    if has.1 == 2 {
        has.0.extend_from_slice(&body[..body.len() / 2]);
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response();
    }
    has.0.extend_from_slice(&body);
    state(StatusCode::ACCEPTED, has.0.len())
}

#[tokio::test]
async fn a_chunk_of_which_half_arrived_goes_on_in_its_middle() {
    let has = Has::default();
    let begin = post(|| async { state(StatusCode::ACCEPTED, 0) });
    let asked = |State(has): State<Has>| async move { state(StatusCode::NO_CONTENT, has.lock().unwrap().0.len()) };
    let routes = Router::new()
        .route("/v2/shop/blobs/{digest}", get(|| async { StatusCode::NOT_FOUND }))
        .route("/v2/shop/blobs/uploads/", begin)
        .route(UPLOAD, get(asked).patch(chunk).put(|| async { StatusCode::CREATED }))
        .layer(DefaultBodyLimit::disable())
        .with_state(has.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let patience = Patience { answer: Duration::from_secs(60), away: Duration::from_secs(60) };
    let client = Client::new(url, Arc::new(Login::Anonymous), patience).unwrap();

    let bytes: Vec<u8> = (0..CHUNK * 2 + 7).map(|n| (n % 251) as u8).collect();
    let document = Document::new(oci_spec::image::MediaType::ImageLayer, bytes.clone()).unwrap();
    let sent = client.put_blob("shop", &document.descriptor, &Content::from(&document)).await.unwrap();
    assert!(has.lock().unwrap().0 == bytes, "every byte is there once");
    // Half a chunk went twice over the wire, because only the registry knew that it had it.
    assert_eq!(sent, bytes.len() as u64 + CHUNK / 2);
}
