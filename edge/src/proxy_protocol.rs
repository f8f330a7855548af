//! The PROXY protocol, versions 1 and 2 (haproxy.org, `proxy-protocol.txt`): a load balancer in front of the edge says
//! whose connection it forwards.
//!
//! Those who may say so are configured, and they must: what they send without it is refused, because its visitor would
//! pass for the balancer. Nobody else's words are read so: a header from a stranger is no HTTP, and ends as such.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

mod v1;
mod v2;

/// Who may say whose connection it is.
#[derive(Debug)]
pub(crate) struct Proxies {
    nets: Vec<IpNet>,
    /// Longest time in which the header arrives.
    deadline: Duration,
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// The visitor's address.
    Visitor(SocketAddr),
    /// The connection is the proxy's own, or it does not know whose.
    Proxy,
}

/// Why a header can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("there is no PROXY header, but this address must send one")]
    Absent,
    #[error("the PROXY header is not as the protocol wants it")]
    Malformed,
    #[error("the PROXY header is longer than any that makes sense")]
    TooLong,
    #[error("the PROXY header is for something other than TCP over IP")]
    Family,
    #[error("the PROXY header's checksum is wrong")]
    Checksum,
}

impl From<Wrong> for io::Error {
    fn from(wrong: Wrong) -> Self {
        Self::new(io::ErrorKind::InvalidData, wrong)
    }
}

impl Proxies {
    pub(crate) const fn new(nets: Vec<IpNet>, deadline: Duration) -> Self {
        Self { nets, deadline }
    }

    fn has(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.nets.iter().any(|net| net.contains(&ip))
    }

    /// The visitor's address: the connection's own, or what a proxy says, whose header is then read off.
    ///
    /// # Errors
    /// When a proxy sends no header, or not a whole one in time.
    pub(crate) async fn visitor(&self, socket: &mut TcpStream, address: SocketAddr) -> io::Result<SocketAddr> {
        if !self.has(address) {
            return Ok(address);
        }
        match tokio::time::timeout(self.deadline, read(socket)).await {
            Ok(said) => match said? {
                Said::Visitor(visitor) => Ok(visitor),
                Said::Proxy => Ok(address),
            },
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the PROXY header did not arrive in time")),
        }
    }
}

/// Reads a header and not a byte of what follows.
async fn read(socket: &mut TcpStream) -> io::Result<Said> {
    let mut start = [0; v2::SIGNATURE.len()];
    socket.read_exact(&mut start).await?;
    if start == v2::SIGNATURE {
        let mut rest = [0; v2::HEAD - v2::SIGNATURE.len()];
        socket.read_exact(&mut rest).await?;
        let mut header = [&start[..], &rest].concat();
        header.resize(v2::HEAD + v2::length(rest)?, 0);
        socket.read_exact(&mut header[v2::HEAD..]).await?;
        return Ok(v2::parse(&header)?);
    }
    if !start.starts_with(v1::BEGINS) {
        return Err(Wrong::Absent.into());
    }
    let mut line = [0; v1::MAX];
    line[..start.len()].copy_from_slice(&start);
    let mut len = start.len();
    // The shortest line is longer than what has been read, so its end is still to come.
    loop {
        let seen = socket.peek(&mut line[len..]).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = line[len..len + seen].iter().position(|b| *b == b'\n');
        let taken = end.map_or(seen, |end| end + 1);
        socket.read_exact(&mut line[len..len + taken]).await?;
        len += taken;
        if end.is_some() {
            return Ok(v1::parse(&line[..len])?);
        }
        if len == line.len() {
            return Err(Wrong::TooLong.into());
        }
    }
}
