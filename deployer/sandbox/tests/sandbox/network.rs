//! What of the network a command reaches.

use std::time::Duration;

use sandbox::{Network, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::{Trial, levels, line};

/// Connects to the port that it is given and says what became of it.
const CONNECT: &str = r#"
const socket = require("node:net").connect(Number(process.argv[1]), process.argv[2]);
socket.setTimeout(10000, () => { console.log("silence"); process.exit(); });
socket.on("connect", () => { console.log("reached"); process.exit(); });
socket.on("error", (error) => { console.log(error.code); process.exit(); });
"#;

/// Whether this sandbox has a network of its own to give.
fn connects(sandbox: &Sandbox) -> bool {
    !sandbox.findings().iter().any(|finding| finding.contains("share the host's network"))
}

#[tokio::test]
async fn a_server_inside_the_hosts_network_is_reached_from_outside() {
    for sandbox in levels().await {
        let trial = Trial::new(sandbox);
        let script = r#"const server = require("node:http").createServer((_, answer) => answer.end("from inside"));
            server.listen(0, "127.0.0.1", () => console.log(server.address().port));
            process.on("SIGTERM", () => { server.close(); process.exit(0); });"#;
        let mut running = sandbox.spawn(trial.spec(["node", "-e", script])).unwrap();
        let port: u16 = line(running.stdout.as_mut().unwrap()).await.parse().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("from inside"), "{answer}");
        running.terminate();
        assert!(trial.finish(running).await.exit.success());
    }
}

#[tokio::test]
async fn services_of_the_host_are_reached_only_from_the_hosts_network() {
    for sandbox in levels().await {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = service.local_addr().unwrap().port().to_string();
        let mut trial = Trial::new(sandbox);
        let done = trial.node(CONNECT, &[&port, "127.0.0.1"]).await;
        assert_eq!(done.out, "reached\n", "{done:?}");
        trial.network = Network::Outbound;
        if !connects(sandbox) {
            println!("at {} the network is shared: {:?}", sandbox.level().slug(), sandbox.findings());
            assert_eq!(trial.node(CONNECT, &[&port, "127.0.0.1"]).await.out, "reached\n", "as the findings say");
            continue;
        }
        // Its own loopback, the way to the host's, and what the host calls itself.
        for address in ["127.0.0.1", "10.0.2.2", "::1", "localhost"] {
            let done = trial.node(CONNECT, &[&port, address]).await;
            assert!(!done.out.contains("reached"), "{address}: {done:?}");
        }
    }
}

#[tokio::test]
async fn a_network_of_its_own_ends_with_its_command() {
    for sandbox in levels().await.iter().filter(|sandbox| connects(sandbox)) {
        let mut trial = Trial::new(sandbox);
        trial.network = Network::Outbound;
        trial.limits.wall = Some(Duration::from_secs(30));
        let done = trial.sh("grep -o 'tap0\\|eth0' /proc/net/dev", &[]).await;
        assert_eq!(done.out, "tap0\n", "{done:?}");
        let mut running = trial.start("echo up; sleep 1000", &[]);
        assert_eq!(line(running.stdout.as_mut().unwrap()).await, "up");
        running.kill();
        assert_eq!(trial.finish(running).await.exit, sandbox::Exit::Killed);
    }
}
