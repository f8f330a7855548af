//! When a certificate is renewed, and when a failed attempt is made again.

use std::time::Duration;

use common::time::Timestamp;

use crate::entry::{Current, Window};

/// Wait after the first failure; each further one doubles it. Long enough that five in a row don't reach five an hour.
const FIRST_WAIT: Duration = Duration::from_secs(5 * 60);
/// Longest wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// Part of the life after which a certificate is renewed without its authority's suggestion: a third is left to mend
/// what fails, two days of a certificate of six.
const RENEWED_AFTER: f64 = 2.0 / 3.0;
/// Part of the life by which renewals are spread, towards earlier, so that what was issued at once is not renewed at
/// once.
const SPREAD: f64 = 1.0 / 12.0;

/// A number from 0 to below 1 that belongs to `parts`: the same in every process and after a restart.
pub(crate) fn share(parts: &[&str]) -> f64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update(&[0]);
    }
    let first = hasher.finalize().as_bytes().first_chunk::<4>().map_or(0, |first| u32::from_le_bytes(*first));
    f64::from(first) / (f64::from(u32::MAX) + 1.0)
}

/// When a certificate is to be renewed: at a time of its own within the authority's window (RFC 9773 section 4.2), else
/// at two thirds of its life. A suggestion that is no use, because it begins after the end, is not followed.
#[must_use]
pub fn renew_at(current: &Current) -> Timestamp {
    let own = share(&[&current.id]);
    let usable = |w: &&Window| w.start < current.not_after && w.end > w.start;
    if let Some(window) = current.window.as_ref().filter(usable) {
        let chosen = window.start.after(window.end.since(window.start).mul_f64(own));
        // A window that reaches beyond the end must not.
        return chosen.min(current.not_after.before(current.lifetime().mul_f64(SPREAD)));
    }
    current.not_before.after(current.lifetime().mul_f64(RENEWED_AFTER - SPREAD * own))
}

/// When the attempt after `failures` failed ones is made: exponential up to a day, each a little off the other.
#[must_use]
pub fn retry_at(name: &str, failures: u32, now: Timestamp) -> Timestamp {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    let own = share(&[name, &failures.to_string()]);
    now.after(wait.mul_f64(1.0 - own / 8.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(days: f64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).after(DAY.mul_f64(days))
    }

    fn current(days: f64, id: &str, window: Option<(f64, f64)>) -> Current {
        Current {
            id: id.into(),
            authority: "a".into(),
            names: vec!["a.example".into()],
            not_before: at(0.0),
            not_after: at(days),
            renewal_id: None,
            window: window.map(|(from, to)| Window { start: at(from), end: at(to), explanation: None }),
            next_look: at(0.0),
            passed_over: Vec::new(),
        }
    }

    #[test]
    fn certificates_of_any_life_are_renewed_within_its_seventh_to_eighth_twelfth_each_at_its_own_time() {
        for days in [90.0, 45.0, 6.0] {
            let times: Vec<_> = (0..200).map(|i| renew_at(&current(days, &format!("c{i}"), None))).collect();
            let (first, last) = (times.iter().min(), times.iter().max());
            assert!(first >= Some(&at(days * 7.0 / 12.0)) && last <= Some(&at(days * 8.0 / 12.0)), "{days}");
            let spread = last.zip(first).map(|(l, f)| l.since(*f));
            assert!(spread > Some(DAY.mul_f64(days / 15.0)), "{spread:?} of {days} days");
        }
    }

    #[test]
    fn the_authoritys_window_counts_unless_it_would_let_the_certificate_end() {
        let time = renew_at(&current(90.0, "c", Some((3.0, 4.0))));
        assert!(time >= at(3.0) && time < at(4.0));
        // Beyond the end: not followed.
        assert!(renew_at(&current(90.0, "c", Some((95.0, 99.0)))) < at(61.0));
        assert!(renew_at(&current(90.0, "c", Some((4.0, 3.0)))) < at(61.0));
        assert!(renew_at(&current(90.0, "c", Some((89.0, 99.0)))) <= at(82.5));
    }

    #[test]
    fn waits_double_from_minutes_to_a_day_and_no_further() {
        let waits: Vec<_> = (1..40).map(|n| retry_at("a.example", n, at(0.0)).since(at(0.0))).collect();
        assert!(waits[0] <= FIRST_WAIT && waits[0] >= FIRST_WAIT.mul_f64(0.87));
        assert!(waits.windows(2).take(8).all(|w| w[1] > w[0].mul_f64(1.6)), "{waits:?}");
        assert!(waits.iter().all(|w| *w <= LONGEST_WAIT));
        assert!(waits[38] >= LONGEST_WAIT.mul_f64(0.87));
    }
}
