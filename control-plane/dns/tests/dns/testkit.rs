//! A server on a free port with one zone, and the programs that ask it.

use std::{net::SocketAddr, process::Command, sync::Arc};

use dns::{
    Name,
    answer::Answers,
    key::ZoneKey,
    master,
    server::{Server, Settings},
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
    serve_with(zone, 0).await
}

pub async fn serve_with(zone: Zone, rate: u32) -> Running {
    let answers = Arc::new(Answers::default());
    answers.publish(Arc::new(zone));
    let settings = Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        rate,
        burst: rate,
        transfer: vec!["127.0.0.0/8".parse().unwrap()],
    };
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
