//! From the facts of a request to a static site's answer, as a value: nothing is written here.

use std::sync::Arc;

use bytes::Bytes;
use common::id::DeploymentId;
use common::manifest;
use common::policy::Credential;
use common::route::{Earlier, Target};
use common::time::Timestamp;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::file::File;
use super::multipart::Multipart;
use super::resolve::{self, Resolved};
use super::rules::{Ask, Depends, Found};
use super::{Asset, Form, Site, negotiate, path};
use crate::answer;
use crate::cache::{Cache, LoadError, Pieces};
use crate::page::Page;
use crate::routes::Entry;

/// For redirects and for files whose content changes with each deployment.
pub(super) const REVALIDATE: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");

/// What of a request a static site's answer depends on, wherever the request was read.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The target's path as it was sent, without the query.
    pub(crate) path: &'a [u8],
    /// The target's query as it was sent, without its question mark.
    pub(crate) query: Option<&'a [u8]>,
    /// The fields. Only `Accept`, `Accept-Encoding`, `Accept-Language`, `Cookie`, `Range`, `Sec-Fetch-*` and those
    /// of conditions (RFC 9110 section 13.1) are looked at.
    pub(crate) headers: &'a HeaderMap,
    /// Whether it came over TLS.
    pub(crate) secure: bool,
    /// The visitor's country, ISO 3166-1 alpha-2, when it is known.
    pub(crate) country: Option<&'a str>,
    /// Whether the visitor had to log in, so that no cache may show the answer to others.
    pub(crate) protected: bool,
}

impl<'a> Facts<'a> {
    fn ask(&self, entry: &'a Entry, path: &'a str) -> Ask<'a> {
        let Self { query, headers, secure, country, .. } = *self;
        Ask { path, query, host: &entry.route.host, secure, headers, country }
    }
}

/// An answer that is not written yet.
pub(crate) struct Answer {
    /// Status and fields, `Content-Length` among them.
    pub(crate) head: Parts,
    /// What follows the head; empty in answers to HEAD.
    pub(crate) body: Body,
    /// Whether every request to this host with the same path, method, scheme and accepted encodings, and with neither
    /// a query, a range nor a condition, gets this very answer for as long as the route stays as it is. Only such
    /// an answer may be kept.
    pub(crate) constant: bool,
}

/// An answer's body.
pub(crate) enum Body {
    /// No body.
    Empty,
    /// In memory: all or a part of what the store keeps in this form.
    Whole(Bytes, Form),
    /// Read as it is sent.
    Pieces(Box<Pieces>),
    /// Several parts of a file (RFC 9110 section 14.6).
    Multipart(Box<Multipart>),
}

impl Body {
    /// The next bytes to send; `None` after the last.
    ///
    /// # Errors
    /// When the store fails after the answer has begun; the connection must be cut off then, before the promised
    /// length, so that the visitor knows.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, LoadError> {
        match self {
            Self::Empty => Ok(None),
            Self::Whole(..) => match std::mem::replace(self, Self::Empty) {
                Self::Whole(bytes, _) => Ok(Some(bytes)),
                _ => Ok(None),
            },
            Self::Pieces(pieces) => pieces.next().await,
            Self::Multipart(parts) => parts.next().await,
        }
    }
}

/// Answers a request for a route's static deployment. What can't be answered by the site is a page of the edge's own.
///
/// Who may see the site is not asked here: see [`login`].
///
/// # Errors
/// When the answer is an error; the page says which.
pub(crate) async fn answer(entry: &Entry, facts: &Facts<'_>, cache: &Cache) -> Result<Answer, Page> {
    let path = path::decode(facts.path).map_err(|e| Page::BadRequest(e.0))?;
    let site = load(entry, cache).await?;
    let request = Request { entry, facts, cache, site: &site, path: &path };
    let mut depends = Depends::default();
    let mut answer = request.answer(&mut depends).await?;
    request.finish(&mut answer, &mut depends);
    Ok(answer)
}

/// A site's files.
async fn load(entry: &Entry, cache: &Cache) -> Result<Arc<Site>, Page> {
    let deployment = &entry.route.deployment;
    cache.site(&entry.route.project, deployment).await.map_err(|e| manifest_failed(deployment, &e))
}

