//! The limits that an authority publishes, kept on our side, so that it never has to refuse.
//!
//! Each is a token bucket, kept as one number: the time at which it will be full again (the generic cell rate
//! algorithm). So a bucket is one row, changed by compare-and-set, and shared by any number of processes.

use std::time::Duration;

use common::time::Timestamp;

/// A bucket of `burst` tokens that gets one back each `refill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Most at once.
    pub burst: u32,
    /// Time until one more is allowed.
    pub refill: Duration,
}

/// What an authority limits; none where it limits nothing.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Orders of one account.
    pub orders: Option<Limit>,
    /// Certificates for names below one registered domain.
    pub registered_domain: Option<Limit>,
    /// Certificates for exactly the same names.
    pub same_names: Option<Limit>,
    /// Failed authorisations of one name.
    pub failures: Option<Limit>,
    /// Whether an order for names that had a certificate already counts only as `same_names` and `failures`.
    pub renewals_are_free: bool,
}

impl Limits {
    /// Let's Encrypt's, as <https://letsencrypt.org/docs/rate-limits/> had them in August 2026: 300 orders an account
    /// in 3 hours, 50 certificates a registered domain in 7 days, 5 for exactly the same names in 7 days, 5 failed
    /// authorisations a name and account in an hour. Renewals that its renewal information coordinates are exempt
    /// from all, other renewals from the first two. Its limit of 1,152 failures of a name in a row, one forgiven a
    /// day, can't be reached with waits that grow to a day.
    #[must_use]
    pub fn lets_encrypt() -> Self {
        const MINUTE: u64 = 60;
        let limit = |burst, refill| Some(Limit { burst, refill: Duration::from_secs(refill) });
        Self {
            orders: limit(300, 36),
            registered_domain: limit(50, 202 * MINUTE),
            same_names: limit(5, 34 * 60 * MINUTE),
            failures: limit(5, 12 * MINUTE),
            renewals_are_free: true,
        }
    }

    /// The buckets that an order of these names must find a token in.
    #[must_use]
    pub(crate) fn needs(&self, authority: &str, names: &[String], order: Kind) -> Vec<Need> {
        if order == Kind::Coordinated {
            return Vec::new();
        }
        let mut needs = Vec::new();
        let mut need = |key: String, limit: Option<Limit>, how| {
            let known = needs.iter().any(|n: &Need| n.key == key);
            if let (Some(limit), false) = (limit, known) {
                needs.push(Need { key, limit: limit.with_margin(), how });
            }
        };
        for name in names {
            need(failures_key(authority, name), self.failures, How::Look);
        }
        need(format!("{authority}/names/{}", names_key(names)), self.same_names, How::Take);
        if order == Kind::New || !self.renewals_are_free {
            for name in names {
                need(format!("{authority}/domain/{}", registered_domain(name)), self.registered_domain, How::Take);
            }
            need(format!("{authority}/orders"), self.orders, How::Reserve);
        }
        needs
    }

    /// The bucket that a failed authorisation of a name takes from.
    #[must_use]
    pub(crate) fn failure(&self, authority: &str, name: &str) -> Option<Need> {
        let limit = self.failures?.with_margin();
        Some(Need { key: failures_key(authority, name), limit, how: How::Take })
    }
}

impl Limit {
    /// Less than is published: a twentieth, at least one. The authority counts when a request arrives, a moment after
    /// we did, and others may ask for the same domain.
    fn with_margin(self) -> Self {
        Self { burst: self.burst.saturating_sub((self.burst / 20).max(1)).max(1), ..self }
    }
}

/// What an order is in the eyes of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For names that the authority has not issued for.
    New,
    /// For exactly the names of a certificate that the authority issued.
    Renewal,
    /// The same, and the order names the certificate that it replaces (RFC 9773 section 5).
    Coordinated,
}

/// What is done to a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A token must be there, and stays.
    Look,
    /// A token must be there, and is taken.
    Take,
    /// A token is taken, if need be a later one: who waits has a place in the queue, and does not try again and again.
    Reserve,
}

/// One bucket that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub key: String,
    pub limit: Limit,
    pub how: How,
}

/// Whether an order may be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may at a time; the buckets are then full again at these times.
    Granted { at: Timestamp, full: Vec<Option<Timestamp>> },
    /// Not before a time, because of the bucket with this number.
    Refused { need: usize, until: Timestamp },
}

/// Asks all buckets at once, `full` telling when each is full again. A reservation lies at most `horizon` ahead.
pub(crate) fn admit(needs: &[Need], full: &[Option<Timestamp>], now: Timestamp, horizon: Duration) -> Verdict {
    let mut at = now;
    let mut worst: Option<(usize, Timestamp)> = None;
    for (i, (need, full)) in needs.iter().zip(full).enumerate() {
        let free = free_at(need.limit, *full, now);
        if free > now && need.how != How::Reserve {
            worst = worst.max_by_time(i, free);
        } else if free > at {
            at = free;
            if free.since(now) > horizon {
                worst = worst.max_by_time(i, free);
            }
        }
    }
    if let Some((need, until)) = worst {
        return Verdict::Refused { need, until };
    }
    let taken = |(need, full): (&Need, &Option<Timestamp>)| match need.how {
        How::Look => *full,
        How::Take | How::Reserve => Some(taken(need.limit, *full, at)),
    };
    Verdict::Granted { at, full: needs.iter().zip(full).map(taken).collect() }
}

