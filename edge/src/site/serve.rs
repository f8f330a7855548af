//! From a request to a static site's answer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use common::id::DeploymentId;
use common::manifest::{self, Encoding};
use common::route::Earlier;
use common::time::Timestamp;
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::conditional::{self, Condition};
use super::negotiate::{self, Accepted};
use super::range::{self, Asked};
use super::resolve::{self, Resolved};
use super::{Asset, Form, Site, path};
use crate::answer;
use crate::cache::{Body, Cache, LoadError, MAX_WHOLE};
use crate::page::Page;
use crate::routes::Entry;

/// For files whose name changes with their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For files whose content changes with each deployment.
const REVALIDATE: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// Answers a request for a static deployment.
pub(crate) async fn serve(session: &mut Session, entry: &Entry, earlier: &[Earlier], cache: &Cache) -> Result<()> {
    let sent = match decide(session.req_header(), entry, earlier, cache).await {
        Ok(Decision::File(file)) => match file.prepare(session.req_header(), cache).await {
            Ok(content) => return file.send(session, entry, content).await,
            Err(page) => Err(page),
        },
        Ok(Decision::Redirect(to)) => Ok(to),
        Err(page) => Err(page),
    };
    match sent {
        Ok(to) => redirect(session, entry, &to).await,
        Err(page) => page.send(session, Some(entry)).await,
    }
}

enum Decision {
    File(File),
    Redirect(String),
}

/// A file to be sent, decided but not yet read.
struct File {
    form: Form,
    size: u64,
    content_type: HeaderValue,
    varies: bool,
    encoding: Option<Encoding>,
    fingerprinted: bool,
    /// The deployment it comes from, when that is not the route's.
    earlier: Option<HeaderValue>,
    what: What,
}

/// What of a file is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Whole,
    Part(Range<u64>),
    NotModified,
    Unsatisfiable,
    /// Whole, to say that what was asked for does not exist.
    NotFoundPage,
}

async fn decide(
    request: &RequestHeader,
    entry: &Entry,
    earlier: &[Earlier],
    cache: &Cache,
) -> std::result::Result<Decision, Page> {
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Page::MethodNotAllowed);
    }
    let (raw, query) = target(request);
    let path = path::decode(raw).map_err(|e| Page::BadRequest(e.0))?;
    let deployment = &entry.route.deployment;
    let site = cache.site(deployment).await.map_err(|e| manifest_failed(deployment, &e))?;
    match resolve::resolve(&site, &path) {
        Resolved::File(asset) => return File::of(request, asset).map(Decision::File),
        Resolved::AddSlash => return Ok(Decision::Redirect(resolve::location(raw, query, true))),
        Resolved::RemoveSlash => return Ok(Decision::Redirect(resolve::location(raw, query, false))),
        Resolved::MergeSlashes => return Ok(Decision::Redirect(resolve::merged_location(&path, query))),
        Resolved::Missing => {}
    }
    if let Some((site, from)) = find_earlier(&path, earlier, cache).await?
        && let Some(asset) = site.file(&path)
    {
        let earlier = HeaderValue::from_str(from.as_str()).ok();
        return File::of(request, asset).map(|file| Decision::File(File { earlier, ..file }));
    }
    if negotiate::is_navigation(&request.headers)
        && let Some(asset) = resolve::app_page(&site, &path)
    {
        return File::of(request, asset).map(Decision::File);
    }
    if negotiate::takes_page(&request.headers, &path)
        && let Some(asset) = resolve::not_found_page(&site, &path)
    {
        return File::not_found(request, asset).map(Decision::File);
    }
    Err(Page::NotFound)
}

/// Path and query of a request's target, as they were sent.
fn target(request: &RequestHeader) -> (&[u8], Option<&[u8]>) {
    let raw = request.raw_path();
    // Of a target in absolute form, Pingora keeps the path apart.
    let raw = match request.uri.path_and_query() {
        Some(path) if !raw.starts_with(b"/") => path.as_str().as_bytes(),
        _ => raw,
    };
    match raw.iter().position(|b| *b == b'?') {
        Some(at) => (&raw[..at], Some(&raw[at + 1..])),
        None => (raw, None),
    }
}

