//! Medians and spreads of a few runs.

use serde::{Deserialize, Serialize};

/// The middle and the ends of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle value; the mean of the two middle ones when they are even in number.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }

    /// Whether two spreads have no value in common: what differs so is more than noise.
    pub fn is_apart_from(&self, other: &Self) -> bool {
        self.max < other.min || other.max < self.min
    }
}

/// The value below which a share of all lies (nearest rank); `None` when there are none. Sorts the values.
pub fn percentile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.clamp(1, values.len().max(1)) - 1).copied()
}

/// Quotients of what was measured in the same round; rounds in which either is missing have none.
pub fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs).filter_map(|(a, b)| Some(((*a)?, (*b)?)));
    pairs.filter(|(_, b)| *b > 0.0).map(|(a, b)| a / b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut values: Vec<f64> = (1..=1000).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), Some(500.0));
        assert_eq!(percentile(&mut values, 0.99), Some(990.0));
        assert_eq!(percentile(&mut values, 0.999), Some(999.0));
        assert_eq!(percentile(&mut values, 1.0), Some(1000.0));
        assert_eq!(percentile(&mut [], 0.5), None);
    }

    #[test]
    fn a_round_that_failed_has_no_ratio() {
        let ours = [Some(1.0), None, Some(3.0), Some(4.0)];
        let theirs = [Some(2.0), Some(2.0), None, Some(4.0)];
        assert_eq!(ratios(&ours, &theirs), [0.5, 1.0]);
    }

    #[test]
    fn overlapping_spreads_are_noise() {
        let spread = |min, max| Spread { median: f64::midpoint(min, max), min, max };
        assert!(spread(1.0, 2.0).is_apart_from(&spread(2.1, 3.0)));
        assert!(!spread(1.0, 2.0).is_apart_from(&spread(1.9, 3.0)));
    }
}
