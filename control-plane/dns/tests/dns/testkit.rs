//! A server on a free port with one zone, and the programs that ask it.

use std::{net::SocketAddr, path::Path, process::Command, sync::Arc};

use dns::{
    Name,
    answer::Answers,
    key::ZoneKey,
    master,
    server::{Server, Settings},
    tsig::Key,
    zone::Zone,
};

pub const ZONE: &str = r#"
$TTL 3600
@       IN SOA ns1 hostmaster 7 3600 600 1209600 300
        IN NS  ns1
        IN NS  ns2.example.net.
        IN MX  10 mail
        IN TXT "v=spf1 -all" "with \"quotes\" ; and more"
        IN CAA 0 issue "letsencrypt.org"
        IN A   192.0.2.80
        IN HTTPS 1 . alpn="h2,h3" ipv4hint=192.0.2.80
ns1     IN A 192.0.2.1
mail    IN A 192.0.2.25
        IN AAAA 2001:db8::25
www     60 IN CNAME @
chain   IN CNAME www
away    IN CNAME www.example.net.
loop    IN CNAME loop2
loop2   IN CNAME loop
*.wild  IN A 192.0.2.99
deep.in.empty IN A 192.0.2.42
_sip._tcp IN SRV 10 5 5060 mail
sub     IN NS ns.sub
        IN NS ns.elsewhere.net.
ns.sub  IN A 192.0.2.53
"#;

pub fn origin() -> Name {
    Name::from_ascii("example.com.").unwrap()
}

pub fn zone(text: &str, key: Option<Arc<ZoneKey>>) -> Zone {
    Zone::new(origin(), master::read(text, &origin()).unwrap(), key).unwrap()
}

pub struct Running {
    pub server: Server,
    pub answers: Arc<Answers>,
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// What dig prints with these words.
    pub async fn dig(&self, words: &str) -> String {
        let port = self.address().port();
        run("dig", &format!("@127.0.0.1 -p {port} +norecurse +tries=1 +time=5 {words}")).await
    }
}

pub async fn serve(zone: Zone) -> Running {
    serve_with(zone, Settings { transfer: vec!["127.0.0.0/8".parse().unwrap()], ..settings() }, Vec::new()).await
}

/// A server on a free port that has no limit and gives no zone away.
pub fn settings() -> Settings {
    Settings { listen: vec!["127.0.0.1:0".parse().unwrap()], rate: 0, burst: 0, transfer: Vec::new() }
}

pub async fn serve_with(zone: Zone, settings: Settings, keys: Vec<Arc<Key>>) -> Running {
    let answers = Arc::new(Answers::new(keys));
    answers.publish(Arc::new(zone));
    Running { server: Server::start(&settings, Arc::clone(&answers)).await.unwrap(), answers }
}

/// Runs a program, and gives what it printed.
pub async fn run(program: &str, words: &str) -> String {
    let mut command = Command::new(program);
    command.args(words.split_whitespace());
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    })
    .await
    .unwrap()
}

/// What delv says with the zone's key as its trust anchor, which lies in the folder.
pub async fn delv(address: SocketAddr, folder: &Path, key: &ZoneKey, words: &str) -> String {
    let anchors = folder.join("anchors");
    let dnskey = key.dnskey();
    let (head, public) = dnskey.rsplit_once(' ').unwrap();
    let text = format!("trust-anchors {{ example.com. static-key {head} \"{public}\"; }};\n");
    tokio::fs::write(&anchors, text).await.unwrap();
    let port = address.port();
    run("delv", &format!("@127.0.0.1 -p {port} -a {} +root=example.com {words}", anchors.display())).await
}
