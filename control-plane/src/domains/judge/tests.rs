#![allow(clippy::unwrap_used)]
use super::*;

const TEXT: &str = "ours";
const THEIRS: &str = "theirs";

/// What is seen: CNAME records' ends, addresses, and texts.
fn seen(cnames: &[&str], addresses: &[&str], texts: &[&str]) -> Seen {
    let texts_of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    Seen { cnames: texts_of(cnames), addresses, texts: texts_of(texts) }
}

fn held(name: &str, text: Option<&str>) -> Option<Holder> {
    Some(Holder { name: name.parse().unwrap(), text: text.map(str::to_owned) })
}

/// The verdict as a word, with the cause's code.
fn verdict(name: &str, seen: &Seen, leads_to: Option<Leads>, holder: Option<Holder>) -> String {
    verdict_through(name, seen, leads_to, holder, Passes::Elsewhere)
}

/// The same, where a CDN passes visitors on.
fn verdict_through(name: &str, seen: &Seen, leads_to: Option<Leads>, holder: Option<Holder>, passes: Passes) -> String {
    let records = Records::new("apps.example.net", &["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
    let name = name.parse().unwrap();
    let expected = records.of(&name, "shop", "owner", holder.is_some());
    let front = Front::by_dns(&seen.cnames, &seen.addresses).map(|front| Front { passes, ..front });
    let known = Known { leads_to, front, text: TEXT.to_owned(), holder };
    match judge(&records, &name, seen, &known, expected.clone()) {
        Verdict::Ours(proof) => format!("{proof:?}"),
        Verdict::Through(notice) => format!("Through {}", notice.code),
        Verdict::Not { finding, cause, expected: told, .. } => {
            assert_eq!(told, expected);
            assert!(cause.message.contains(name.as_str()), "{}", cause.message);
            format!("{finding:?} {}", cause.code)
        }
    }
}

#[test]
fn a_name_is_ours_when_it_leads_here_and_something_shows_whose_it_is() {
    let (www, apex) = ("www.example.com", "example.com");
    let (project, here, there) = ("shop.apps.example.net", "192.0.2.1", "198.51.100.7");
    let (ours, others) = (Some(Leads::Ours), Some(Leads::Others));
    for (name, seen, leads_to, expected) in [
        (www, seen(&[project], &[], &[]), ours, "Cname"),
        (www, seen(&["example.com", project], &[], &[]), ours, "Cname"),
        (www, seen(&[project], &[], &[TEXT]), ours, "Txt"),
        (www, seen(&[], &[here], &[TEXT]), None, "Txt"),
        (www, seen(&[], &[here], &[]), None, "Elsewhere ownership_not_shown"),
        (www, seen(&[], &[], &[]), None, "Nothing no_records"),
        (www, seen(&[], &[], &[THEIRS]), None, "Nothing no_records"),
        (www, seen(&[], &[], &[TEXT]), None, "Owned no_records"),
        (www, seen(&[project], &[], &[]), others, "Elsewhere another_accounts_project"),
        (www, seen(&["gone.apps.example.net"], &[], &[]), Some(Leads::Nobody), "Elsewhere no_such_project"),
        (www, seen(&["old.example.org"], &[there], &[]), None, "Elsewhere wrong_cname"),
        (www, seen(&["old.example.org"], &[there], &[TEXT]), None, "Owned wrong_cname"),
        (www, seen(&["old.example.org"], &[], &[]), None, "Elsewhere dangling_cname"),
        (www, seen(&[], &[there], &[]), None, "Elsewhere wrong_address"),
        (apex, seen(&[], &[here], &[]), None, "Address"),
        (apex, seen(&[], &[here, "2001:db8::1"], &[]), None, "Address"),
        (apex, seen(&[], &[here, there], &[]), None, "Elsewhere stale_address"),
        (apex, seen(&[], &[here, "2001:db8::bad"], &[]), None, "Elsewhere stale_address"),
        (apex, seen(&[], &[there], &[]), None, "Elsewhere wrong_address"),
        ("*.example.com", seen(&[project], &[], &[]), ours, "Cname"),
    ] {
        assert_eq!(verdict(name, &seen, leads_to, None), expected, "{name} {seen:?}");
    }
}

#[test]
fn the_text_decides_when_another_account_holds_the_name_or_one_around_it() {
    let project = ["shop.apps.example.net"];
    let ours = Some(Leads::Ours);
    for holder in ["www.example.com", "example.com", "*.example.com"] {
        let held = || held(holder, None);
        let without = seen(&project, &[], &[]);
        assert_eq!(verdict("www.example.com", &without, ours, held()), "Held held_by_another_account");
        let with = seen(&project, &[], &[TEXT]);
        assert_eq!(verdict("www.example.com", &with, ours, held()), "Txt");
        let elsewhere = seen(&[], &["198.51.100.7"], &[TEXT]);
        assert_eq!(verdict("www.example.com", &elsewhere, None, held()), "Owned wrong_address");
    }
    let apex = seen(&[], &["192.0.2.1"], &[]);
    let holder = held("example.com", Some(THEIRS));
    assert_eq!(verdict("example.com", &apex, None, holder), "Held held_by_another_account");
}

#[test]
fn who_had_a_name_first_keeps_it_while_both_show_that_it_is_theirs() {
    let both = seen(&["shop.apps.example.net"], &[], &[THEIRS, TEXT]);
    let word = verdict("www.example.com", &both, Some(Leads::Ours), held("www.example.com", Some(THEIRS)));
    assert_eq!(word, "Held shown_by_two");
}

#[test]
fn a_name_behind_a_cdn_is_ours_when_the_text_shows_whose_it_is_and_the_cdn_fetches_from_here() {
    let cloudflare = "104.21.3.4";
    for (texts, passes, expected) in [
        (&[][..], Passes::Elsewhere, "Elsewhere proxied_through_cdn"),
        (&[], Passes::Here, "Elsewhere proxied_through_cdn"),
        (&[TEXT], Passes::Elsewhere, "Owned proxied_through_cdn"),
        (&[TEXT], Passes::Loop, "Owned proxy_redirect_loop"),
        (&[TEXT], Passes::Here, "Through proxied_through_cdn"),
    ] {
        for (name, cnames) in
            [("www.example.com", &[][..]), ("www.example.com", &["d1.cloudfront.net"]), ("example.com", &[])]
        {
            let seen = seen(cnames, &[cloudflare], texts);
            assert_eq!(verdict_through(name, &seen, None, None, passes), expected, "{seen:?}");
        }
    }
    let seen = seen(&[], &[cloudflare], &[]);
    let holder = held("www.example.com", Some(THEIRS));
    let told = verdict_through("www.example.com", &seen, None, holder, Passes::Here);
    assert_eq!(told, "Held held_by_another_account");
}
