//! Faults in the records of zones whose servers are well.

use doctor::{
    Code, Health,
    expected::{Proof, ProofKind},
};
use peers::{Reply, answer};

use crate::ward::{Plan, Ward, codes, name, soa, zone};

/// A zone below `example.` with these faults, one at each name.
async fn ward() -> Ward {
    let mut plan = Plan::new();
    let lines = plan.delegate(&["apps", "shop", "caa", "xn--bcher-kva"], plan.good);
    let edge = plan.edge;
    let shop = zone(
        plan.good,
        &format!(
            "@ IN A {edge}\nwww IN CNAME shop.apps.example.\nplain IN A {edge}\n\
             elsewhere IN CNAME other.host.example.\ndangling IN CNAME no.apps.shop.example.\n\
             wrong IN A 203.0.113.9\nboth IN A {edge}\nboth IN A 203.0.113.9\n\
             stale IN A {edge}\nstale IN AAAA 2001:db8::9\nempty IN TXT \"nothing else\"\n\
             circle IN CNAME circle2\ncircle2 IN CNAME circle\n\
             *.wild IN CNAME shop.apps.example.\n_astrocloud.proven IN TXT \"right\"\nproven IN A {edge}\n\
             _astrocloud.wrongtxt IN TXT \"other\"\nwrongtxt IN A {edge}\nnotxt IN A {edge}\n"
        ),
    );
    let caa = zone(
        plan.good,
        &format!(
            "other IN A {edge}\nother IN CAA 0 issue \"other.example\"\n\
             account IN A {edge}\naccount IN CAA 0 issue \"letsencrypt.org; accounturi=https://acme.example/acct/2\"\n\
             methods IN A {edge}\nmethods IN CAA 0 issue \"letsencrypt.org; validationmethods=dns-01\"\n\
             deep.below IN A {edge}\nbelow IN CAA 0 issue \"other.example\"\n\
             *.wild IN A {edge}\nwild IN CAA 0 issue \"letsencrypt.org\"\nwild IN CAA 0 issuewild \";\"\n"
        ),
    );
    let idn = zone(plan.good, &format!("@ IN A {edge}\n"));
    let world = plan.world(&lines).await;
    let zones = [("shop.example.", shop), ("caa.example.", caa), ("xn--bcher-kva.example.", idn)];
    Ward::open(plan, world, &zones).await
}

#[tokio::test]
async fn records_that_are_wrong_are_named_and_right_ones_are_healthy() {
    let mut ward = ward().await;
    ward.expected.certificates = None;
    for (host, expected) in [
        ("www.shop.example", vec![]),
        ("shop.example", vec![]),
        ("plain.shop.example", vec![]),
        ("any.wild.shop.example", vec![]),
        ("no.shop.example", vec![Code::NoSuchName]),
        ("empty.shop.example", vec![Code::NoAddress]),
        ("elsewhere.shop.example", vec![Code::WrongCname]),
        ("dangling.shop.example", vec![Code::WrongCname]),
        ("circle.shop.example", vec![Code::CnameLoop]),
        ("wrong.shop.example", vec![Code::WrongA]),
        ("both.shop.example", vec![Code::WrongA]),
        ("stale.shop.example", vec![Code::StaleAaaa]),
        ("other.caa.example", vec![Code::CaaForbids]),
        ("account.caa.example", vec![Code::CaaAccount]),
        ("methods.caa.example", vec![Code::CaaMethods]),
        ("deep.below.caa.example", vec![Code::CaaForbids]),
        ("*.wild.caa.example", vec![Code::CaaForbids]),
        ("bücher.example", vec![Code::Idn]),
        ("com", vec![Code::PublicSuffix]),
        ("a.b.c.d.e.f.g.shop.example", vec![Code::NameTooDeep]),
        ("192.0.2.1", vec![Code::NameInvalid]),
    ] {
        let report = ward.examine(host).await;
        assert_eq!(codes(&report), expected, "{host}: {report:#?}");
        let well = expected.is_empty() || expected == [Code::Idn];
        assert_eq!(report.health == Health::Healthy, well, "{host}");
    }
    let report = ward.examine("bücher.example").await;
    assert_eq!((report.host.as_str(), report.unicode.as_deref()), ("xn--bcher-kva.example", Some("bücher.example")));
    let json = serde_json::to_value(ward.examine("no.shop.example").await).unwrap();
    assert_eq!(json["zone"], "shop.example");
    assert_eq!(json["name_servers"][0], "ns.shop.example");
    assert_eq!(json["findings"][0]["code"], "no_such_name");
    assert_eq!(
        json["findings"][0]["changes"][0],
        serde_json::json!({"action": "set", "name": "no.shop.example", "type": "CNAME", "value": "shop.apps.example"})
    );
}

