//! Alerts that are sent before a handshake has begun (RFC 8446 section 6).

use rustls::AlertDescription;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// Record type of alerts.
const ALERT: u8 = 21;
/// Record version of TLS 1.2, which stands in the records of TLS 1.3 too (RFC 8446 section 5.1).
const VERSION: [u8; 2] = [3, 3];
/// Alert level that ends the connection.
const FATAL: u8 = 2;

/// Sends a fatal alert in clear, and ends the stream. Nothing is computed for it.
pub(crate) async fn send<S: AsyncWrite + Unpin>(stream: &mut S, description: AlertDescription) {
    let record = [ALERT, VERSION[0], VERSION[1], 0, 2, FATAL, u8::from(description)];
    // Whoever is gone does not need it.
    if stream.write_all(&record).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
