//! What Pingora asks of a session of another kind than its own, answered by the stream.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use h2::Reason;
use http::{HeaderMap, header};
use pingora_core::Result;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::CustomMessageWrite;
use pingora_core::protocols::http::custom::server::Session as CustomSession;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_http::{RequestHeader, ResponseHeader};

use super::{Session, Tunnel, unsent};
use crate::h2::stream::linger;

#[async_trait]
impl CustomSession for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.request
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.tunnel == Tunnel::Asked { Ok(None) } else { self.read().await }
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        if self.is_body_done() {
            return Ok(());
        }
        // Past this, dropping the stream tells the visitor that no more is read.
        let limit = self.drain_timeout.unwrap_or(Duration::MAX);
        let drain = async {
            while self.read().await?.is_some() {}
            Ok(())
        };
        tokio::time::timeout(limit, drain).await.unwrap_or(Ok(()))
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(head, end)
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), end)
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        if let Some(sender) = self.sender.as_mut().filter(|_| !self.has_ended) {
            sender.send_trailers(trailers).map_err(unsent)?;
            self.has_ended = true;
        }
        Ok(())
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut is_last = false;
        for task in tasks {
            is_last |= match task {
                HttpTask::Header(head, end) => {
                    self.write_head(head, end)?;
                    end
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    if let Some(data) = data.filter(|d| !d.is_empty()) {
                        self.write(data, end).await?;
                    }
                    end
                }
                HttpTask::Trailer(Some(trailers)) => {
                    self.write_trailers(*trailers).await?;
                    true
                }
                HttpTask::Trailer(None) | HttpTask::Done => true,
                HttpTask::Failed(error) => return Err(error),
            };
        }
        if is_last {
            self.end()?;
        }
        Ok(is_last)
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        // Without the query, which may hold secrets.
        format!("{} {}", self.request.method, self.request.uri.path())
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.written.as_deref()
    }

    async fn shutdown(&mut self, code: u32, _: &str) {
        let reason = Reason::from(code);
        match &mut self.sender {
            _ if self.has_ended => {}
            Some(sender) => sender.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    async fn abandon(&mut self, context: &str) {
        self.shutdown(Reason::INTERNAL_ERROR.into(), context).await;
    }

    fn is_body_done(&mut self) -> bool {
        self.tunnel == Tunnel::Asked || self.is_body_empty() || self.body.is_end_stream()
    }

    async fn finish(&mut self) -> Result<()> {
        self.end()?;
        if self.tunnel == Tunnel::No {
            linger(&mut self.body).await;
        }
        Ok(())
    }

    fn is_body_empty(&mut self) -> bool {
        let is_zero = || self.request.headers.get(header::CONTENT_LENGTH).is_some_and(|l| l.as_bytes() == b"0");
        match self.tunnel {
            Tunnel::Asked => true,
            Tunnel::Open => false,
            Tunnel::No => self.bytes_read == 0 && (self.body.is_end_stream() || is_zero()),
        }
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.is_body_done() { self.left().await } else { self.read().await }
    }

    fn body_bytes_sent(&self) -> usize {
        self.bytes_sent
    }

    fn body_bytes_read(&self) -> usize {
        self.bytes_read
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        let mut text = BytesMut::new();
        for part in [self.request.method.as_str().as_bytes(), b" ", self.request.raw_path(), b" HTTP/1.1\r\n"] {
            text.extend_from_slice(part);
        }
        for (name, value) in &self.request.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                text.extend_from_slice(part);
            }
        }
        text.extend_from_slice(b"\r\n");
        text.freeze()
    }

    fn enable_retry_buffering(&mut self) {
        self.retry.get_or_insert_default();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.retry.as_ref().is_some_and(|r| r.is_cut)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        let retry = self.retry.as_ref().filter(|r| !r.is_cut && !r.bytes.is_empty())?;
        Some(Bytes::copy_from_slice(&retry.bytes))
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        // HTTP/2 has no messages beside requests and answers.
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }

    fn is_upgrade_req(&self) -> bool {
        self.tunnel != Tunnel::No
    }

    fn was_upgraded(&self) -> bool {
        self.tunnel == Tunnel::Open
    }
}
