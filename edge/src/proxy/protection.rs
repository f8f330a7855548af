//! Step of the request's head: who may see what. Visitors log in with HTTP Basic authentication (RFC 7617) where the
//! project's policy or the site itself asks for it.
//!
//! Of all that covers a path, what names more of it counts; the policy before the site. Passwords are checked on
//! threads of their own, a few at once, and what was right is remembered, so that it costs only the first request.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::password;
use common::policy::{Credential, ProtectedHosts, Protection as Rule};
use common::route::Target;
use http::header;
use moka::sync::Cache as Moka;
use percent_encoding::percent_decode;
use tokio::sync::Semaphore;

use super::visitor::Scheme;
use super::{Ctx, Proxy, Request};
use crate::cache::Cache;
use crate::page::Page;
use crate::routes::Entry;
use crate::site::{self, Facts};

/// Passwords that are checked at once, each with up to 64 MiB and a whole core: the rest of the machine serves.
const CHECKS: usize = 2;
/// Visitors that wait for a check; further ones are told to come later. At tens of milliseconds each, the last
/// waits about a second.
const MAX_WAITING: u32 = 64;
/// Wrong passwords that one visitor's address may send within [`WINDOW`]: enough for who mistypes, too few for who guesses.
const MAX_ATTEMPTS: u32 = 10;
/// How long attempts count.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose attempts are counted.
const MAX_ADDRESSES: u64 = 10_000;
/// Right passwords that are remembered, at some hundred bytes each.
const MAX_KNOWN: u64 = 10_000;
/// How long a right password that nobody sends is remembered.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// What is known of who logged in.
pub(crate) struct Protection {
    /// Right passwords, as a hash of user, password and what they were checked against, under a key of this process.
    known: Moka<[u8; 32], ()>,
    key: [u8; 32],
    attempts: Moka<IpAddr, Arc<AtomicU32>>,
    checks: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// Whether a visitor may pass.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    /// The password is missing or wrong.
    Ask,
    /// Too many were wrong, or too many are being checked.
    Later,
}

impl Protection {
    pub(crate) fn new() -> Self {
        Self {
            known: Moka::builder().max_capacity(MAX_KNOWN).time_to_idle(KNOWN_FOR).build(),
            key: rand::random(),
            attempts: Moka::builder().max_capacity(MAX_ADDRESSES).time_to_live(WINDOW).build(),
            checks: Arc::new(Semaphore::new(CHECKS)),
            waiting: AtomicU32::new(0),
        }
    }

    async fn admit(&self, users: &[Credential], authorization: Option<&[u8]>, visitor: IpAddr) -> Verdict {
        let Some((user, password)) = authorization.and_then(basic) else { return Verdict::Ask };
        // A name that nobody has costs as much time as one that somebody has, so that names can't be guessed.
        let is_user = |c: &&Credential| c.user.as_bytes() == user.as_slice();
        let named: Vec<&Credential> = users.iter().filter(is_user).collect();
        let is_named = !named.is_empty();
        let against: Vec<String> = match &*named {
            [] => users.iter().take(1).map(|c| c.hash.clone()).collect(),
            named => named.iter().map(|c| c.hash.clone()).collect(),
        };
        let fingerprint = self.fingerprint(&user, &password, &against);
        if is_named && self.known.contains_key(&fingerprint) {
            // Reading it is what keeps it.
            self.known.get(&fingerprint);
            return Verdict::Pass;
        }
        let attempts = self.attempts.get_with(whose(visitor), Arc::default);
        // Counted before it is known to be wrong: else many at once would all be checked.
        if attempts.fetch_add(1, Ordering::Relaxed) >= MAX_ATTEMPTS {
            return Verdict::Later;
        }
        let Some(is_right) = self.check(fingerprint, password, against).await else {
            attempts.fetch_sub(1, Ordering::Relaxed);
            return Verdict::Later;
        };
        if !(is_right && is_named) {
            return Verdict::Ask;
        }
        attempts.fetch_sub(1, Ordering::Relaxed);
        self.known.insert(fingerprint, ());
        Verdict::Pass
    }

    /// Whether the password is one of those; `None` when too many are being checked.
    async fn check(&self, fingerprint: [u8; 32], password: Vec<u8>, against: Vec<String>) -> Option<bool> {
        let _waits = Waits::new(&self.waiting)?;
        let permit = Arc::clone(&self.checks).acquire_owned().await.ok()?;
        // A browser sends many requests at once; the first one's check is enough.
        if self.known.contains_key(&fingerprint) {
            return Some(true);
        }
        let check = move || {
            let _permit = permit;
            against.iter().any(|hash| match password::verify(hash, &password) {
                Ok(is_right) => is_right,
                Err(error) => {
                    tracing::error!(%error, "a password can't be checked");
                    false
                }
            })
        };
        tokio::task::spawn_blocking(check).await.ok()
    }

