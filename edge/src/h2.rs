//! HTTP/2 connections of visitors (RFC 9113).
//!
//! In: a connection that speaks HTTP/2. Out: hot files at once, and every other request as a [`crate::visit::Visit`];
//! those for apps that speak HTTP/2 themselves, and WebSockets, as a session for Pingora's proxy. All requests of a
//! connection are answered within its task, so that what is ready at the same time leaves in one write, and nobody is
//! woken for that. They end with their connection. What a visitor may open, reset and send without asking for anything
//! is bounded.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use http::HeaderValue;

use crate::connection::{Lent, Visits};

mod alarm;
mod head;
mod io;
mod meter;
mod serving;
mod session;
mod stream;
mod visit;

use io::Io;
use meter::Meter;
use serving::Serving;

/// What a visitor may do on one HTTP/2 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H2Limits {
    /// Most requests at once (RFC 9113 section 5.1.2).
    pub streams: u32,
    /// Frames a second that cost the visitor nothing, on average: PING, SETTINGS, RST_STREAM, PRIORITY, CONTINUATION
    /// and empty DATA; and WINDOW_UPDATE, of which one counts an eighth and each 512 bytes of answers allow one more.
    /// Four seconds' worth may come at once; beyond, the connection is closed.
    pub control_frames_per_s: u32,
    /// Streams that were reset and whose handling has not ended; beyond, the connection is closed (rapid reset,
    /// CVE-2023-44487).
    pub reset_streams: usize,
}

impl Default for H2Limits {
    /// RFC 9113 recommends a hundred streams at least. Browsers send a few control frames a second, gRPC's clients some
    /// hundred, and people who leave a page reset what it was loading.
    fn default() -> Self {
        Self { streams: 100, control_frames_per_s: 500, reset_streams: 64 }
    }
}

/// Bytes of one stream's request body that may be on their way: a file uploads at eighty megabits over fifty
/// milliseconds.
const STREAM_WINDOW: u32 = 512 << 10;
/// The same of all streams of a connection together; as much memory as it can take from the edge.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answers that wait within one stream before its sender is held back.
const SEND_BUFFER: usize = 256 << 10;
/// Streams that the edge reset because of the visitor's mistakes; beyond, the connection is closed.
const MISTAKES: usize = 64;
/// How long a visitor who was told that the connection ends may take to leave by itself.
const LEAVE: Duration = Duration::from_secs(2);
/// How long the streams of a visitor who left may take to end by themselves, which they do at their next step.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(crate) async fn serve(visits: &Arc<Visits>, connection: Lent) {
    let Some(origin) = connection.origin() else { return };
    let io = Io::new(connection, Meter::new(visits.h2.control_frames_per_s));
    let cork = io.cork();
    // Boxed, because it is larger than what comes after it and soon over.
    let opening = Box::pin(async {
        tokio::select! {
            // Whoever opens a connection says at once what it is for.
            opened = tokio::time::timeout(visits.timeouts.client_head, builder(visits).handshake(io)) => opened.ok(),
            () = visits.newcomers.wait() => None,
        }
    });
    let connection = match opening.await {
        Some(Ok(connection)) => connection,
        Some(Err(error)) => return tracing::debug!(%error, "a visitor speaks no HTTP/2"),
        None => return tracing::debug!("a visitor does not begin with HTTP/2"),
    };
    let mut serving = Serving::new(visits, &origin, connection, cork);
    poll_fn(|cx| serving.poll(cx)).await;
    let mut left = serving.end();
    if left.is_empty() {
        return;
    }
    let ends = async { while left.next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, ends).await.is_err() {
        tracing::debug!("requests of a visitor who left are cut off");
    }
}

fn builder(visits: &Visits) -> h2::server::Builder {
    let limits = &visits.h2;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(visits.limits.head).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(limits.reset_streams)
        .max_pending_accept_reset_streams(limits.reset_streams)
        .max_local_error_reset_streams(Some(MISTAKES))
        .enable_connect_protocol();
    builder
}

/// Marks the value of a field as one that comes once. In the table of a connection's fields it would take the place of
/// those that come again, and each answer would look at all like it that came before (RFC 7541 section 6.2.3).
pub(crate) fn once(value: &mut HeaderValue) {
    value.set_sensitive(true);
}
