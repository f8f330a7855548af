//! Answers as dig sees them.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use dns::{
    alias::{Found, Held, held},
    name,
    server::Settings,
};

use crate::testkit::{ZONE, origin, serve, serve_with, settings, zone};

fn has(answer: &str, parts: &[&str]) {
    let plain = answer.replace('\t', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(plain.contains(part), "no \"{part}\" in\n{answer}");
    }
}

#[tokio::test]
async fn each_type_is_answered_over_udp_and_tcp() {
    let running = serve(zone(ZONE, None)).await;
    for over in ["", "+tcp"] {
        for (question, answer) in [
            ("example.com A", "192.0.2.80"),
            ("EXAMPLE.com MX", "10 mail.example.com."),
            ("example.com TXT", r#""v=spf1 -all" "with \"quotes\" ; and more""#),
            ("example.com CAA", r#"0 issue "letsencrypt.org""#),
            ("example.com HTTPS", r#"1 . alpn="h2,h3" ipv4hint=192.0.2.80"#),
            ("example.com SOA", "ns1.example.com. hostmaster.example.com. 7 3600 600 1209600 300"),
            ("mail.example.com AAAA", "2001:db8::25"),
            ("_sip._tcp.example.com SRV", "10 5 5060 mail.example.com."),
        ] {
            let answer_seen = running.dig(&format!("{question} {over}")).await;
            has(&answer_seen, &["status: NOERROR", "flags: qr aa;", answer]);
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_denied_with_the_soa_for_as_long_as_it_says() {
    let running = serve(zone(ZONE, None)).await;
    let soa = "example.com. 300 IN SOA";
    has(&running.dig("nothing.example.com A").await, &["status: NXDOMAIN", "ANSWER: 0", soa]);
    has(&running.dig("mail.example.com TXT").await, &["status: NOERROR", "ANSWER: 0", soa]);
    // Nothing stands at these, but something below them: they exist.
    has(&running.dig("in.empty.example.com A").await, &["status: NOERROR", "ANSWER: 0", soa]);
    has(&running.dig("wild.example.com A").await, &["status: NOERROR", "ANSWER: 0", soa]);
}

#[tokio::test]
async fn wildcards_answer_below_them_but_not_below_what_exists() {
    let running = serve(zone(ZONE, None)).await;
    has(&running.dig("a.wild.example.com A").await, &["a.wild.example.com. 3600 IN A 192.0.2.99"]);
    has(&running.dig("a.b.wild.example.com A").await, &["a.b.wild.example.com. 3600 IN A 192.0.2.99"]);
    has(&running.dig("a.wild.example.com TXT").await, &["status: NOERROR", "ANSWER: 0"]);
    let starred = running.dig("*.wild.example.com A").await;
    has(&starred, &["192.0.2.99"]);
    let blocked = ZONE.to_owned() + "host.wild IN TXT \"here\"\n";
    running.answers.publish(Arc::new(zone(&blocked, None)));
    has(&running.dig("x.host.wild.example.com A").await, &["status: NXDOMAIN"]);
}

#[tokio::test]
async fn chains_are_followed_within_the_zone_and_loops_end() {
    let running = serve(zone(ZONE, None)).await;
    has(&running.dig("chain.example.com A").await, &["ANSWER: 3", "60 IN CNAME example.com.", "192.0.2.80"]);
    has(&running.dig("away.example.com A").await, &["ANSWER: 1", "CNAME www.example.net."]);
    has(&running.dig("loop.example.com A").await, &["status: NOERROR", "CNAME loop2.example.com."]);
    has(&running.dig("www.example.com CNAME").await, &["ANSWER: 1"]);
}

#[tokio::test]
async fn delegations_are_referred_with_glue_and_no_authority() {
    let running = serve(zone(ZONE, None)).await;
    for name in ["sub.example.com", "deep.sub.example.com", "ns.sub.example.com"] {
        let answer = running.dig(&format!("{name} A")).await;
        has(&answer, &["flags: qr;", "ANSWER: 0, AUTHORITY: 2", "NS ns.sub.example.com.", "A 192.0.2.53"]);
    }
    has(&running.dig("sub.example.com DS").await, &["flags: qr aa;", "ANSWER: 0", "SOA"]);
}

#[tokio::test]
async fn strangers_get_nothing_to_amplify() {
    let running = serve(zone(ZONE, None)).await;
    has(&running.dig("www.example.org A").await, &["status: REFUSED", "ANSWER: 0"]);
    has(&running.dig("+notcp example.com ANY").await, &["status: NOERROR", "ANSWER: 1"]);
    has(&running.dig("+opcode=UPDATE example.com SOA").await, &["status: NOTIMP"]);
    has(&running.dig("-c CH version.bind TXT").await, &["status: REFUSED"]);
}

#[tokio::test]
async fn edns_is_spoken_by_its_rules() {
    let running = serve(zone(ZONE, None)).await;
    has(&running.dig("+edns=1 +noednsneg example.com A").await, &["status: BADVERS", "version: 0"]);
    has(&running.dig("+ednsopt=65001:c0ffee example.com A").await, &["status: NOERROR", "udp: 1232"]);
    let plain = running.dig("+noedns example.com A").await;
    assert!(!plain.contains("OPT PSEUDOSECTION"), "{plain}");
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_is_cut_and_whole_over_tcp() {
    let mut text = ZONE.to_owned();
    for number in 1..60 {
        text.push_str(&format!("big IN TXT \"number {number} of many, each of which takes its room\"\n"));
    }
    let running = serve(zone(&text, None)).await;
    has(&running.dig("+ignore big.example.com TXT").await, &["flags: qr aa tc;", "ANSWER: 0"]);
    has(&running.dig("big.example.com TXT").await, &["Truncated, retrying in TCP", "ANSWER: 59"]);
}

#[tokio::test]
async fn an_edit_is_seen_by_the_next_query() {
    let running = serve(zone(ZONE, None)).await;
    let edited = ZONE.replace("hostmaster 7", "hostmaster 8").replace("192.0.2.80", "192.0.2.81");
    running.answers.publish(Arc::new(zone(&edited, None)));
    has(&running.dig("example.com A").await, &["192.0.2.81"]);
    has(&running.dig("example.com SOA").await, &[" 8 3600"]);
    running.answers.withdraw(&dns::name::wire(&origin()));
    has(&running.dig("example.com A").await, &["status: REFUSED"]);
}

#[tokio::test]
async fn an_alias_answers_with_the_addresses_behind_it() {
    let text = ZONE.replace("IN A   192.0.2.80", "IN ALIAS target.example.net.");
    let running = serve(zone(&text, None)).await;
    has(&running.dig("example.com A").await, &["status: SERVFAIL"]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let due = running.answers.aliases.due(&running.answers, now);
    assert_eq!(due.len(), 1);
    let found = Found { addresses: vec!["203.0.113.5".parse().unwrap()], ttl: 120 };
    running.answers.aliases.learned(&due[0], Some(found), now);
    let answer = running.dig("www.example.com A").await;
    has(&answer, &["example.com. 1", "IN A 203.0.113.5"]);
    has(&running.dig("example.com AAAA").await, &["status: NOERROR", "ANSWER: 0"]);
    has(&running.dig("example.com MX").await, &["mail.example.com."]);
    // A resolver that fails does not take the last good answer away.
    assert_eq!(running.answers.aliases.due(&running.answers, now + 121).len(), 1);
    running.answers.aliases.learned(&due[0], None, now + 121);
    assert!(running.answers.aliases.due(&running.answers, now + 122).is_empty());
    has(&running.dig("example.com A").await, &["203.0.113.5"]);
}

#[tokio::test]
async fn a_target_that_was_never_found_is_asked_for_after_a_while_and_news_are_told() {
    let text = ZONE.replace("IN A   192.0.2.80", "IN ALIAS target.example.net.");
    let running = serve(zone(&text, None)).await;
    let aliases = &running.answers.aliases;
    let due = aliases.due(&running.answers, 1000);
    assert!(!aliases.learned(&due[0], None, 1000));
    assert!(aliases.due(&running.answers, 1001).is_empty());
    assert_eq!(aliases.due(&running.answers, 1020).len(), 1);
    let found = |address: &str| Some(Found { addresses: vec![address.parse().unwrap()], ttl: 60 });
    assert!(aliases.learned(&due[0], found("203.0.113.5"), 1020));
    assert!(!aliases.learned(&due[0], found("203.0.113.5"), 1080));
    assert!(aliases.learned(&due[0], found("203.0.113.6"), 1140));
}

#[tokio::test]
async fn addresses_of_names_held_here_are_found_without_asking() {
    let text = ZONE.replace("IN A   192.0.2.80", "IN ALIAS target.example.net.");
    let running = serve(zone(&text, None)).await;
    let find = |text: &str| held(&running.answers, &name::parse(text, &origin()).unwrap(), 1000);
    let Held::Found(found) = find("mail") else { panic!("mail is held here") };
    assert_eq!(found.addresses, ["192.0.2.25".parse::<std::net::IpAddr>().unwrap(), "2001:db8::25".parse().unwrap()]);
    assert!(matches!(find("nothing"), Held::Found(found) if found.addresses.is_empty() && found.ttl == 300));
    assert_eq!(find("@"), Held::NotYet);
    for elsewhere in ["example.net.", "away", "x.sub"] {
        assert_eq!(find(elsewhere), Held::Elsewhere, "{elsewhere}");
    }
}

#[tokio::test]
async fn a_network_over_its_rate_is_sent_to_tcp() {
    let running = serve_with(zone(ZONE, None), Settings { rate: 1, burst: 1, ..settings() }, Vec::new()).await;
    let query = b"\x12\x34\0\0\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(running.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..20 {
        socket.send(query).unwrap();
    }
    let mut buffer = [0; 512];
    // One is answered and every other one after it is cut; threads send them in any order.
    let (mut is_answered, mut is_cut) = (false, false);
    while !(is_answered && is_cut) {
        let length = socket.recv(&mut buffer).unwrap();
        assert!(length <= 512);
        let cut = buffer[2] & 2 != 0;
        (is_answered, is_cut) = (is_answered | !cut, is_cut | cut);
    }
    has(&running.dig("+tcp example.com A").await, &["192.0.2.80"]);
}

#[test]
fn mutated_queries_never_break_the_server() {
    let answers = dns::answer::Answers::default();
    let key = Arc::new(dns::key::ZoneKey::open(&dns::key::ZoneKey::generate().unwrap()).unwrap());
    answers.publish(Arc::new(zone(ZONE, Some(key))));
    let seed = b"\x12\x34\0\0\0\x01\0\0\0\0\0\x01\x03www\x07example\x03com\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\x80\0\0\x04\0\x0a\0\0";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut replies, mut out) = (0, Vec::new());
    for _ in 0..200_000 {
        let mut message = seed.to_vec();
        for _ in 0..=random() % 3 {
            let at = random() as usize % message.len();
            match random() % 4 {
                0 => message[at] = random() as u8,
                1 => message[at] ^= 1 << (random() % 8),
                2 => message.insert(at, random() as u8),
                _ => message.truncate(at.max(1)),
            }
        }
        out.clear();
        if answers.answer(&message, random() % 2 == 0, 1_700_000_000, &mut out) == dns::answer::Outcome::Reply {
            replies += 1;
            assert_eq!(out[..2], message[..2]);
            assert!(out[2] & 0x80 != 0);
            hickory_proto::op::Message::from_vec(&out).unwrap_or_else(|error| panic!("{error} {message:?} {out:?}"));
        }
    }
    assert!(replies > 50_000, "{replies}");
}