#[tokio::test]
async fn what_an_authority_is_called_in_caa_records_is_read_out_of_its_directory() {
    let mut ward = ward().await;
    ward.expected.certificates = None;
    ward.expected.authorities[0].identities = Vec::new();
    let host = "other.caa.example";
    assert_eq!(codes(&ward.examine(host).await), [], "what nobody knows is not judged");
    for (identity, expected) in [("other.example", vec![]), ("ca.example", vec![Code::CaaForbids])] {
        let directory = ward.directory(identity).await;
        ward.expected.authorities[0].directory = Some(directory);
        let report = ward.examine(host).await;
        assert_eq!(codes(&report), expected, "{identity}");
        let set = report.findings.iter().flat_map(|finding| &finding.changes).map(|change| change.value.as_str());
        assert!(set.eq(expected.iter().map(|_| "0 issue \"ca.example\"")));
    }
}

#[tokio::test]
async fn proofs_of_ownership_are_looked_for() {
    let mut ward = ward().await;
    ward.expected.certificates = None;
    for (host, proven, expected) in [
        ("proven.shop.example", "_astrocloud.proven.shop.example", vec![]),
        ("wrongtxt.shop.example", "_astrocloud.wrongtxt.shop.example", vec![Code::TxtWrong]),
        ("notxt.shop.example", "_astrocloud.notxt.shop.example", vec![Code::TxtMissing]),
        ("*.wild.shop.example", "_astrocloud.wild.shop.example", vec![Code::WildcardTxtMissing]),
    ] {
        ward.expected.proofs = vec![Proof {
            name: name(proven),
            kind: ProofKind::Txt,
            value: "right".to_owned(),
            purpose: "proves that the domain is yours".to_owned(),
        }];
        assert_eq!(codes(&ward.examine(host).await), expected, "{host}");
    }
}

#[tokio::test]
async fn cname_records_where_none_may_stand_are_named() {
    let mut plan = Plan::new();
    let loose = plan.net.address();
    let lines = plan.delegate(&["apps"], plan.good) + &plan.delegate(&["apex", "mixed"], loose);
    let mut world = plan.world(&lines).await;
    let records = [
        "apex.example. 300 CNAME shop.apps.example.",
        "apex.example. 300 NS ns.apex.example.",
        "mixed.example. 300 NS ns.mixed.example.",
        "www.mixed.example. 300 CNAME shop.apps.example.",
        "www.mixed.example. 300 MX 10 mail.example.net.",
    ]
    .map(|line| {
        let (owner, rest) = line.split_once(' ').unwrap();
        let [ttl, kind, data] = rest.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
        let kind: lookup::RecordType = kind.parse().unwrap();
        let data = lookup::RData::try_from_str(kind, data).unwrap();
        lookup::Record::from_rdata(name(owner), ttl.parse().unwrap(), data)
    });
    let script = move |query: &hickory_proto::op::Message, _: bool| -> Reply {
        let of = if name("apex.example.").zone_of(&query.queries[0].name) { "apex.example." } else { "mixed.example." };
        let mut all = vec![soa(of)];
        all.extend(records.iter().cloned());
        answer(query, &all)
    };
    world.net.loose(loose, script).await.unwrap();
    let mut ward = Ward::open(plan, world, &[]).await;
    ward.expected.certificates = None;
    assert_eq!(codes(&ward.examine("apex.example").await), [Code::ApexCname]);
    let report = ward.examine("www.mixed.example").await;
    assert_eq!(codes(&report), [Code::CnameBesideOthers]);
    assert!(report.findings[0].seen.contains("MX"), "{}", report.findings[0].seen);
}
