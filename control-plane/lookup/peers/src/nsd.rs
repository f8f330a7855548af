//! NSD, with zones in files.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

/// How often a server that starts is asked.
const TRIES: u32 = 200;
/// How long one such question may take.
const TRY: Duration = Duration::from_millis(100);

/// A running NSD. It ends when it is dropped.
pub(crate) struct Nsd(Child);

impl Drop for Nsd {
    fn drop(&mut self) {
        // NSD's children end with it only when it is asked to end.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Nsd {
    pub(crate) async fn start(folder: &Path, listen: SocketAddr, zones: &[(&str, &str)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.display();
        let mut text = format!(
            "server:\n ip-address: {}@{}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{path}\"\n \
             xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/list\"\n pidfile: \"{path}/pid\"\n database: \"\"\n \
             xfrdir: \"{path}\"\n cookie-secret-file: \"{path}/cookie\"\n server-count: 1\n\
             remote-control:\n control-enable: no\n",
            listen.ip(),
            listen.port()
        );
        for (index, (origin, zone)) in zones.iter().enumerate() {
            std::fs::write(folder.join(index.to_string()), format!("$ORIGIN {origin}\n{zone}"))?;
            text.push_str(&format!("zone:\n name: {origin}\n zonefile: \"{path}/{index}\"\n"));
        }
        let file = folder.join("nsd.conf");
        std::fs::write(&file, text)?;
        let log = std::fs::File::create(folder.join("log"))?;
        let child = Command::new("nsd").arg("-d").arg("-c").arg(&file).stdout(Stdio::null()).stderr(log).spawn();
        let nsd = Self(child.context("nsd does not start: is it installed?")?);
        for (origin, _) in zones {
            if !answers(listen, origin).await? {
                let log = std::fs::read_to_string(folder.join("log"))?;
                anyhow::bail!("NSD does not serve {origin}:\n{log}");
            }
        }
        Ok(nsd)
    }
}

/// Asks for the zone's SOA until it comes; each question itself is what is waited for.
async fn answers(server: SocketAddr, origin: &str) -> anyhow::Result<bool> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(origin)?, RecordType::SOA));
    let query = query.to_vec()?;
    let mut buffer = [0; 1500];
    for _ in 0..TRIES {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(server).await?;
        // A refusal comes at once, so waiting is the same whether it comes or nothing does.
        let _ = socket.send(&query).await;
        if let Ok(Ok(length)) = timeout(TRY, socket.recv(&mut buffer)).await
            && Message::from_vec(&buffer[..length]).is_ok_and(|answer| answer.authoritative)
        {
            return Ok(true);
        }
        tokio::time::sleep(TRY / 2).await;
    }
    Ok(false)
}
