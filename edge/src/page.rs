//! Pages that the edge writes itself: errors and waits. They stand alone, and say nothing of the inside.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora_http::RequestHeader;

use crate::answer::{self, Reply};
use crate::routes::Entry;

/// After how many seconds a visitor's browser or client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// After how many seconds attempts to log in are forgotten.
const RETRY_LOGIN_AFTER: HeaderValue = HeaderValue::from_static("60");

/// What went wrong, for a visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The request can't be understood.
    BadRequest(&'static str),
    /// No route has this host.
    NoSite,
    /// The connection is for another host (RFC 9110 section 15.5.20).
    Misdirected,
    /// No route is known yet.
    NotReady,
    /// The site has no such page.
    NotFound,
    /// A static site is only read.
    MethodNotAllowed,
    /// No form of the file is acceptable.
    NotAcceptable,
    /// The visitor holds another state of the file than it asks to change.
    PreconditionFailed,
    /// The visitor was silent for too long.
    Timeout,
    /// The site's files can't be read now.
    StoreFailed,
    /// The app has no instance that answers; why, in a sentence.
    Unavailable(Option<String>),
    /// The app broke off or spoke no HTTP.
    BadGateway,
    /// The app took too long.
    GatewayTimeout,
    /// The edge failed.
    Internal,
    /// The visitor must log in (RFC 7617); the realm is what a browser shows beside the question.
    Unauthorized {
        /// Name of what is protected.
        realm: String,
    },
    /// The visitor sent wrong passwords too often.
    TooManyAttempts,
    /// The site itself answers with this status, and has no page for it.
    Chosen(StatusCode),
    /// The request is not served, with this status; it may come again in so many seconds.
    Refused(StatusCode, Option<u64>),
}

impl Page {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NoSite | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::NotReady | Self::StoreFailed | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::Chosen(status) | Self::Refused(status, _) => *status,
        }
    }

    fn sentence(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::BadRequest(why) => why,
            Self::NoSite => "There is no site at this address.",
            Self::Misdirected => "This connection is for another address. Please try again.",
            Self::NotReady => "This server is starting. Please try again in a moment.",
            Self::NotFound => "This page does not exist.",
            Self::MethodNotAllowed => "This address can only be read.",
            Self::NotAcceptable => "This file exists in no encoding that your client accepts.",
            Self::PreconditionFailed => "The file is not the one that your client expects.",
            Self::Timeout => "Your client was silent for too long.",
            Self::StoreFailed => "This page can't be loaded right now. Please try again in a moment.",
            Self::Unavailable(Some(why)) => why,
            Self::Unavailable(None) => "This app is not available right now. Please try again in a moment.",
            Self::BadGateway => "This app did not answer as it should. Please try again in a moment.",
            Self::GatewayTimeout => "This app took too long to answer. Please try again in a moment.",
            Self::Internal => "Something went wrong here. Please try again in a moment.",
            Self::Unauthorized { .. } => "This page is for those who have its password.",
            Self::TooManyAttempts => "There were too many attempts to log in. Please try again in a minute.",
            Self::Chosen(_) => "This page is not available.",
            Self::Refused(StatusCode::TOO_MANY_REQUESTS, _) => "You ask too often. Please try again in a moment.",
            Self::Refused(StatusCode::SERVICE_UNAVAILABLE, _) => {
                "There are too many visitors right now. Please try again in a moment."
            }
            Self::Refused(..) => "This page is not for you.",
        })
    }

    const fn retries(&self) -> bool {
        matches!(self.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    fn body(&self, html: bool) -> Bytes {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or("Error");
        let sentence = self.sentence();
        let text = if html {
            format!(
                "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                 <title>{title}</title>\n\
                 <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;display:grid;\
                 place-content:center;min-height:90vh;margin:0 1.5rem;text-align:center}}\
                 h1{{font-size:1.5rem;margin:0}}p{{max-width:32rem;margin:.5rem auto}}small{{opacity:.6}}</style>\n\
                 <main>\n<h1>{title}</h1>\n<p>{}</p>\n<small>{}</small>\n</main>\n",
                escaped(&sentence),
                status.as_u16()
            )
        } else {
            format!("{sentence}\n")
        };
        Bytes::from(text)
    }

    /// The page as an answer: HTML for browsers, plain text for others.
    pub(crate) fn reply(&self, request: &RequestHeader, entry: Option<&Entry>) -> Reply {
        let html = asks_for_html(&request.headers);
        let is_head = request.method == Method::HEAD;
        let body = self.body(html);
        let mut head = answer::head(self.status(), entry);
        let content_type = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
        head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.retries() {
            head.headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if let Self::Refused(_, Some(seconds)) = self {
            head.headers.insert(header::RETRY_AFTER, (*seconds).into());
        }
        if *self == Self::TooManyAttempts {
            head.headers.insert(header::RETRY_AFTER, RETRY_LOGIN_AFTER);
        }
        if let Self::Unauthorized { realm } = self {
            head.headers.insert(header::WWW_AUTHENTICATE, challenge(realm));
        }
        if *self == Self::MethodNotAllowed {
            head.headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Reply::new(head, if is_head { Bytes::new() } else { body })
    }
}

/// What asks a visitor's browser for name and password, in UTF-8 (RFC 7617 section 2.1).
fn challenge(realm: &str) -> HeaderValue {
    let realm = realm.replace(['"', '\\'], "'");
    HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
        .unwrap_or(HeaderValue::from_static("Basic realm=\"site\", charset=\"UTF-8\""))
}

/// Whether `Accept` names HTML, as browsers do when a person goes somewhere.
pub(crate) fn asks_for_html(headers: &HeaderMap) -> bool {
    accepts(headers, b"text/html")
}

/// Whether `Accept` names this media type or range.
pub(crate) fn accepts(headers: &HeaderMap, wanted: &[u8]) -> bool {
    headers.get_all(header::ACCEPT).iter().any(|value| names_type(value.as_bytes(), wanted))
}

/// Whether a value of `Accept` names this type.
pub(crate) fn names_type(value: &[u8], wanted: &[u8]) -> bool {
    value.split(|b| *b == b',').any(|item| {
        let name = item.split(|b| *b == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(wanted)
    })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sentence_from_elsewhere_is_text_and_never_markup() {
        let page = Page::Unavailable(Some("<script>alert(1)</script> & \"more\"".into()));
        let html = String::from_utf8(page.body(true).to_vec()).unwrap();
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;"), "{html}");
        assert_eq!(page.body(false), "<script>alert(1)</script> & \"more\"\n");
    }

    #[test]
    fn html_is_for_those_who_ask_for_it() {
        for (accept, html) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, TEXT/HTML;q=0.9", true),
            ("*/*", false),
            ("application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(asks_for_html(&headers), html, "{accept}");
        }
        assert!(!asks_for_html(&HeaderMap::new()));
    }
}
