//! Dates of header fields (RFC 9110 section 5.6.7): the three forms, strictly, but in any case.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const SECONDS_A_DAY: u64 = 86_400;
/// Years beyond which a date with two digits is one of the last century (RFC 9110 section 5.6.7).
const FUTURE_YEARS: u64 = 50;

/// Reads a date; `now` says which century a year of two digits is in.
pub(crate) fn parse(value: &[u8], now: SystemTime) -> Option<SystemTime> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']).to_ascii_lowercase();
    let (year, month, day, time) = match text.split_once(", ") {
        // Sun, 06 Nov 1994 08:49:37 GMT
        Some((name, rest)) if name.len() == 3 => {
            is_day(name)?;
            let [day, month, year, time, zone] = parts(rest, ' ')?;
            is_gmt(zone)?;
            (digits(year, 4)?, month_of(month)?, digits(day, 2)?, time)
        }
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some((name, rest)) => {
            DAYS.contains(&name).then_some(())?;
            let [date, time, zone] = parts(rest, ' ')?;
            is_gmt(zone)?;
            let [day, month, year] = parts(date, '-')?;
            (century(digits(year, 2)?, now), month_of(month)?, digits(day, 2)?, time)
        }
        // Sun Nov  6 08:49:37 1994
        None => {
            text.get(..8).is_some_and(|start| start.ends_with(' ')).then_some(())?;
            let (name, month, rest) = (text.get(..3)?, text.get(4..7)?, text.get(8..)?);
            is_day(name)?;
            (text.get(3..4)? == " ").then_some(())?;
            let day = match rest.get(..2)?.strip_prefix(' ') {
                Some(one) => digits(one, 1)?,
                None => digits(rest.get(..2)?, 2)?,
            };
            let [time, year] = parts(rest.get(2..)?.strip_prefix(' ')?, ' ')?;
            (digits(year, 4)?, month_of(month)?, day, time)
        }
    };
    let [hour, minute, second] = parts(time, ':')?;
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    let possible = year >= 1970 && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    possible.then_some(())?;
    let seconds = days_since_epoch(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

fn digits(text: &str, count: usize) -> Option<u64> {
    (text.len() == count && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_day(name: &str) -> Option<()> {
    DAYS.iter().any(|day| day[..3] == *name).then_some(())
}

fn is_gmt(zone: &str) -> Option<()> {
    (zone == "gmt").then_some(())
}

fn month_of(name: &str) -> Option<u64> {
    MONTHS.iter().position(|m| *m == name).map(|at| at as u64 + 1)
}

fn century(year: u64, now: SystemTime) -> u64 {
    let days = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_A_DAY;
    let this_year = 1970 + days * 400 / 146_097;
    let year = this_year / 100 * 100 + year;
    if year > this_year + FUTURE_YEARS { year - 100 } else { year }
}

/// Days from 1970-01-01, by eras of 400 years whose years begin in March.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-25.
    const NOW: u64 = 1_795_600_000;

    fn read(text: &str) -> Option<u64> {
        let time = parse(text.as_bytes(), UNIX_EPOCH + Duration::from_secs(NOW))?;
        Some(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    #[test]
    fn the_three_forms_are_read_in_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "SUN, 06 NOV 1994 08:49:37 gMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read(text), Some(784_111_777), "{text}");
        }
        assert_eq!(read("Thursday, 18-Aug-50 02:01:18 GMT"), read("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(read("Thursday, 18-Aug-95 02:01:18 GMT"), read("Thu, 18 Aug 1995 02:01:18 GMT"));
        assert_eq!(read("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "0",
            "",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 25:01:18 GMT",
            "Thu, 32 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aux 2050 02:01:18 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0_u64..10_000_000_000) {
            let written = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(read(&written), Some(seconds), "{}", written);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", tail in "[ -~]{0,32}") {
            let _ = (read(&text), read(&tail));
        }
    }
}
