//! When a domain's DNS is looked at again: often while somebody waits for it, seldom afterwards.

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time in which a person who has just attached the domain sits before it.
const EAGER: Duration = Duration::from_secs(5 * 60);
/// Time between looks then: most of the seconds that a right record takes to be seen.
const EAGER_EVERY: Duration = Duration::from_secs(3);
/// Time in which a record that was just set is likely to appear.
const FREQUENT: Duration = Duration::from_secs(20 * 60);
/// Time between looks then.
const FREQUENT_EVERY: Duration = Duration::from_secs(15);
/// After that, the time between looks is this part of the age, so that the wait grows with what was waited already.
const SHARE: u32 = 4;
/// Longest time between looks at a domain that may still be set up.
const LONGEST: Duration = Duration::from_secs(4 * HOUR.as_secs());
/// After this time without success nobody waits any more, and a look a day is left.
const PATIENCE: Duration = Duration::from_secs(7 * DAY.as_secs());

/// Time between looks at a domain that works.
pub const SETTLED: Duration = DAY;
/// Time between looks at a domain that worked, while it is in doubt: it is soon known when it works again.
pub const DOUBTED: Duration = Duration::from_secs(10 * MINUTE.as_secs());

/// Time until the next look at a domain that does not work yet, by the time since a person last asked for it.
#[must_use]
pub fn wait(age: Duration) -> Duration {
    match age {
        age if age < EAGER => EAGER_EVERY,
        age if age < FREQUENT => FREQUENT_EVERY,
        age if age < PATIENCE => (age / SHARE).min(LONGEST),
        _ => DAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_frequent_for_twenty_minutes_then_ever_rarer_down_to_one_a_day() {
        let mut age = Duration::ZERO;
        let mut before = Duration::ZERO;
        let mut looks = [0; 3];
        while age < 10 * DAY {
            let next = wait(age);
            assert!(next >= before, "{next:?} after {before:?} at {age:?}");
            before = next;
            let span = if age < FREQUENT {
                0
            } else if age < PATIENCE {
                1
            } else {
                2
            };
            looks[span] += 1;
            age += next;
        }
        assert!(looks[0] > 60 && looks[1] < 90 && looks[2] <= 4, "{looks:?}");
        assert_eq!((wait(DAY), wait(PATIENCE)), (LONGEST, DAY));
    }
}
