//! Phase: an app's answer as the visitor gets it: the head, the pieces of the body, the trailers.

use bytes::Bytes;
use common::policy::{AppProtocol, Compression};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::visitor::Scheme;
use super::{Ctx, app};
use crate::answer;
use crate::compress::{self, Choice, Compressor};

pub(super) fn response_filter(session: &mut Session, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<()> {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        // 100 and 103 are passed on as they are; the fields below come with the answer itself.
        return Ok(());
    }
    let version = session.req_header().version;
    carry_date(version, response)?;
    let is_compressed = dress(session.req_header(), response, ctx)?;
    if is_compressed && version != Version::HTTP_2 {
        response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    if session.req_header().headers.contains_key(header::EXPECT) && !ctx.is_continued && !session.is_body_done() {
        // Refused before it was sent, the body may come or not, so what comes next can't be told from it.
        session.set_keepalive(None);
    }
    if version == Version::HTTP_10 && response.headers.contains_key(header::TRANSFER_ENCODING) {
        // HTTP/1.0 knows no chunks (RFC 9112 section 6.1): there a body ends with its connection.
        response.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    Ok(())
}

/// Gives an app's answer the edge's fields, and decides whether it is compressed. Returns whether it is.
pub(super) fn dress(request: &RequestHeader, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<bool> {
    let mut result = Ok(());
    each_dress(ctx, |name, value| {
        let inserted = response.insert_header(name, value);
        if inserted.is_err() {
            result = inserted;
        }
    });
    result?;
    compress(request, response, ctx)
}

/// The edge's fields of an app's answer. Each replaces what the app says under that name.
pub(super) fn each_dress(ctx: &Ctx, mut put: impl FnMut(&HeaderName, &HeaderValue)) {
    put(&header::SERVER, &answer::SERVER);
    put(&answer::REQUEST_ID, &ctx.request_id);
    if let Some(entry) = &ctx.entry {
        if let Some(deployment) = entry.deployment() {
            put(&answer::DEPLOYMENT, deployment);
        }
        if !entry.route.production {
            put(&answer::ROBOTS, &answer::NO_INDEX);
        }
        if let Some(hsts) = hsts(ctx) {
            put(&header::STRICT_TRANSPORT_SECURITY, hsts);
        }
    }
}

/// Whether a field of the app is replaced by one of [`each_dress`].
pub(super) fn is_dress(name: &[u8], ctx: &Ctx) -> bool {
    let is = |known: &HeaderName| name.eq_ignore_ascii_case(known.as_str().as_bytes());
    let entry = || ctx.entry.as_deref();
    // By length, because every field of every answer comes by here.
    match name.len() {
        6 => is(&header::SERVER),
        12 if is(&answer::REQUEST_ID) => true,
        12 => is(&answer::ROBOTS) && entry().is_some_and(|entry| !entry.route.production),
        23 => is(&answer::DEPLOYMENT) && entry().is_some_and(|entry| entry.deployment().is_some()),
        25 => is(&header::STRICT_TRANSPORT_SECURITY) && hsts(ctx).is_some(),
        _ => false,
    }
}

fn hsts(ctx: &Ctx) -> Option<&HeaderValue> {
    ctx.entry.as_ref().filter(|_| ctx.scheme == Scheme::Https)?.hsts()
}

/// Whether an app's answer is compressed, as far as the project wishes that.
pub(super) fn choose<'a>(
    facts: compress::Facts<'a, impl Iterator<Item = &'a [u8]>, impl Iterator<Item = &'a [u8]>>,
    ctx: &Ctx,
) -> Choice {
    match &ctx.entry {
        Some(entry) if entry.route.policy.compression != Compression::Off => compress::choose(facts),
        _ => Choice::Never,
    }
}

/// Keeps the app's date, over which Pingora writes the present one over HTTP/1.
fn carry_date(version: Version, response: &mut ResponseHeader) -> Result<()> {
    response.remove_header(answer::APP_DATE);
    let date = response.headers.get(header::DATE).filter(|_| version < Version::HTTP_2);
    match date.cloned() {
        Some(date) => response.insert_header(answer::APP_DATE, date),
        None => Ok(()),
    }
}

/// Compresses the answer that begins, where that helps.
fn compress(request: &RequestHeader, response: &mut ResponseHeader, ctx: &mut Ctx) -> Result<bool> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    // Over HTTP/2, Pingora may tell the end apart from the last piece.
    let ends_clearly = app::protocol(ctx) == AppProtocol::Http1;
    let authorizes = request.headers.contains_key(header::AUTHORIZATION);
    let accepted = request.headers.get_all(header::ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes);
    let (status, method) = (response.status, &request.method);
    let facts = compress::facts(method, authorizes, accepted, status, &response.headers, ends_clearly);
    let Choice::For(chosen) = choose(facts, ctx) else { return Ok(false) };
    // Pingora keeps the spelling of names beside the fields, so they are changed aside and put back.
    let mut changed = response.headers.clone();
    compress::vary(&mut changed);
    if let Some(encoding) = chosen {
        let compressor = Compressor::new(encoding, &response.headers)
            .map_err(|e| Error::because(ErrorType::InternalError, "a compressor can't be made", e))?;
        ctx.compressor = Some(Box::new(compressor));
        compress::rewrite(&mut changed, encoding);
    }
    put_back(response, &changed)?;
    Ok(chosen.is_some())
}

/// Makes the fields of `response` those of `changed`.
fn put_back(response: &mut ResponseHeader, changed: &HeaderMap) -> Result<()> {
    let gone: Vec<_> = response.headers.keys().filter(|n| !changed.contains_key(*n)).cloned().collect();
    for name in &gone {
        response.remove_header(name);
    }
    for name in changed.keys() {
        let (new, old) = (changed.get_all(name), response.headers.get_all(name));
        if new != old {
            let values: Vec<HeaderValue> = new.iter().cloned().collect();
            response.remove_header(name);
            for value in values {
                response.append_header(name.clone(), value)?;
            }
        }
    }
    Ok(())
}

/// A piece of the answer's body.
pub(super) fn body(body: &mut Option<Bytes>, is_last: bool, ctx: &mut Ctx) -> Result<()> {
    if let Some(watch) = &ctx.watch {
        watch.heard();
    }
    let Some(compressor) = &mut ctx.compressor else { return Ok(()) };
    let piece = body.take().unwrap_or_default();
    let out = compressor.push(&piece, is_last).map_err(broken)?;
    // An empty chunk would end the body.
    *body = (!out.is_empty() || is_last).then_some(out);
    Ok(())
}

/// The answer's trailers. What a compressor still holds comes before them, and takes their place.
pub(super) fn trailers(ctx: &mut Ctx) -> Result<Option<Bytes>> {
    let Some(compressor) = &mut ctx.compressor else { return Ok(None) };
    let rest = compressor.push(b"", true).map_err(broken)?;
    Ok((!rest.is_empty()).then_some(rest))
}

fn broken(e: std::io::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "a compressor failed", e)
}