struct Request<'a> {
    entry: &'a Entry,
    facts: &'a Facts<'a>,
    cache: &'a Cache,
    site: &'a Site,
    path: &'a str,
}

impl Request<'_> {
    async fn answer(&self, depends: &mut Depends) -> Result<Answer, Page> {
        let Self { entry, facts, cache, site, path } = *self;
        let redirects = &site.rules.redirects;
        let resolved = resolve::resolve(site, path, entry.route.policy.trailing_slash);
        let is_missing = matches!(resolved, Resolved::Missing);
        if !is_missing && let Some(found) = redirects.over_file(&self.ask(), depends) {
            return self.follow(found).await;
        }
        let is_read = *facts.method == Method::GET || *facts.method == Method::HEAD;
        match resolved {
            Resolved::File(asset) if is_read => return self.file(asset, true).await,
            Resolved::AddSlash => return redirect(entry, PERMANENT, &resolve::location(facts.path, facts.query, true)),
            Resolved::RemoveSlash => {
                return redirect(entry, PERMANENT, &resolve::location(facts.path, facts.query, false));
            }
            Resolved::Moved(to) => return redirect(entry, PERMANENT, &resolve::moved_location(&to, facts.query)),
            Resolved::File(_) | Resolved::Missing => {}
        }
        depends.earlier |= is_missing && manifest::is_fingerprinted(path);
        if is_missing
            && let Some((site, from)) = find_earlier(path, entry, cache).await?
            && let Some(asset) = site.file(path)
        {
            return File::of(facts, asset)?.out_of(from).answer(entry, facts, cache, false).await;
        }
        if is_missing && let Some(found) = redirects.without_file(&self.ask(), depends) {
            return self.follow(found).await;
        }
        if !is_read {
            return Err(Page::MethodNotAllowed);
        }
        if negotiate::is_navigation(facts.headers)
            && let Some(asset) = resolve::app_page(site, path)
        {
            return self.file(asset, false).await;
        }
        if negotiate::takes_page(facts.headers, path)
            && let Some(asset) = resolve::not_found_page(site, path)
        {
            return self.error(Some(asset), StatusCode::NOT_FOUND).await;
        }
        Err(Page::NotFound)
    }

    /// Answers as a rule of the site says.
    async fn follow(&self, found: Found) -> Result<Answer, Page> {
        let is_read = *self.facts.method == Method::GET || *self.facts.method == Method::HEAD;
        let (status, path) = match found {
            Found::Move { status, to } => return redirect(self.entry, chosen(status)?, &to),
            _ if !is_read => return Err(Page::MethodNotAllowed),
            Found::Show { status: 200, path } => {
                return match resolve::find(self.site, &path) {
                    Some(asset) => self.file(asset, true).await,
                    None => self.error(resolve::not_found_page(self.site, self.path), StatusCode::NOT_FOUND).await,
                };
            }
            Found::Show { status, path } => (status, Some(path)),
            Found::Error { status } => (status, None),
        };
        let page = path.and_then(|path| resolve::find(self.site, &path));
        self.error(page.or_else(|| resolve::not_found_page(self.site, self.path)), chosen(status)?).await
    }

    async fn file(&self, asset: &Asset, constant: bool) -> Result<Answer, Page> {
        File::of(self.facts, asset)?.answer(self.entry, self.facts, self.cache, constant).await
    }

    async fn error(&self, asset: Option<&Asset>, status: StatusCode) -> Result<Answer, Page> {
        let own = if status == StatusCode::NOT_FOUND { Page::NotFound } else { Page::Chosen(status) };
        match asset.and_then(|asset| File::error(self.facts, asset, status)) {
            Some(page) => page.answer(self.entry, self.facts, self.cache, false).await,
            None => Err(own),
        }
    }

    /// Changes the fields as the site's rules and the route's protection say.
    fn finish(&self, answer: &mut Answer, depends: &mut Depends) {
        let fields = &mut answer.head.headers;
        if !answer.head.status.is_redirection() || answer.head.status == StatusCode::NOT_MODIFIED {
            self.site.rules.headers.apply(&self.ask(), self.entry.route.production, fields, depends);
        }
        if answer.head.status == StatusCode::NOT_MODIFIED {
            // The visitor has the file, and what describes it (RFC 9110 section 15.4.5).
            for described in [header::CONTENT_TYPE, header::CONTENT_DISPOSITION, header::CONTENT_LANGUAGE] {
                fields.remove(described);
            }
        }
        for (counts, name) in [(depends.language, "Accept-Language"), (depends.cookie, "Cookie")] {
            if counts {
                add_vary(fields, name);
            }
        }
        if depends.country || self.facts.protected {
            keep_private(fields);
        }
        let is_open = self.site.rules.logins.is_empty() && !self.facts.protected;
        answer.constant &= is_open && depends.is_nothing();
    }

    fn ask(&self) -> Ask<'_> {
        self.facts.ask(self.entry, self.path)
    }
}