/// The newest earlier deployment that has this path as a fingerprinted file and is still reachable.
async fn find_earlier<'a>(
    path: &str,
    earlier: &'a [Earlier],
    cache: &Cache,
) -> std::result::Result<Option<(Arc<Site>, &'a DeploymentId)>, Page> {
    // Spares reading manifests for what can't be fingerprinted.
    if earlier.is_empty() || !manifest::is_fingerprinted(path) {
        return Ok(None);
    }
    let now = Timestamp::now();
    for Earlier { deployment, .. } in earlier.iter().filter(|e| e.until > now) {
        match cache.site(deployment).await {
            Ok(site) if site.file(path).is_some_and(|a| a.fingerprinted) => return Ok(Some((site, deployment))),
            Ok(_) => {}
            // It was removed since the route was made.
            Err(e) if e.is_missing() => {}
            Err(e) => return Err(manifest_failed(deployment, &e)),
        }
    }
    Ok(None)
}

fn manifest_failed(deployment: &DeploymentId, error: &LoadError) -> Page {
    tracing::error!(%deployment, %error, "a manifest can't be loaded");
    Page::StoreFailed
}

impl File {
    fn of(request: &RequestHeader, asset: &Asset) -> std::result::Result<Self, Page> {
        let headers = &request.headers;
        let accepted = Accepted::of(headers);
        let asked = match headers.get(header::RANGE) {
            // A range is one of the file as it is.
            Some(value) if request.method == Method::GET && accepted.identity => {
                range::asked(value.as_bytes(), asset.size)
            }
            _ => Asked::Whole,
        };
        let part = match asked {
            Asked::Part(part) => Some(What::Part(part)),
            Asked::Unsatisfiable => Some(What::Unsatisfiable),
            Asked::Whole => None,
        };
        let part = part.filter(|_| conditional::range_holds(headers, asset.form(None).tag().as_bytes()));
        let encoding = match part {
            Some(_) => None,
            None => accepted.smallest(asset.size, &asset.variants).ok_or(Page::NotAcceptable)?,
        };
        let what = match conditional::evaluate(headers, asset.form(encoding).tag().as_bytes()) {
            Condition::Holds => part.unwrap_or(What::Whole),
            Condition::NotModified => What::NotModified,
            Condition::Failed => return Err(Page::PreconditionFailed),
        };
        Ok(Self::with(asset, encoding, what))
    }

    fn not_found(request: &RequestHeader, asset: &Asset) -> std::result::Result<Self, Page> {
        let accepted = Accepted::of(&request.headers);
        let encoding = accepted.smallest(asset.size, &asset.variants).ok_or(Page::NotFound)?;
        Ok(Self::with(asset, encoding, What::NotFoundPage))
    }

    fn with(asset: &Asset, encoding: Option<Encoding>, what: What) -> Self {
        Self {
            form: asset.form(encoding),
            size: asset.size_of(encoding),
            content_type: asset.content_type.clone(),
            varies: !asset.variants.is_empty(),
            encoding,
            fingerprinted: asset.fingerprinted,
            earlier: None,
            what,
        }
    }

    /// Bytes that the answer's body has, were it sent.
    fn range(&self) -> Range<u64> {
        match &self.what {
            What::Whole | What::NotFoundPage => 0..self.size,
            What::Part(part) => part.clone(),
            What::NotModified | What::Unsatisfiable => 0..0,
        }
    }

    /// Reads what is to be sent, or begins to, so that a failure can still be told.
    async fn prepare(&self, request: &RequestHeader, cache: &Cache) -> std::result::Result<Content, Page> {
        let range = self.range();
        if range.is_empty() || request.method == Method::HEAD {
            return Ok(Content::None);
        }
        let content = if self.size <= MAX_WHOLE {
            cache.body(self.form, self.size).await.map(Content::Whole)
        } else {
            cache.open(self.form, self.size, range).await.map(|p| Content::Pieces(Box::new(p))).map_err(Arc::new)
        };
        content.map_err(|error| {
            tracing::error!(key = self.form.key(), %error, "a blob can't be loaded");
            Page::StoreFailed
        })
    }

