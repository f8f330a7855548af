//! The head of an app's answer that goes to the visitor as it came: what the edge adds and takes away is decided field
//! by field, without a map of them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_http::{ResponseHeader, header_value_from_raw};
use wire::{Framing, Response, ResponseFraming};

use super::super::{Ctx, Request, hop_by_hop, response_filter};
use crate::compress::{self, Choice};

/// The head of an app's answer.
pub(crate) struct AsItCame<'a> {
    pub(crate) status: StatusCode,
    response: &'a Response,
    bytes: &'a Bytes,
    ctx: &'a Ctx,
    /// Whether the answer would be another one for visitors who take it compressed, and does not say so.
    varies: bool,
}

impl<'a> AsItCame<'a> {
    /// `None` when a map of its fields is needed, because it is compressed or looked into.
    pub(super) fn of(request: &Request<'_>, response: &'a Response, bytes: &'a Bytes, ctx: &'a Ctx) -> Option<Self> {
        let status = StatusCode::from_u16(response.status).ok().filter(|_| !response.is_repeated)?;
        let value = |span: Option<wire::Span>| span.map(|span| span.of(bytes));
        let facts = compress::Facts {
            method: request.method(),
            authorizes: request.authorizes(),
            accept_encoding: request.accept_encoding(),
            status,
            length: match response.framing {
                ResponseFraming::Like(Framing::Length(length)) => Some(length),
                ResponseFraming::Like(Framing::None) => Some(0),
                ResponseFraming::Like(Framing::Chunked) | ResponseFraming::Close => None,
            },
            sets_cookie: response.sets_cookie,
            keeps_form: response.keeps_form,
            cache_control: value(response.cache_control).into_iter(),
            content_type: value(response.content_type),
            ends_clearly: true,
        };
        let varies = match response_filter::choose(facts, ctx) {
            Choice::Never => false,
            Choice::For(None) => !value(response.vary).is_some_and(compress::names_coding),
            Choice::For(Some(_)) => return None,
        };
        Some(Self { status, response, bytes, ctx, varies })
    }

    /// What the app says after the status.
    pub(crate) fn reason(&self) -> &[u8] {
        let reason = self.response.reason.of(self.bytes);
        // What is no text is nothing that a person could read.
        let known = || self.status.canonical_reason().unwrap_or_default().as_bytes();
        if std::str::from_utf8(reason).is_ok() { reason } else { known() }
    }

    /// Whether it has a `Content-Length`.
    pub(crate) const fn has_length(&self) -> bool {
        self.response.has_length && self.response.status != StatusCode::NO_CONTENT.as_u16()
    }

    /// Whether it has a `Date`.
    pub(crate) const fn has_date(&self) -> bool {
        self.response.has_date
    }

    /// The fields for the visitor, without those that frame the body but its length.
    pub(crate) fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        let connection = self.response.connection.map(|span| span.of(self.bytes)).unwrap_or_default();
        let is_named = |name: &[u8]| {
            hop_by_hop::named(connection).any(|other| other.eq_ignore_ascii_case(name)) && hop_by_hop::may_name(name)
        };
        for (name, value) in self.response.fields(self.bytes) {
            // There is no body to have a length (RFC 9110 section 8.6).
            let is_framing = name.eq_ignore_ascii_case(b"transfer-encoding")
                || (!self.has_length() && name.eq_ignore_ascii_case(b"content-length"));
            let is_replaced = || response_filter::is_dress(name, self.ctx);
            if !is_framing && !hop_by_hop::is_apps(name, self.status) && !is_replaced() && !is_named(name) {
                put(name, value);
            }
        }
        response_filter::each_dress(self.ctx, |name, value| put(name.as_str().as_bytes(), value.as_bytes()));
        if self.varies {
            put(header::VARY.as_str().as_bytes(), compress::VARY.as_bytes());
        }
    }

    /// The same in a map.
    ///
    /// # Errors
    /// When a field is none, which the strict parser rules out.
    pub(crate) fn to_header(&self) -> pingora_core::Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(self.status, Some(super::forward::FIELDS))?;
        let mut result = Ok(());
        self.each_field(|name, value| {
            let value = match HeaderValue::from_bytes(value) {
                Ok(value) => value,
                Err(_) => header_value_from_raw(Bytes::copy_from_slice(value)),
            };
            let added = HeaderName::from_bytes(name).map_err(|e| {
                pingora_core::Error::because(pingora_core::ErrorType::InvalidHTTPHeader, "an app's field", e)
            });
            if let Err(error) = added.and_then(|name| head.append_header(name, value)) {
                result = Err(error);
            }
        });
        result.map(|()| head)
    }
}
