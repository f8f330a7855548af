//! A server that says what it is told to, right or wrong.

use std::{net::SocketAddr, sync::Arc};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};

/// What a loose server does with a question.
#[derive(Debug)]
pub enum Reply {
    /// It answers so. The id is put in by the server.
    Message(Box<Message>),
    /// It says nothing.
    Silence,
}

impl From<Message> for Reply {
    fn from(message: Message) -> Self {
        Self::Message(Box::new(message))
    }
}

/// The authoritative answer to a query with these records, whether they may stand beside one another or not: those of
/// the asked type, else a CNAME of the name, else nothing. The first record is the zone's SOA.
pub fn answer(query: &Message, records: &[Record]) -> Reply {
    let mut message = query.clone().into_response();
    message.edns = None;
    message.metadata.authoritative = true;
    let Some(question) = query.queries.first() else { return Reply::Silence };
    let of = |kind: RecordType| {
        let at = move |record: &&Record| record.name == question.name && record.record_type() == kind;
        records.iter().filter(at).cloned()
    };
    message.add_answers(of(question.query_type));
    if message.answers.is_empty() {
        message.add_answers(of(RecordType::CNAME));
    }
    if message.answers.is_empty() {
        if !records.iter().any(|record| question.name.zone_of(&record.name)) {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        message.add_authorities(records.first().cloned());
    }
    message.into()
}

type Script = Arc<dyn Fn(&Message, bool) -> Reply + Send + Sync>;

/// A running loose server. It ends when it is dropped.
pub(crate) struct Loose(Vec<JoinHandle<()>>);

impl Drop for Loose {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Loose {
    pub(crate) async fn start(listen: SocketAddr, script: Script) -> std::io::Result<Self> {
        let (socket, listener) = (UdpSocket::bind(listen).await?, TcpListener::bind(listen).await?);
        let datagrams = tokio::spawn(datagrams(socket, Arc::clone(&script)));
        let streams = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                tokio::spawn(async move { streams(stream, script).await });
            }
        });
        Ok(Self(vec![datagrams, streams]))
    }
}

fn bytes(query: &[u8], script: &Script, tcp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    match script(&query, tcp) {
        Reply::Silence => None,
        Reply::Message(mut message) => {
            message.metadata.id = query.id;
            message.to_vec().ok()
        }
    }
}

async fn datagrams(socket: UdpSocket, script: Script) {
    let mut buffer = [0; 1500];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = bytes(&buffer[..length], &script, false) {
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

async fn streams(mut stream: TcpStream, script: Script) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; length.into()];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(answer) = bytes(&query, &script, true) else { continue };
        let Ok(length) = u16::try_from(answer.len()) else { return };
        if stream.write_u16(length).await.is_err() || stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}
