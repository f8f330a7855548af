//! The head of an app's answer that goes to the visitor as it came: what the edge adds and takes away is decided field
//! by field, without a map of them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_http::{ResponseHeader, header_value_from_raw};
use response_cache::Hit;
use wire::{Framing, Response, ResponseFraming};

use super::super::{Ctx, Request, hop_by_hop, incoming, response_filter};
use crate::compress::{self, Choice};

/// The head of an app's answer.
pub(crate) struct AsItCame<'a> {
    pub(crate) status: StatusCode,
    from: From<'a>,
    ctx: &'a Ctx,
    /// Whether the answer would be another one for visitors who take it compressed, and does not say so.
    varies: bool,
}

/// Whose head it is.
#[derive(Clone, Copy)]
enum From<'a> {
    /// The app's, as the strict parser has read it.
    App(&'a Response, &'a Bytes),
    /// The response cache's.
    Kept(&'a Hit),
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
        Some(Self { varies, ..Self::new(status, response, bytes, ctx) })
    }

    /// An answer that is the same for every visitor.
    pub(super) const fn new(status: StatusCode, response: &'a Response, bytes: &'a Bytes, ctx: &'a Ctx) -> Self {
        Self { status, from: From::App(response, bytes), ctx, varies: false }
    }

    /// A kept answer; `None` when it is compressed.
    pub(super) fn of_kept(request: &Request<'_>, hit: &'a Hit, ctx: &'a Ctx) -> Option<Self> {
        let (status, headers) = (hit.code(), hit.headers());
        let (authorizes, accepted) = (request.authorizes(), request.accept_encoding());
        let mut facts = compress::facts(request.method(), authorizes, accepted, status, headers, true);
        facts.length = Some(hit.length());
        let varies = match response_filter::choose(facts, ctx) {
            Choice::Never => false,
            Choice::For(None) => {
                !headers.get_all(header::VARY).iter().any(|value| compress::names_coding(value.as_bytes()))
            }
            Choice::For(Some(_)) => return None,
        };
        Some(Self { status, from: From::Kept(hit), ctx, varies })
    }

    /// What the app says after the status.
    pub(crate) fn reason(&self) -> &[u8] {
        let known = || self.status.canonical_reason().unwrap_or_default().as_bytes();
        match self.from {
            From::App(response, bytes) => {
                let reason = response.reason.of(bytes);
                // What is no text is nothing that a person could read.
                if std::str::from_utf8(reason).is_ok() { reason } else { known() }
            }
            From::Kept(_) => known(),
        }
    }

    /// Whether it has a `Content-Length`.
    pub(crate) const fn has_length(&self) -> bool {
        // Where there is no body, there is none to have a length (RFC 9110 section 8.6).
        let may_have = !matches!(self.status, StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT);
        match self.from {
            From::App(response, _) => response.has_length && may_have,
            From::Kept(_) => may_have,
        }
    }

    /// Whether it has a `Date`.
    pub(crate) const fn has_date(&self) -> bool {
        match self.from {
            From::App(response, _) => response.has_date,
            // Nothing is kept without.
            From::Kept(_) => true,
        }
    }

    /// The fields for the visitor, without those that frame the body but its length.
    pub(crate) fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        match self.from {
            From::App(response, bytes) => self.each_of_app(response, bytes, &mut put),
            From::Kept(hit) => self.each_kept(hit, &mut put),
        }
        response_filter::each_dress(self.ctx, |name, value| put(name.as_str().as_bytes(), value.as_bytes()));
        if self.varies {
            put(header::VARY.as_str().as_bytes(), compress::VARY.as_bytes());
        }
    }

    fn each_of_app(&self, response: &Response, bytes: &Bytes, put: &mut impl FnMut(&[u8], &[u8])) {
        let connection = response.connection.map(|span| span.of(bytes)).unwrap_or_default();
        let is_named = |name: &[u8]| {
            hop_by_hop::named(connection).any(|other| other.eq_ignore_ascii_case(name)) && hop_by_hop::may_name(name)
        };
        for (name, value) in response.fields(bytes) {
            let is_framing = name.eq_ignore_ascii_case(b"transfer-encoding")
                || (!self.has_length() && name.eq_ignore_ascii_case(b"content-length"));
            let is_replaced = || response_filter::is_dress(name, self.ctx);
            if !is_framing && !hop_by_hop::is_apps(name, self.status) && !is_replaced() && !is_named(name) {
                put(name, value);
            }
        }
    }

    fn each_kept(&self, hit: &Hit, put: &mut impl FnMut(&[u8], &[u8])) {
        for (name, value) in hit.headers() {
            let is_told = *name == header::CONTENT_LENGTH || *name == header::AGE;
            if !is_told && !response_filter::is_dress(name.as_str().as_bytes(), self.ctx) {
                put(name.as_str().as_bytes(), value.as_bytes());
            }
        }
        if self.has_length() {
            put(header::CONTENT_LENGTH.as_str().as_bytes(), HeaderValue::from(hit.length()).as_bytes());
        }
        put(header::AGE.as_str().as_bytes(), HeaderValue::from(hit.age()).as_bytes());
        put(response_cache::CACHE_STATUS.as_str().as_bytes(), hit.status().value().as_bytes());
    }

    /// The same in a map.
    ///
    /// # Errors
    /// When a field is none, which the strict parser rules out.
    pub(crate) fn to_header(&self) -> pingora_core::Result<ResponseHeader> {
        let mut head = ResponseHeader::build_no_case(self.status, Some(incoming::FIELDS))?;
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
