//! Secondaries, which are other people's servers: told of changes (NOTIFY, RFC 1996) and asked how far they are.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RData,
};
use tokio::{net::UdpSocket, time::timeout};

use crate::{server::now, tsig::Key, zone::Zone};

/// How often a secondary is asked or told; of a change that it does not acknowledge it learns by itself after the SOA's
/// refresh.
const TRIES: usize = 3;
/// How long each time is waited for the answer.
const WAIT: Duration = Duration::from_secs(2);
/// Bytes of an answer that is read at most.
const ANSWER_MAX: usize = 1232;

/// Tells a secondary that a zone has changed, signed (RFC 8945) when there is a key, and waits until it says that it
/// heard.
///
/// # Errors
/// When it does not, after three times; it finds the change by itself after the SOA's refresh.
pub async fn notify(zone: &Zone, secondary: SocketAddr, key: Option<&Key>) -> io::Result<()> {
    // Operation 4, authoritative: a notice.
    let mut message = question(zone.apex(), 0x24);
    if let Some(key) = key {
        key.sign_question(&mut message, now());
    }
    let answer = ask(secondary, &message, 0xa0).await?;
    if answer.get(3).is_some_and(|flags| flags & 15 == 0) {
        Ok(())
    } else {
        Err(io::Error::other("the secondary refuses the notice: allow this server in its settings"))
    }
}

/// The serial that a secondary serves a zone with, whose name is given on the wire; none when it does not serve it.
///
/// # Errors
/// When it does not answer, or not with a message.
pub async fn serial(apex: &[u8], secondary: SocketAddr) -> io::Result<Option<u32>> {
    let answer = ask(secondary, &question(apex, 0), 0x80).await?;
    let message = Message::from_vec(&answer).map_err(io::Error::other)?;
    if message.metadata.response_code != ResponseCode::NoError || !message.metadata.authoritative {
        return Ok(None);
    }
    Ok(message.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    }))
}

/// A question for the SOA of a zone, with these flags.
fn question(apex: &[u8], flags: u8) -> Vec<u8> {
    // Hard to guess for those who would answer falsely; the port is random already.
    let id = (RandomState::new().hash_one(apex) as u16).to_be_bytes();
    let mut message = Vec::from(id);
    message.extend([flags, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(apex);
    message.extend([0, 6, 0, 1]);
    message
}

/// Sends a question until there is an answer with its number and this first byte of flags.
async fn ask(to: SocketAddr, message: &[u8], flags: u8) -> io::Result<Vec<u8>> {
    let local: SocketAddr =
        if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(to).await?;
    let mut answer = vec![0; ANSWER_MAX];
    for _ in 0..TRIES {
        socket.send(message).await?;
        if let Ok(received) = timeout(WAIT, socket.recv(&mut answer)).await {
            let length = received?;
            if length >= crate::query::HEAD && answer[..2] == message[..2] && answer[2] & 0xf8 == flags {
                answer.truncate(length);
                return Ok(answer);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))
}