    fn fingerprint(&self, user: &[u8], password: &[u8], against: &[String]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [user, password].into_iter().chain(against.iter().map(String::as_bytes)) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

/// A place among those who wait for a check.
struct Waits<'a>(&'a AtomicU32);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicU32) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets a request pass, or says why not. Returns whether the visitor had to log in. What was the proof is taken out of
/// the request then: it is for the edge, and no app's business.
///
/// # Errors
/// The page that asks for a password, or says that it is too early for another.
pub(super) async fn protect(proxy: &Proxy, request: &mut Request<'_>, ctx: &Ctx, entry: &Entry) -> Result<bool, Page> {
    if entry.route.policy.protection.is_empty() && matches!(entry.route.target, Target::App { .. }) {
        return Ok(false);
    }
    Box::pin(ask(proxy, request, ctx, entry)).await
}

async fn ask(proxy: &Proxy, request: &mut Request<'_>, ctx: &Ctx, entry: &Entry) -> Result<bool, Page> {
    let visitor = site::Visitor { secure: ctx.scheme == Scheme::Https, ..site::Visitor::default() };
    let header = request.header();
    let facts = site::facts(header, visitor);
    let Some(users) = users(entry, &facts, &proxy.cache).await? else { return Ok(false) };
    let authorization = header.headers.get(header::AUTHORIZATION).map(|v| v.as_bytes().to_vec());
    // Without an address, which no visitor over the network is, all are counted together.
    let visitor = ctx.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match proxy.protection.admit(&users, authorization.as_deref(), visitor).await {
        Verdict::Pass => {
            request.header_mut().remove_header(&header::AUTHORIZATION);
            Ok(true)
        }
        Verdict::Ask => Err(Page::Unauthorized { realm: entry.route.project.to_string() }),
        Verdict::Later => Err(Page::TooManyAttempts),
    }
}

/// Who may pass; `None` when everybody may.
async fn users(entry: &Entry, facts: &Facts<'_>, cache: &Cache) -> Result<Option<Vec<Credential>>, Page> {
    let by_policy = by_policy(&entry.route.policy.protection, entry.route.production, facts.path);
    let by_site = match &entry.route.target {
        Target::Static { .. } => site::login(entry, facts, cache).await?,
        Target::App { .. } | Target::Redirect { .. } => None,
    };
    Ok(match (by_policy, by_site) {
        (Some((weight, _)), Some((more, users))) if more > weight => Some(users),
        (Some((_, users)), _) => Some(users.into_iter().cloned().collect()),
        (None, by_site) => by_site.map(|(_, users)| users),
    })
}

/// Whom a policy lets pass at a path, and how many characters of the path it names.
fn by_policy<'a>(rules: &'a [Rule], is_production: bool, raw: &[u8]) -> Option<(usize, Vec<&'a Credential>)> {
    let mut rules = rules.iter().filter(|rule| rule.on == ProtectedHosts::All || !is_production).peekable();
    rules.peek()?;
    let paths = readings(raw);
    let mut best: Option<(usize, Vec<&Credential>)> = None;
    for rule in rules {
        let prefix = normalized(&rule.path);
        let prefix = prefix.strip_suffix('/').unwrap_or(&prefix);
        let covers = |path: &String| {
            path.strip_prefix(prefix).is_some_and(|behind| behind.is_empty() || behind.starts_with('/'))
        };
        if !paths.iter().any(covers) {
            continue;
        }
        match &mut best {
            Some((weight, users)) if *weight == prefix.len() => users.extend(&rule.users),
            Some((weight, _)) if *weight > prefix.len() => {}
            _ => best = Some((prefix.len(), rule.users.iter().collect())),
        }
    }
    best
}

/// All that an app or a site may take a raw path for. Protection that covers too much is seen at once, and protection
/// that covers too little by nobody but who looks for it.
fn readings(raw: &[u8]) -> Vec<String> {
    let once: Cow<'_, [u8]> = percent_decode(raw).into();
    let twice: Cow<'_, [u8]> = percent_decode(&once).into();
    let mut all = site::spellings(&normalized(&String::from_utf8_lossy(&once)));
    if twice != once {
        all.extend(site::spellings(&normalized(&String::from_utf8_lossy(&twice))));
    }
    all
}

/// A path without what servers pass over: case, path parameters, empty and dot segments, and the kind of slash.
fn normalized(path: &str) -> String {
    let path = path.to_ascii_lowercase().replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

/// User and password of an `Authorization` field with the scheme `Basic` (RFC 7617 section 2).
fn basic(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, token) = value.trim_ascii().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(token.trim_ascii()).ok()?;
    let colon = user.iter().position(|b| *b == b':')?;
    let password = user.split_off(colon + 1);
    user.truncate(colon);
    Some((user, password))
}