/// Who may see what the request asks for, as the site itself says; and how many characters of the path say so. `None`
/// when it says nothing.
///
/// A page is covered in each of its spellings: whoever protects `/a` also means `/a.html` and `/a/index.html`.
///
/// # Errors
/// When the site can't be loaded.
pub(crate) async fn login(
    entry: &Entry,
    facts: &Facts<'_>,
    cache: &Cache,
) -> Result<Option<(usize, Vec<Credential>)>, Page> {
    let site = load(entry, cache).await?;
    let logins = &site.rules.logins;
    if logins.is_empty() {
        return Ok(None);
    }
    let Ok(path) = path::decode(facts.path) else { return Ok(None) };
    let of = |path: &str| logins.of(&facts.ask(entry, path)).map(|(weight, users)| (weight, users.to_vec()));
    Ok(path::spellings(&path).iter().filter_map(|path| of(path)).max_by_key(|(weight, _)| *weight))
}

/// The newest earlier deployment that has this path as a fingerprinted file and is still reachable.
async fn find_earlier<'a>(
    path: &str,
    entry: &'a Entry,
    cache: &Cache,
) -> Result<Option<(Arc<Site>, &'a DeploymentId)>, Page> {
    let Target::Static { earlier } = &entry.route.target else { return Ok(None) };
    // Spares reading manifests for what can't be fingerprinted.
    if earlier.is_empty() || !manifest::is_fingerprinted(path) {
        return Ok(None);
    }
    let now = Timestamp::now();
    for Earlier { deployment, .. } in earlier.iter().filter(|e| e.until > now) {
        match cache.site(&entry.route.project, deployment).await {
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

/// Slashes and names of files: once a deployment says so, its visitors' links are to be changed.
const PERMANENT: StatusCode = StatusCode::PERMANENT_REDIRECT;

fn redirect(entry: &Entry, status: StatusCode, to: &str) -> Result<Answer, Page> {
    let Ok(to) = HeaderValue::from_str(to) else {
        tracing::error!(to, "a redirect can't stand in a header");
        return Err(Page::Internal);
    };
    let mut head = answer::head(status, Some(entry));
    head.headers.insert(header::LOCATION, to);
    // The next deployment may have the page at the other address.
    head.headers.insert(header::CACHE_CONTROL, REVALIDATE);
    head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    Ok(Answer { head, body: Body::Empty, constant: true })
}

/// A status that a rule names.
fn chosen(status: u16) -> Result<StatusCode, Page> {
    StatusCode::from_u16(status).map_err(|error| {
        tracing::error!(status, %error, "a rule has no status of HTTP");
        Page::Internal
    })
}

fn add_vary(fields: &mut HeaderMap, name: &str) {
    let joined = match fields.get(header::VARY) {
        Some(known) => [known.as_bytes(), b", ", name.as_bytes()].concat(),
        None => name.as_bytes().to_vec(),
    };
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        fields.insert(header::VARY, value);
    }
}

/// Keeps shared caches from showing the answer to others (RFC 9111 section 5.2.2.7).
fn keep_private(fields: &mut HeaderMap) {
    let said = fields.get(header::CACHE_CONTROL).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let is_shared = |directive: &str| {
        let name = directive.split('=').next().unwrap_or_default().trim();
        ["public", "private", "s-maxage"].iter().any(|shared| name.eq_ignore_ascii_case(shared))
    };
    let mut value = "private".to_owned();
    for directive in said.split(',').map(str::trim).filter(|d| !d.is_empty() && !is_shared(d)) {
        value.push_str(", ");
        value.push_str(directive);
    }
    if let Ok(value) = HeaderValue::from_str(&value) {
        fields.insert(header::CACHE_CONTROL, value);
    }
    fields.remove("cdn-cache-control");
}
