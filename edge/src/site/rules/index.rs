//! Finds the rules whose pattern fits a path, in their order, without looking at those for other single paths.

use std::collections::HashMap;

use common::site_rules::pattern::Pattern;

use super::Unusable;
use super::matcher::{self, Caught};

/// Rules by what their path is: positions in the list that they came from.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Of rules for a single path, by that path without a slash at its end. In order.
    exact: HashMap<Box<str>, Vec<u32>>,
    /// Of all others. In order.
    patterns: Vec<(u32, Pattern)>,
    memory: usize,
}

impl Index {
    /// Adds the rule at `position`, which is behind all that were added.
    pub(super) fn add(&mut self, position: usize, path: &str) -> Result<(), Unusable> {
        let position = u32::try_from(position).map_err(|e| Unusable::new(path, e))?;
        let pattern = Pattern::parse(path).map_err(|e| Unusable::new(path, e))?;
        self.memory += path.len() + size_of::<(u32, Pattern)>() + size_of::<(Box<str>, Vec<u32>)>();
        match pattern.exact() {
            Some(path) => self.exact.entry(path.into()).or_default().push(position),
            None => self.patterns.push((position, pattern)),
        }
        Ok(())
    }

    /// Memory that it takes, in bytes, roughly.
    pub(super) const fn memory(&self) -> usize {
        self.memory
    }

    /// The rules that fit a decoded path, in their order, with what their placeholders caught.
    pub(super) fn fitting<'a>(&'a self, path: &'a str) -> Fitting<'a> {
        let trimmed = match path.strip_suffix('/') {
            Some("") | None => path,
            Some(trimmed) => trimmed,
        };
        // Most sites have no rules: nothing is hashed for them.
        let exact = if self.exact.is_empty() { None } else { self.exact.get(trimmed) };
        Fitting { path, exact: exact.map_or(&[], Vec::as_slice), patterns: &self.patterns }
    }
}

/// Rules that fit.
pub(super) struct Fitting<'a> {
    path: &'a str,
    exact: &'a [u32],
    patterns: &'a [(u32, Pattern)],
}

impl<'a> Iterator for Fitting<'a> {
    type Item = (usize, Caught<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match (self.exact, self.patterns) {
                ([], []) => return None,
                ([at, rest @ ..], patterns) if patterns.first().is_none_or(|(pattern, _)| at < pattern) => {
                    self.exact = rest;
                    return Some((*at as usize, Caught::default()));
                }
                (_, [(at, pattern), rest @ ..]) => {
                    self.patterns = rest;
                    if let Some(caught) = matcher::matched(pattern, self.path) {
                        return Some((*at as usize, caught));
                    }
                }
                // The second arm has taken it.
                (_, []) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rules_are_found_in_their_order_whatever_their_kind() {
        let mut index = Index::default();
        for (position, path) in ["/b", "/*", "/a", "/:x", "/b/", "/c/*"].into_iter().enumerate() {
            index.add(position, path).unwrap();
        }
        let found = |path: &str| index.fitting(path).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(found("/a"), [1, 2, 3]);
        assert_eq!(found("/b/"), [0, 1, 3, 4]);
        assert_eq!(found("/c/d"), [1, 5]);
        assert_eq!(found("/"), [1]);
        assert_eq!(Index::default().fitting("/").count(), 0);
    }
}
