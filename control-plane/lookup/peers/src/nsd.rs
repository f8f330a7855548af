//! NSD, with zones in files.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use testkit::keeper::Keeper;
use tokio::{net::UdpSocket, time::timeout};

/// How often a server that starts is asked.
const TRIES: u32 = 200;
/// How long one such question may take.
const TRY: Duration = Duration::from_millis(100);

/// Starts NSD with zones as pairs of origin and text, and waits until it answers for each.
pub(crate) async fn start(listen: SocketAddr, zones: &[(&str, &str)]) -> anyhow::Result<Keeper> {
    let mut written = Ok(());
    let nsd = testkit::nsd::start(listen, |folder| {
        let mut settings = String::new();
        for (index, (origin, zone)) in zones.iter().enumerate() {
            let file = folder.join(index.to_string());
            if written.is_ok() {
                written = std::fs::write(&file, format!("$ORIGIN {origin}\n{zone}"));
            }
            settings.push_str(&format!("zone:\n name: {origin}\n zonefile: \"{}\"\n", file.display()));
        }
        settings
    });
    written?;
    for (origin, _) in zones {
        anyhow::ensure!(answers(listen, origin).await?, "NSD does not serve {origin}: is it installed?\n{}", nsd.log());
    }
    Ok(nsd)
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
