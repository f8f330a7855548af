//! Which names a certificate can have.

use crate::challenge::Method;
use crate::entry::MAX_NAMES;

/// Says what is wrong with names.
pub(super) fn check(names: &[String], methods: &[Method]) -> Result<(), String> {
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(format!("{} names", names.len()));
    }
    for (i, name) in names.iter().enumerate() {
        let domain = name.strip_prefix("*.").unwrap_or(name);
        let label = |label: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&label.len())
                && label.bytes().all(inner)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if domain.len() > 253 || !domain.contains('.') || !domain.split('.').all(label) {
            return Err(format!("{name:?} is no name of a host"));
        }
        if names[..i].contains(name) {
            return Err(format!("{name:?} is there twice"));
        }
        if !methods.iter().any(|method| !name.starts_with("*.") || method.proves_wildcards()) {
            return Err(format!("control of {name:?} can't be proven by {methods:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(names: &[&str], methods: &[Method]) -> bool {
        check(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>(), methods).is_ok()
    }

    #[test]
    fn names_of_hosts_and_wildcards_that_can_be_proven_are_taken_and_nothing_else() {
        let (web, dns) = ([Method::Http01], [Method::Dns01]);
        assert!(judged(&["a.example", "xn--bcher-kva.example"], &web));
        assert!(judged(&["a.example", "*.a.example"], &dns));
        assert!(!judged(&["*.a.example"], &web));
        let long = format!("{}.example", "a".repeat(64));
        for name in
            ["", "localhost", "A.example", "a..example", "a.example.", "-a.example", "a_b.example", "*.*.a.example"]
        {
            assert!(!judged(&[name], &dns), "{name}");
        }
        assert!(!judged(&[long.as_str()], &dns));
        assert!(!judged(&["a.example", "a.example"], &dns) && !judged(&[], &dns) && !judged(&["a.example"], &[]));
        let many: Vec<String> = (0..=MAX_NAMES).map(|i| format!("n{i}.example")).collect();
        assert!(check(&many, &dns).is_err() && check(&many[1..], &dns).is_ok());
    }
}
