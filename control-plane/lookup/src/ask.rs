//! One question to one server: a datagram, and a stream when the datagram does not do.

use std::{net::SocketAddr, time::Duration};

use hickory_net::{
    DnsHandle, NetError,
    runtime::TokioRuntimeProvider,
    tcp::TcpClientStream,
    udp::UdpClientStream,
    xfer::{DnsRequestSender, FirstAnswer},
};
use hickory_proto::{
    op::{DnsRequest, DnsRequestOptions, Message, Query, ResponseCode},
    rr::{Name, RecordType},
};

use crate::found::ServerFault;

/// Bytes of a datagram that servers may send: it fits every path without fragments (RFC 9715).
const PAYLOAD: u16 = 1232;

/// How a question is put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// How long the server may take, for a datagram and for a stream each.
    pub timeout: Duration,
    /// Whether signatures are wanted (RFC 3225).
    pub dnssec: bool,
    /// Whether the server shall ask others; a resolver does, one in charge must not.
    pub recursion: bool,
}

/// Asks a server. Id and port of the datagram are random, and so is the case of the name's letters, so that somebody
/// off the path would have to guess all three (RFC 5452).
pub(crate) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    manner: Manner,
) -> Result<Message, ServerFault> {
    let message = match datagram(server, request(name, kind, manner, true, true), manner.timeout).await {
        Ok(message) if message.truncation => stream(server, name, kind, manner).await?,
        Ok(message) if message.response_code == ResponseCode::FormErr => {
            // Older than EDNS (RFC 6891 7).
            datagram(server, request(name, kind, manner, true, false), manner.timeout).await.map_err(fault)?
        }
        Ok(message) => message,
        // A server that writes names in its own way: a stream needs no letters to be safe.
        Err(NetError::QueryCaseMismatch) => stream(server, name, kind, manner).await?,
        Err(error) => return Err(fault(error)),
    };
    match message.queries.as_slice() {
        [query] if query.name == *name && query.query_type == kind => Ok(message),
        // Some servers leave the question out of an error.
        [] if message.response_code != ResponseCode::NoError => Ok(message),
        _ => Err(ServerFault::Malformed("it answers another question".to_owned())),
    }
}

fn request(name: &Name, kind: RecordType, manner: Manner, random_case: bool, edns: bool) -> DnsRequest {
    let mut options = DnsRequestOptions::default();
    options.use_edns = edns;
    options.edns_payload_len = PAYLOAD;
    options.edns_set_dnssec_ok = manner.dnssec;
    options.recursion_desired = manner.recursion;
    options.case_randomization = random_case;
    options.retry_interval = manner.timeout / 2;
    DnsRequest::from_query(Query::query(name.clone(), kind), options)
}

async fn datagram(server: SocketAddr, request: DnsRequest, timeout: Duration) -> Result<Message, NetError> {
    let mut client = UdpClientStream::builder(server, TokioRuntimeProvider::new())
        .with_timeout(Some(timeout))
        .with_max_retries(1)
        .build();
    Ok(client.send_message(request).first_answer().await?.into_message())
}

async fn stream(server: SocketAddr, name: &Name, kind: RecordType, manner: Manner) -> Result<Message, ServerFault> {
    // The provider owns the task that carries the exchange, so it lives as long.
    let provider = TokioRuntimeProvider::new();
    let connect = TcpClientStream::exchange(server, None, manner.timeout, None, provider.clone());
    let exchange = connect.await.map_err(fault)?;
    let answer = exchange.send(request(name, kind, manner, false, true)).first_answer().await.map_err(fault)?;
    drop(provider);
    Ok(answer.into_message())
}

fn fault(error: NetError) -> ServerFault {
    match error {
        NetError::Timeout => ServerFault::Timeout,
        NetError::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => ServerFault::Timeout,
        NetError::Io(error) => ServerFault::Unreachable(error.to_string()),
        other => ServerFault::Malformed(other.to_string()),
    }
}