    async fn send(self, session: &mut Session, entry: &Entry, content: Content) -> Result<()> {
        let head = self.head(entry, &content);
        match content {
            Content::None => answer::send(session, head, Bytes::new()).await,
            Content::Whole(Body { bytes, .. }) => {
                let bytes = match self.what {
                    // A body that is kept whole is at most `MAX_WHOLE` bytes long, so this fits.
                    What::Part(part) => bytes.slice(part.start as usize..part.end as usize),
                    _ => bytes,
                };
                answer::send(session, head, bytes).await
            }
            Content::Pieces(mut pieces) => {
                answer::begin(session, head).await?;
                loop {
                    match pieces.next().await {
                        Ok(Some(piece)) => answer::write(session, piece, false).await?,
                        Ok(None) => return answer::write(session, Bytes::new(), true).await,
                        Err(error) => {
                            // The connection is closed before the promised length, so the visitor knows.
                            tracing::error!(key = self.form.key(), %error, "a blob broke off");
                            return Err(Error::because(ErrorType::FileReadError, "a blob broke off", error));
                        }
                    }
                }
            }
        }
    }

    fn head(&self, entry: &Entry, content: &Content) -> Parts {
        let status = match self.what {
            What::Whole => StatusCode::OK,
            What::Part(_) => StatusCode::PARTIAL_CONTENT,
            What::NotModified => StatusCode::NOT_MODIFIED,
            What::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            What::NotFoundPage => StatusCode::NOT_FOUND,
        };
        let mut head = answer::head(status, Some(entry));
        let fields = &mut head.headers;
        if let Some(earlier) = &self.earlier {
            fields.insert(answer::DEPLOYMENT, earlier.clone());
        }
        if self.varies {
            fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if self.what == What::Unsatisfiable {
            fields.insert(header::CONTENT_RANGE, unsatisfied(self.size));
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            return head;
        }
        let cached = if self.fingerprinted { FOR_EVER } else { REVALIDATE };
        fields.insert(header::CACHE_CONTROL, cached);
        let whole = match content {
            Content::Whole(body) => Some(body),
            _ => None,
        };
        if self.what != What::NotFoundPage {
            let tag = whole.map_or_else(|| self.form.tag().value(), |body| body.tag.clone());
            fields.insert(header::ETAG, tag);
        }
        if self.what == What::NotModified {
            return head;
        }
        fields.insert(header::CONTENT_TYPE, self.content_type.clone());
        if let Some(encoding) = self.encoding {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.token()));
        }
        if self.what != What::NotFoundPage {
            fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let length = match (&self.what, whole) {
            (What::Part(part), _) => {
                fields.insert(header::CONTENT_RANGE, satisfied(part, self.size));
                (part.end - part.start).into()
            }
            (_, Some(body)) => body.length.clone(),
            (_, None) => self.size.into(),
        };
        fields.insert(header::CONTENT_LENGTH, length);
        head
    }
}

/// What of a file was read before its head is written.
enum Content {
    None,
    Whole(Body),
    Pieces(Box<crate::cache::Pieces>),
}

fn satisfied(part: &Range<u64>, size: u64) -> HeaderValue {
    content_range(&format!("bytes {}-{}/{size}", part.start, part.end - 1))
}

fn unsatisfied(size: u64) -> HeaderValue {
    content_range(&format!("bytes */{size}"))
}

fn content_range(text: &str) -> HeaderValue {
    // Letters, digits and punctuation always are a header's value.
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("bytes */*"))
}

async fn redirect(session: &mut Session, entry: &Entry, to: &str) -> Result<()> {
    let mut head = answer::head(StatusCode::PERMANENT_REDIRECT, Some(entry));
    let to = HeaderValue::from_str(to).map_err(|e| Error::because(ErrorType::InternalError, "a redirect", e))?;
    head.headers.insert(header::LOCATION, to);
    // The next deployment may have the page at the other address.
    head.headers.insert(header::CACHE_CONTROL, REVALIDATE);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer::send(session, head, Bytes::new()).await
}