/// When a bucket is full again after a token is taken at a time.
pub(crate) fn taken(limit: Limit, full: Option<Timestamp>, at: Timestamp) -> Timestamp {
    full.map_or(at, |full| full.max(at)).after(limit.refill)
}

/// When a bucket has a token.
fn free_at(limit: Limit, full: Option<Timestamp>, now: Timestamp) -> Timestamp {
    taken(limit, full, now).before(limit.refill * limit.burst).max(now)
}

trait Latest {
    fn max_by_time(self, need: usize, at: Timestamp) -> Self;
}

impl Latest for Option<(usize, Timestamp)> {
    fn max_by_time(self, need: usize, at: Timestamp) -> Self {
        match self {
            Some((_, before)) if before >= at => self,
            _ => Some((need, at)),
        }
    }
}

/// The domain that someone registered, by the Public Suffix List: a name directly below a public suffix. A name that
/// is a public suffix itself stands for itself.
#[must_use]
pub fn registered_domain(name: &str) -> &str {
    let name = name.strip_prefix("*.").unwrap_or(name);
    psl::domain_str(name).unwrap_or(name)
}

fn failures_key(authority: &str, name: &str) -> String {
    format!("{authority}/failures/{}", name.strip_prefix("*.").unwrap_or(name))
}

/// The same for the same names in any order.
fn names_key(names: &[String]) -> String {
    let mut sorted: Vec<&str> = names.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let hash = blake3::hash(sorted.join(",").as_bytes()).to_hex();
    hash[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).after(Duration::from_secs(seconds))
    }

    fn need(burst: u32, refill: u64, how: How) -> Need {
        Need { key: "k".into(), limit: Limit { burst, refill: Duration::from_secs(refill) }, how }
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_each_refill() {
        let needs = [need(3, 10, How::Take)];
        let mut full = vec![None];
        let mut granted = Vec::new();
        for second in 0..40 {
            while let Verdict::Granted { full: after, .. } = admit(&needs, &full, at(second), HOUR) {
                full = after;
                granted.push(second);
            }
        }
        assert_eq!(granted, [0, 0, 0, 10, 20, 30]);
    }

    #[test]
    fn who_reserves_gets_a_place_in_the_queue_and_none_beyond_the_horizon() {
        let needs = [need(2, 10, How::Reserve)];
        let mut full = vec![None];
        let mut places = Vec::new();
        for _ in 0..5 {
            let Verdict::Granted { at, full: after } = admit(&needs, &full, at(0), HOUR) else { break };
            full = after;
            places.push(at);
        }
        assert_eq!(places, [at(0), at(0), at(10), at(20), at(30)]);
        let refused = admit(&needs, &full, at(0), Duration::from_secs(35));
        assert_eq!(refused, Verdict::Refused { need: 0, until: at(40) });
    }

    #[test]
    fn a_refused_order_takes_from_no_bucket_and_a_look_takes_nothing() {
        let needs = [need(1, 10, How::Look), need(1, 50, How::Take), need(9, 1, How::Reserve)];
        let empty = admit(&needs, &[None, Some(at(20)), None], at(0), HOUR);
        assert_eq!(empty, Verdict::Refused { need: 1, until: at(20) });
        let granted = admit(&needs, &[None, None, None], at(0), HOUR);
        assert_eq!(granted, Verdict::Granted { at: at(0), full: vec![None, Some(at(50)), Some(at(1))] });
    }

    #[test]
    fn names_below_one_registered_domain_share_its_bucket_and_a_coordinated_renewal_needs_none() {
        let limits = Limits::lets_encrypt();
        let names = ["a.shop.co.uk".to_owned(), "*.shop.co.uk".to_owned()];
        let keys = |kind| -> Vec<String> {
            limits.needs("le", &names, kind).into_iter().map(|n| n.key).filter(|k| !k.contains("/names/")).collect()
        };
        let failures = ["le/failures/a.shop.co.uk", "le/failures/shop.co.uk"];
        assert_eq!(keys(Kind::New), [&failures[..], &["le/domain/shop.co.uk", "le/orders"]].concat());
        assert_eq!(keys(Kind::Renewal), failures);
        assert!(limits.needs("le", &names, Kind::Coordinated).is_empty());
        let other = [names[1].clone(), names[0].clone()];
        assert_eq!(names_key(&names), names_key(&other));
    }

    #[test]
    fn a_public_suffix_that_customers_live_below_is_no_registered_domain() {
        assert_eq!(registered_domain("a.b.example.com"), "example.com");
        assert_eq!(registered_domain("someone.github.io"), "someone.github.io");
        assert_eq!(registered_domain("co.uk"), "co.uk");
    }
}
