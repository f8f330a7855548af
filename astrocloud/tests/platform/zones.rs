use std::net::SocketAddr;

use serde_json::json;
use tokio::process::Command;

use crate::support::{Platform, folder};

/// What dig prints of an answer alone.
async fn dig(server: SocketAddr, words: &str) -> String {
    let line = format!("@{} -p {} +norecurse +short {words}", server.ip(), server.port());
    let output = Command::new("dig").args(line.split_whitespace()).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_zone_is_managed_from_the_command_line_and_answered_at_once() {
    let platform = Platform::start().await;
    let server = platform.ready.dns[0];
    let files = folder(&[
        ("example.com.zone", "$TTL 300\nold IN A 192.0.2.1\n@ IN ALIAS lb.example.net.\n"),
        ("edit.json", r#"[{"remove": {"name": "old"}}, {"add": {"name": "new", "type": "A", "data": "192.0.2.9"}}]"#),
    ]);
    let at = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    let added = platform
        .cli(&["zones", "add", "example.com", "--from", &at("example.com.zone"), "--dnssec", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(added["nameservers"], json!(["ns1.localhost"]));
    let shown = platform.cli(&["zones", "show", "example.com"]).await.ok().stdout;
    assert!(shown.contains("registrar") && shown.contains(added["dnssec"]["ds"].as_str().unwrap()), "{shown}");
    assert_eq!(dig(server, "old.example.com A").await, "192.0.2.1");

    platform.cli(&["records", "add", "example.com", "@", "TXT", "a=b; c", "--note", "why"]).await.ok();
    assert_eq!(dig(server, "example.com TXT").await, "\"a=b; c\"");
    platform.cli(&["records", "set", "example.com", "www", "A", "192.0.2.2", "192.0.2.3", "--ttl", "60"]).await.ok();
    assert_eq!(dig(server, "www.example.com A").await.lines().count(), 2);
    let again = platform.cli(&["records", "set", "example.com", "www", "A", "192.0.2.3", "192.0.2.2"]).await.ok();
    assert!(again.stderr.contains("so already"), "{}", again.stderr);
    platform.cli(&["records", "apply", "example.com", &at("edit.json")]).await.ok();
    assert_eq!(
        (dig(server, "old.example.com A").await, dig(server, "new.example.com A").await),
        (String::new(), "192.0.2.9".into())
    );
    platform.cli(&["records", "template", "example.com", "microsoft-365"]).await.ok();
    assert_eq!(dig(server, "example.com MX").await, "0 example-com.mail.protection.outlook.com.");
    platform.cli(&["zones", "undo", "example.com", "4"]).await.ok();
    assert_eq!(dig(server, "old.example.com A").await, "192.0.2.1");

    let history = platform.cli(&["zones", "history", "example.com"]).await.ok().stdout;
    assert!(
        history.contains("edit 2 by token") && history.contains("why") && history.contains("undone by edit 6"),
        "{history}"
    );
    let listed = platform.cli(&["records", "ls", "example.com", "--type", "MX"]).await.ok().stdout;
    assert!(listed.contains("outlook"), "{listed}");
    let broken = platform.cli(&["records", "add", "example.com", "www", "CNAME", "example.net"]).await;
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("CNAME beside other records"), "{}", broken.stderr);
    let exported = platform.cli(&["zones", "export", "example.com", "--portable"]).await.ok().stdout;
    assert!(exported.contains("\n; example.com. 300 IN ANAME lb.example.net."), "{exported}");
    let off = platform.cli(&["zones", "dnssec", "example.com", "off", "--ds-gone"]).await;
    assert!(off.code == Some(1) && off.stderr.contains("DS record"), "{off:?}");
    assert_eq!(platform.cli(&["zones", "rm", "example.com"]).await.code, Some(2));
    platform.cli(&["zones", "rm", "example.com", "--yes"]).await.ok();
    assert_eq!(platform.cli(&["zones", "ls", "--json"]).await.ok().json(), json!([]));
}

#[tokio::test]
async fn the_dns_server_is_off_when_it_listens_nowhere() {
    let platform = Platform::start_with(&[("ASTROCLOUD_DNS_LISTEN", "")]).await;
    assert!(platform.ready.dns.is_empty());
    platform.cli(&["zones", "add", "example.com"]).await.ok();
    let added = platform.cli(&["records", "add", "example.com", "www", "A", "192.0.2.2"]).await.ok();
    assert!(added.stderr.contains("dns.listen"), "{}", added.stderr);
}