/// Whose attempts are counted together: an IPv6 visitor has a whole /64.
fn whose(visitor: IpAddr) -> IpAddr {
    match visitor.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const VISITOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn rule(path: &str, on: ProtectedHosts, user: &str) -> Rule {
        Rule { path: path.into(), on, users: vec![Credential { user: user.into(), hash: "-".into() }] }
    }

    fn who(rules: &[Rule], is_production: bool, path: &str) -> Option<String> {
        let (_, users) = by_policy(rules, is_production, path.as_bytes())?;
        Some(users.iter().map(|u| u.user.as_str()).collect::<Vec<_>>().join(","))
    }

    fn sent(user_password: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(user_password)).into_bytes()
    }

    #[test]
    fn the_longest_path_that_covers_counts() {
        let rules = [
            rule("/", ProtectedHosts::Previews, "team"),
            rule("/admin", ProtectedHosts::All, "root"),
            rule("/admin/", ProtectedHosts::All, "boss"),
            rule("/admin/Public", ProtectedHosts::All, "guest"),
        ];
        for (path, live, preview) in [
            ("/", None, Some("team")),
            ("/administration", None, Some("team")),
            ("/admin", Some("root,boss"), Some("root,boss")),
            ("/admin/x", Some("root,boss"), Some("root,boss")),
            ("/admin/public/x", Some("guest"), Some("guest")),
        ] {
            assert_eq!(who(&rules, true, path).as_deref(), live, "{path}");
            assert_eq!(who(&rules, false, path).as_deref(), preview, "{path}");
        }
        assert_eq!(who(&[], false, "/"), None);
    }

    #[test]
    fn no_spelling_of_a_path_gets_around_its_protection() {
        let rules = [rule("/admin", ProtectedHosts::All, "root")];
        for path in [
            "/admin",
            "/admin/",
            "/admin.html",
            "/admin/index.html",
            "/ADMIN",
            "//admin",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/%61dmin",
            "/%2561dmin",
            "/admin;a=b/x",
            "/x%2f..%2fadmin",
            "/\\admin",
            "/admin%2fx",
        ] {
            assert_eq!(who(&rules, true, path).as_deref(), Some("root"), "{path}");
        }
        for path in ["/", "/x/admin", "/admins", "/admin-x.html"] {
            assert_eq!(who(&rules, true, path), None, "{path}");
        }
    }

    #[test]
    fn user_and_password_are_read_as_the_standard_says() {
        assert_eq!(basic(&sent("ann:pa:ss")), Some((b"ann".to_vec(), b"pa:ss".to_vec())));
        assert_eq!(basic(b"bAsIc  YTo="), Some((b"a".to_vec(), b"".to_vec())));
        for wrong in [&b""[..], b"Basic", b"Basic ***", b"Basic YQ==", b"Bearer YTpi"] {
            assert_eq!(basic(wrong), None);
        }
    }

    #[tokio::test]
    async fn a_right_password_passes_and_is_checked_once() {
        let protection = Protection::new();
        let users = [Credential { user: "ann".into(), hash: password::hash("right").unwrap() }];
        let admit = async |sent: Option<&[u8]>| protection.admit(&users, sent, VISITOR).await;
        assert_eq!(admit(None).await, Verdict::Ask);
        assert_eq!(admit(Some(&sent("ann:wrong"))).await, Verdict::Ask);
        assert_eq!(admit(Some(&sent("eve:right"))).await, Verdict::Ask);
        assert_eq!(admit(Some(&sent("ann:right"))).await, Verdict::Pass);
        // With nobody there to check, only what is remembered passes.
        protection.checks.close();
        assert_eq!(admit(Some(&sent("ann:right"))).await, Verdict::Pass);
        assert_eq!(admit(Some(&sent("ann:wrong"))).await, Verdict::Later);
        let changed = [Credential { user: "ann".into(), hash: password::hash("other").unwrap() }];
        assert_eq!(protection.admit(&changed, Some(&sent("ann:right")), VISITOR).await, Verdict::Later);
    }

    #[tokio::test]
    async fn who_guesses_is_slowed_down_and_others_are_not() {
        let protection = Protection::new();
        let users = [Credential { user: "ann".into(), hash: password::hash("right").unwrap() }];
        let guess = sent("ann:wrong");
        assert_eq!(protection.admit(&users, Some(&sent("ann:right")), VISITOR).await, Verdict::Pass);
        for _ in 0..MAX_ATTEMPTS {
            assert_eq!(protection.admit(&users, Some(&guess), VISITOR).await, Verdict::Ask);
        }
        assert_eq!(protection.admit(&users, Some(&guess), VISITOR).await, Verdict::Later);
        assert_eq!(protection.admit(&users, Some(&sent("ann:right")), VISITOR).await, Verdict::Pass, "it is known");
        let other = "2001:db8::1".parse().unwrap();
        assert_eq!(protection.admit(&users, Some(&guess), other).await, Verdict::Ask);
        assert_eq!(whose(other), whose("2001:db8::2".parse().unwrap()));
    }
}
