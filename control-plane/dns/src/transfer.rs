//! Zones for secondaries: AXFR (RFC 5936), IXFR answered by the whole zone (RFC 1995 4), NOTIFY (RFC 1996).

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_proto::rr::RecordType;
use tokio::{net::UdpSocket, time::timeout};

use crate::{
    answer::{Answers, IXFR},
    name,
    query::Query,
    record::Record,
    reply::{Code, Reply, Section},
    zone::Zone,
};

/// Bytes of a transfer's message after which the next is begun: well below 64 KiB, whatever the next record is.
const MESSAGE: usize = 32 * 1024;
/// How often a secondary is told of a change that it does not acknowledge; it asks by itself after the SOA's refresh.
const NOTIFY_TRIES: usize = 3;
/// How long each time is waited for the acknowledgement.
const NOTIFY_WAIT: Duration = Duration::from_secs(2);

/// The zone that a transfer asks for.
///
/// # Errors
/// The code to answer with. A signed zone is not given away: its signatures are made when they are asked for, so a
/// secondary without the key would serve it unsigned, which validators take for forged.
pub(crate) fn begin(answers: &Answers, query: &Query<'_>, allowed: bool) -> Result<Arc<Zone>, Code> {
    let zone = answers.zone(&query.name().to_ascii_lowercase()).filter(|_| allowed).ok_or(Code::Refused)?;
    if zone.key().is_some() {
        return Err(Code::Refused);
    }
    Ok(zone)
}

/// The messages of a transfer, each behind two bytes for its length.
pub(crate) fn messages(zone: &Zone, query: &Query<'_>) -> impl Iterator<Item = Vec<u8>> {
    // A secondary that has this serial gets the SOA alone.
    let current = query.kind == IXFR && query.serial == Some(zone.serial());
    let soa = zone.records().first();
    let rest = if current { &[][..] } else { zone.records().get(1..).unwrap_or(&[]) };
    // ALIAS is known to us alone; a secondary would serve a type that means nothing.
    let rest = rest.iter().filter(|record| record.data.record_type() != RecordType::ANAME);
    let mut records = soa.into_iter().chain(rest).chain(soa.filter(|_| !current)).peekable();
    let name = zone.apex().to_vec();
    let query = *query;
    std::iter::from_fn(move || {
        records.peek()?;
        let mut out = vec![0, 0];
        let mut reply = Reply::new(&mut out, &query, &name, false);
        let mut bytes = 0;
        while bytes < MESSAGE
            && let Some(record) = records.next()
        {
            bytes += put(&mut reply, record);
        }
        reply.finish(&query, Code::NoError, true);
        Some(out)
    })
    .collect::<Vec<_>>()
    .into_iter()
}

fn put(reply: &mut Reply<'_>, record: &Record) -> usize {
    let owner = name::wire(&record.owner);
    // A zone's data fits the wire; validation saw to it.
    let data = crate::record::wire(&record.data).unwrap_or_default();
    reply.record(Section::Answer, &owner, record.data.record_type().into(), record.ttl, &data);
    owner.len() + data.len() + 10
}

/// Tells a secondary that a zone has changed, and waits until it says that it heard.
///
/// # Errors
/// When it does not, after three times; it finds the change by itself after the SOA's refresh.
pub async fn notify(zone: &Zone, secondary: SocketAddr) -> io::Result<()> {
    let local: SocketAddr = if secondary.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(secondary).await?;
    // The number must be hard to guess for those who would acknowledge falsely; the port is random already.
    let id = (std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), zone.serial()) as u16).to_be_bytes();
    let mut message = Vec::from(id);
    message.extend([0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(zone.apex());
    message.extend([0, 6, 0, 1]);
    let mut answer = [0; 512];
    for _ in 0..NOTIFY_TRIES {
        socket.send(&message).await?;
        if let Ok(received) = timeout(NOTIFY_WAIT, socket.recv(&mut answer)).await
            && received? >= 12
            && answer[..2] == id
            && answer[2] & 0xf8 == 0xa0
        {
            return if answer[3] & 15 == 0 {
                Ok(())
            } else {
                Err(io::Error::other("the secondary refuses the notice: allow this server in its settings"))
            };
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
