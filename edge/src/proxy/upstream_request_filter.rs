//! Phase: the request's head as the app gets it. The app may trust what these fields say of the visitor,
//! because whatever the visitor wrote there is replaced.

use http::{HeaderName, HeaderValue, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

const PREFIX: &str = "x-forwarded-";
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

pub(super) fn upstream_request_filter(session: &Session, request: &mut RequestHeader) -> Result<()> {
    let forged: Vec<HeaderName> = request
        .headers
        .keys()
        .filter(|name| name.as_str().starts_with(PREFIX) || **name == header::FORWARDED || **name == REAL_IP)
        .cloned()
        .collect();
    for name in &forged {
        request.remove_header(name);
    }
    if let Some(address) = session.client_addr().and_then(|a| a.as_inet()) {
        let address = HeaderValue::from_str(&address.ip().to_canonical().to_string())
            .map_err(|e| Error::because(ErrorType::InternalError, "the visitor's address", e))?;
        request.insert_header(FOR, address.clone())?;
        request.insert_header(REAL_IP, address)?;
    }
    request.insert_header(PROTO, HeaderValue::from_static("http"))?;
    if let Some(host) = request.headers.get(header::HOST).cloned() {
        request.insert_header(HOST, host)?;
    }
    // An app expects the origin form (RFC 9112 section 3.2.1).
    let is_origin_form = request.uri.authority().is_none() && request.raw_path().starts_with(b"/");
    let path = request.uri.path_and_query().filter(|_| !is_origin_form).map(|p| p.as_str().as_bytes().to_vec());
    if let Some(path) = path {
        request.set_raw_path(&path)?;
    }
    Ok(())
}
