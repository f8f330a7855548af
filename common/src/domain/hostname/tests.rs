#![allow(clippy::unwrap_used)]
use super::*;

const NOTICE: Duration = Duration::from_secs(3 * 24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

fn at(minutes: u32) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000).after(MINUTE * minutes)
}

fn why(code: &str) -> Failure {
    Failure::new(code, "A sentence.")
}

fn not(finding: Finding) -> Event {
    let (cause, seen, expected) = (why("seen"), Vec::new(), Expected::default());
    Event::Looked(Verdict::Not { finding, cause, seen, expected })
}

fn ours() -> Event {
    Event::Looked(Verdict::Ours(Proof::Cname))
}

fn step(state: &Hostname, event: Event, now: Timestamp) -> Hostname {
    state.clone().on(event, now, NOTICE).unwrap()
}

/// Each state, reached by events at minute 0.
fn states() -> Vec<Hostname> {
    let new = Hostname::attached(Expected::default(), at(0));
    let active = step(&new, ours(), at(0));
    vec![
        new.clone(),
        step(&new, not(Finding::Owned), at(0)),
        active.clone(),
        step(&new, not(Finding::Elsewhere), at(0)),
        step(&new, not(Finding::Held), at(0)),
        step(&active, not(Finding::Elsewhere), at(0)),
        step(&new, Event::Suspended(why("abuse")), at(0)),
        step(&new, Event::Removed, at(0)),
    ]
}

#[test]
fn every_pair_of_state_and_event_is_decided_as_in_this_table() {
    let events = || {
        [
            ours(),
            not(Finding::Owned),
            not(Finding::Nothing),
            not(Finding::Elsewhere),
            not(Finding::Held),
            not(Finding::Unknown),
            Event::Asked,
            Event::Taken(why("taken")),
            Event::Suspended(why("abuse")),
            Event::Resumed,
            Event::Removed,
        ]
    };
    let decided = |state: &Hostname| {
        let next = |event| state.clone().on(event, at(1), NOTICE).map_or("-", |next| next.as_str());
        events().map(next)
    };
    let (pending, verifying, active, wrong, held, moved, stopped, gone) =
        ("pending_dns", "verifying", "active", "misconfigured", "conflict", "moved", "suspended", "removed");
    let table: Vec<_> = states().iter().map(|state| (state.as_str(), decided(state))).collect();
    assert_eq!(
        table,
        [
            (pending, [active, verifying, pending, wrong, held, pending, pending, held, stopped, "-", gone]),
            (verifying, [active, verifying, pending, wrong, held, verifying, verifying, held, stopped, "-", gone]),
            (active, [active, verifying, moved, moved, held, active, active, held, stopped, "-", gone]),
            (wrong, [active, verifying, pending, wrong, held, wrong, wrong, held, stopped, "-", gone]),
            (held, [active, verifying, pending, wrong, held, held, held, held, stopped, "-", gone]),
            (moved, [active, verifying, moved, moved, held, moved, moved, held, stopped, "-", gone]),
            (stopped, ["-", "-", "-", "-", "-", "-", "-", "-", stopped, pending, gone]),
            (gone, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
        ]
    );
}

#[test]
fn nobody_is_served_before_it_is_proven_whose_the_name_is() {
    let served: Vec<_> = states().iter().filter(|state| state.is_served()).map(Hostname::as_str).collect();
    assert_eq!(served, ["verifying", "active", "moved"]);
}

#[test]
fn a_name_that_moved_away_is_served_until_the_day_that_was_told_and_then_stops() {
    let active = step(&Hostname::attached(Expected::default(), at(0)), ours(), at(0));
    let mut state = active;
    let mut now = at(24 * 60);
    let told = now.after(NOTICE);
    loop {
        state = step(&state, not(Finding::Elsewhere), now);
        let Hostname::Moved { stops_at, waiting } = &state else { break };
        assert_eq!((*stops_at, waiting.since), (told, at(24 * 60)), "the date does not move");
        assert!(waiting.next_check > now && waiting.next_check <= told);
        now = waiting.next_check;
    }
    assert_eq!((now, state.as_str(), state.is_served()), (told, "misconfigured", false));
}

#[test]
fn a_name_that_comes_back_in_time_is_active_and_has_all_its_time_again() {
    let moved = &states()[5];
    let back = step(moved, ours(), at(5));
    assert!(matches!(back, Hostname::Active { since, .. } if since == at(5)));
    let again = step(&back, not(Finding::Nothing), at(7));
    assert!(matches!(again, Hostname::Moved { stops_at, .. } if stops_at == at(7).after(NOTICE)));
}

#[test]
fn a_dns_that_cannot_be_asked_is_no_proof_that_the_name_moved() {
    let year = at(365 * 24 * 60);
    for state in states().iter().filter(|state| state.next_check().is_some()) {
        let doubted = step(state, not(Finding::Unknown), year);
        assert_eq!(doubted.as_str(), state.as_str());
        assert_eq!(doubted.cause(), Some(&why("seen")));
        assert!(doubted.next_check().unwrap() > year, "{} has no next look", state.as_str());
    }
}

#[test]
fn looks_are_frequent_again_once_a_person_asks() {
    let week = at(8 * 24 * 60);
    let waits = |state: &Hostname| state.next_check().unwrap().since(week);
    let new = Hostname::attached(Expected::default(), at(0));
    let tired = step(&new, not(Finding::Nothing), week);
    assert!(waits(&tired) > MINUTE * 60);
    let asked = step(&tired, Event::Asked, week);
    assert_eq!(waits(&asked), Duration::ZERO);
    assert!(waits(&step(&asked, not(Finding::Nothing), week)) < MINUTE);
}

#[test]
fn a_state_keeps_the_time_of_its_begin_while_nothing_changes() {
    for state in states().iter().filter(|state| state.waiting().is_some()) {
        let finding = match state.as_str() {
            "verifying" => Finding::Owned,
            "misconfigured" | "moved" => Finding::Elsewhere,
            "conflict" => Finding::Held,
            _ => Finding::Nothing,
        };
        assert_eq!(step(state, not(finding), at(3)).since(), at(0), "{}", state.as_str());
    }
}

#[test]
fn names_below_localhost_are_never_looked_at_again() {
    let local = Event::Looked(Verdict::Ours(Proof::Local));
    let state = step(&Hostname::attached(Expected::default(), at(0)), local, at(0));
    assert_eq!(state.next_check(), None);
    assert_eq!(step(&state, Event::Asked, at(1)).next_check(), None);
}

#[test]
fn every_state_reads_back_from_its_wire_form_under_its_word() {
    for state in states() {
        let json = serde_json::to_value(&state).unwrap();
        assert_eq!(json["state"], state.as_str());
        assert_eq!(serde_json::from_value::<Hostname>(json).unwrap(), state);
    }
}
