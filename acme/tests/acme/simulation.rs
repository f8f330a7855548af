//! Two years on a clock that is moved by hand: ten thousand domains, certificates of 45 days, and an authority that is
//! away for a month. The authorities are models that keep count of their own limits, apart from ours.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acme::challenge::Method;
use acme::check::Facts;
use acme::clock::{Clock, Manual};
use acme::entry::{Current, Order, RevocationReason, Window};
use acme::failure::Failure;
use acme::issuer::{Advance, Issuer, Wanted};
use acme::limits::{Limits, registered_domain};
use acme::manager::{Line, Manager};
use acme::store::SealedCertificate;
use acme::store::memory::Memory;
use async_trait::async_trait;
use common::time::Timestamp;

use crate::testkit::keys;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LIFE: Duration = Duration::from_secs(45 * 24 * 60 * 60);
const DOMAINS: usize = 10_000;

/// Tokens of one bucket, counted as they come back.
struct Bucket {
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// Takes a token of a bucket of `burst` that gets one back each `refill`; false when there is none.
    fn take(&mut self, burst: f64, refill: Duration, now: Timestamp) -> bool {
        self.tokens = (self.tokens + now.since(self.at).as_secs_f64() / refill.as_secs_f64()).min(burst);
        self.at = now;
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}

#[derive(Default)]
struct Books {
    buckets: HashMap<String, Bucket>,
    /// Sets of names that had a certificate.
    known: HashSet<Vec<String>>,
    issued: u32,
    refused: Vec<String>,
    asked_while_away: u32,
}

/// When each name's certificate ends, whoever issued it, and what was left of it when the next came.
#[derive(Default)]
struct Served {
    ends: HashMap<String, Timestamp>,
    least: Option<Duration>,
    lapsed: Vec<String>,
    all_at: Option<Timestamp>,
}

impl Served {
    fn renewed(&mut self, name: &str, now: Timestamp, end: Timestamp) {
        if let Some(before) = self.ends.insert(name.to_owned(), end) {
            let left = before.since(now);
            self.least = Some(self.least.unwrap_or(left).min(left));
            if left == Duration::ZERO {
                self.lapsed.push(name.to_owned());
            }
        }
        if self.all_at.is_none() && self.ends.len() == DOMAINS {
            self.all_at = Some(now);
        }
    }
}

/// An authority with the limits that Let's Encrypt publishes, written down here once more.
struct Model {
    clock: Arc<Manual>,
    /// When it is away.
    away: Option<(Timestamp, Timestamp)>,
    books: Mutex<Books>,
    served: Arc<Mutex<Served>>,
}

#[async_trait]
impl Issuer for Model {
    async fn advance(&self, _order: &Order, wanted: Wanted<'_>) -> Result<Advance, Failure> {
        let now = self.clock.now();
        let mut books = self.books.lock().unwrap();
        if self.away.is_some_and(|(from, to)| from <= now && now < to) {
            books.asked_while_away += 1;
            return Err(Failure::Unreachable { detail: "503".into() });
        }
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let mut limits = vec![(format!("names {:?}", wanted.names), 5.0, minutes(34 * 60))];
        if !books.known.contains(wanted.names) {
            limits.push(("orders".into(), 300.0, Duration::from_secs(36)));
            let domains: HashSet<&str> = wanted.names.iter().map(|name| registered_domain(name)).collect();
            limits.extend(domains.into_iter().map(|d| (format!("domain {d}"), 50.0, minutes(202))));
        }
        for (key, burst, refill) in limits {
            let bucket = books.buckets.entry(key.clone()).or_insert(Bucket { tokens: burst, at: now });
            if !bucket.take(burst, refill, now) {
                books.refused.push(key.clone());
                return Err(Failure::RateLimited { detail: key, until: None });
            }
        }
        books.known.insert(wanted.names.to_vec());
        books.issued += 1;
        self.served.lock().unwrap().renewed(&wanted.names[0], now, now.after(LIFE));
        let facts = Facts {
            id: format!("{}-{}", wanted.names[0], now.as_millis()),
            not_before: now,
            not_after: now.after(LIFE),
            renewal_id: None,
        };
        let certificate = SealedCertificate {
            id: facts.id.clone(),
            name: wanted.names[0].clone(),
            chain_pem: String::new(),
            sealed_key: String::new(),
            not_after: facts.not_after,
        };
        Ok(Advance::Done { certificate, facts })
    }
    async fn give_up(&self, _order: &Order) -> Result<(), Failure> {
        Ok(())
    }
    async fn window(&self, _current: &Current) -> Result<Option<(Window, Duration)>, Failure> {
        Ok(None)
    }
    async fn revoke(&self, _certificate: &SealedCertificate, _reason: RevocationReason) -> Result<(), Failure> {
        Ok(())
    }
}

/// Most customers have a domain or four; ten have a hundred names below one.
fn name(i: usize) -> String {
    match i {
        0..1000 => format!("n{i}.big{}.example", i % 10),
        1000..3000 => format!("n{i}.shop{}.example", i % 500),
        _ => format!("www.site{i}.example"),
    }
}

#[tokio::test]
async fn ten_thousand_domains_live_through_two_years_with_a_month_without_their_authority() {
    let start = Timestamp::from_millis(1_800_000_000_000);
    let clock = Arc::new(Manual::new(start));
    let away = (start.after(DAY * 300), start.after(DAY * 330));
    let served = Arc::new(Mutex::new(Served::default()));
    let model = |away| Arc::new(Model { clock: clock.clone(), away, books: Mutex::default(), served: served.clone() });
    let (first, second) = (model(Some(away)), model(None));
    let store = Arc::new(Memory::default());
    let line = |authority: &str, issuer: &Arc<Model>| Line {
        authority: authority.into(),
        issuer: issuer.clone(),
        limits: Limits::lets_encrypt(),
        rehearsal: None,
    };
    let lines = vec![line("first", &first), line("second", &second)];
    let manager = Manager::new(store.clone(), keys(), clock.clone(), lines);
    for i in 0..DOMAINS {
        manager.want(vec![name(i)], vec![Method::Http01]).await.unwrap();
    }
    let end = start.after(DAY * 730);
    while clock.now() < end {
        let next = manager.work().await.unwrap().unwrap();
        // A minute at least: what is due within it is worked on together.
        clock.set(next.max(clock.now().after(Duration::from_secs(60))));
    }
    let served = served.lock().unwrap();
    let (all_at, least) = (served.all_at.expect("all have one").since(start), served.least.unwrap());
    assert!(served.lapsed.is_empty(), "{:?}", served.lapsed);
    assert!(served.ends.values().all(|ends| *ends > end));
    let (first, second) = (first.books.lock().unwrap(), second.books.lock().unwrap());
    println!(
        "issued {} and {}; all had one after {:.1} h; the least life left was {:.1} days; asked {} times while away",
        first.issued,
        second.issued,
        all_at.as_secs_f64() / 3600.0,
        least.as_secs_f64() / 86400.0,
        first.asked_while_away,
    );
    assert!(first.refused.is_empty() && second.refused.is_empty(), "{:?} {:?}", first.refused, second.refused);
    assert!(first.issued + second.issued > 200_000 && second.issued > 5_000);
    // While it is away it is asked about once an hour.
    assert!(first.asked_while_away < 24 * 31 + 20, "{}", first.asked_while_away);
    assert!(least > DAY * 5, "{least:?}");
}
