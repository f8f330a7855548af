//! A file as an answer: which form of it, which part, and the head before it.

use std::sync::Arc;

use common::id::DeploymentId;
use common::manifest::Encoding;
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode, header};

use super::answer::{Answer, Body, Facts, REVALIDATE};
use super::conditional::{self, Condition};
use super::multipart::Multipart;
use super::negotiate::Accepted;
use super::range::{self, Asked, Part};
use super::{Asset, Form};
use crate::answer;
use crate::cache::{self, Cache, LoadError, MAX_WHOLE};
use crate::page::Page;
use crate::routes::Entry;

/// For files whose name changes with their content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A file to be sent, decided but not yet read.
pub(super) struct File {
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
    Part(Part),
    /// Several parts, of which the first is in front.
    Parts(Vec<Part>),
    NotModified,
    Unsatisfiable,
    /// Whole, to say what is wrong.
    Error(StatusCode),
}

impl File {
    /// The form and the part that the request asks for.
    pub(super) fn of(facts: &Facts<'_>, asset: &Asset) -> Result<Self, Page> {
        let headers = facts.headers;
        let accepted = Accepted::of(headers);
        let asked = match headers.get(header::RANGE) {
            // A range is one of the file as it is.
            Some(value) if facts.method == Method::GET && accepted.identity => {
                range::asked(value.as_bytes(), asset.size)
            }
            _ => Asked::Whole,
        };
        let part = match asked {
            Asked::Part(part) => Some(What::Part(part)),
            Asked::Parts(parts) => Some(What::Parts(parts)),
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

    /// The file as the page of an error; `None` when no form of it is acceptable.
    pub(super) fn error(facts: &Facts<'_>, asset: &Asset, status: StatusCode) -> Option<Self> {
        let encoding = Accepted::of(facts.headers).smallest(asset.size, &asset.variants)?;
        Some(Self::with(asset, encoding, What::Error(status)))
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

    /// The same file of an earlier deployment.
    pub(super) fn out_of(self, earlier: &DeploymentId) -> Self {
        Self { earlier: HeaderValue::from_str(earlier.as_str()).ok(), ..self }
    }

    /// Reads what is to be sent, or begins to, so that a failure can still be told. `constant`: the file was found by
    /// its path alone.
    pub(super) async fn answer(
        self,
        entry: &Entry,
        facts: &Facts<'_>,
        cache: &Cache,
        constant: bool,
    ) -> Result<Answer, Page> {
        // Whether the answer also depends on a range or a condition; of those, only a 304 may be kept apart.
        let constant = constant && self.what == What::Whole;
        if facts.method == Method::HEAD {
            return Ok(Answer { head: self.head(entry, None, None), body: Body::Empty, constant });
        }
        let read = self.read(entry, cache).await.map_err(|error| {
            tracing::error!(key = self.form.key(), %error, "a blob can't be loaded");
            Page::StoreFailed
        })?;
        let (whole, body) = read;
        let parts = match &body {
            Body::Multipart(parts) => Some(&**parts),
            _ => None,
        };
        let head = self.head(entry, whole.as_ref(), parts);
        Ok(Answer { head, body, constant })
    }

    /// The body; and the file, when it is kept whole in memory.
    async fn read(&self, entry: &Entry, cache: &Cache) -> Result<(Option<cache::Body>, Body), Arc<LoadError>> {
        let project = &entry.route.project;
        let part = match &self.what {
            What::NotModified | What::Unsatisfiable => return Ok((None, Body::Empty)),
            What::Parts(parts) => {
                let parts = Multipart::new(self.form, self.size, &self.content_type, parts, (cache, project)).await?;
                return Ok((None, Body::Multipart(Box::new(parts))));
            }
            What::Whole | What::Error(_) => 0..self.size,
            What::Part(part) => part.clone(),
        };
        if part.is_empty() {
            return Ok((None, Body::Empty));
        }
        if self.size > MAX_WHOLE {
            let pieces = cache.open(project, self.form, self.size, part).await?;
            return Ok((None, Body::Pieces(Box::new(pieces))));
        }
        let whole = cache.body(project, self.form, self.size).await?;
        // A body that is kept whole is at most `MAX_WHOLE` bytes long, so this fits.
        let bytes = whole.bytes.slice(part.start as usize..part.end as usize);
        Ok((Some(whole), Body::Whole(bytes, self.form)))
    }

    fn head(&self, entry: &Entry, whole: Option<&cache::Body>, parts: Option<&Multipart>) -> Parts {
        let status = match self.what {
            What::Whole => StatusCode::OK,
            What::Part(_) | What::Parts(_) => StatusCode::PARTIAL_CONTENT,
            What::NotModified => StatusCode::NOT_MODIFIED,
            What::Unsatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            What::Error(status) => status,
        };
        let is_error = matches!(self.what, What::Error(_));
        let mut head = answer::head(status, Some(entry));
        let fields = &mut head.headers;
        if let Some(earlier) = &self.earlier {
            fields.insert(answer::DEPLOYMENT, earlier.clone());
        }
        if self.varies {
            fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if self.what == What::Unsatisfiable {
            fields.insert(header::CONTENT_RANGE, range::unsatisfied(self.size));
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            return head;
        }
        let cached = if self.fingerprinted { FOR_EVER } else { REVALIDATE };
        fields.insert(header::CACHE_CONTROL, cached);
        if !is_error {
            let tag = whole.map_or_else(|| self.form.tag().value(), |body| body.tag.clone());
            fields.insert(header::ETAG, tag);
        }
        if self.what == What::NotModified {
            return head;
        }
        let content_type = parts.map_or_else(|| self.content_type.clone(), Multipart::content_type);
        fields.insert(header::CONTENT_TYPE, content_type);
        if let Some(encoding) = self.encoding {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.token()));
        }
        if !is_error {
            fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let length = match (&self.what, whole, parts) {
            (What::Part(part), _, _) => {
                fields.insert(header::CONTENT_RANGE, range::satisfied(part, self.size));
                (part.end - part.start).into()
            }
            (_, Some(body), _) => body.length.clone(),
            (_, None, Some(parts)) => parts.length().into(),
            (_, None, None) => self.size.into(),
        };
        fields.insert(header::CONTENT_LENGTH, length);
        head
    }
}
