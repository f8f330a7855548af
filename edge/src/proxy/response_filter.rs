//! Phase: an app's answer as the visitor gets it: the head, the pieces of the body, the trailers.

use bytes::Bytes;
use common::policy::{AppProtocol, Compression};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
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
    response.insert_header(header::SERVER, answer::SERVER)?;
    response.insert_header(answer::REQUEST_ID, ctx.request_id.clone())?;
    if let Some(entry) = &ctx.entry {
        if let Some(deployment) = entry.deployment() {
            response.insert_header(answer::DEPLOYMENT, deployment.clone())?;
        }
        if !entry.route.production {
            response.insert_header(answer::ROBOTS, answer::NO_INDEX)?;
        }
        if let Some(hsts) = entry.hsts().filter(|_| ctx.scheme == Scheme::Https) {
            response.insert_header(header::STRICT_TRANSPORT_SECURITY, hsts.clone())?;
        }
    }
    compress(request, response, ctx)
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
    let Some(entry) = &ctx.entry else { return Ok(false) };
    if entry.route.policy.compression == Compression::Off || response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(false);
    }
    let facts = compress::Facts {
        method: &request.method,
        request: &request.headers,
        status: response.status,
        response: &response.headers,
        // Over HTTP/2, Pingora may tell the end apart from the last piece.
        ends_clearly: app::protocol(ctx) == AppProtocol::Http1,
    };
    let Choice::For(chosen) = compress::choose(&facts) else { return Ok(false) };
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
