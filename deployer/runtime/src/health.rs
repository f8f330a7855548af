//! Whether an app answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where an app may listen: most frameworks take one or the other for `localhost`.
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Bytes of an answer that are read: its status line.
const STATUS_LINE: usize = 64;
/// Statuses from this one on are the app's own failures.
const FAILURES_FROM: u16 = 500;

/// How one try of a health check ended, when it did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens.
    Silent,
    /// Somebody listens; this is how the request for the health path ended.
    Unwell(String),
}

/// One try at every address where the app may listen, or where edges elsewhere look for it.
pub(crate) async fn find(
    port: u16,
    advertise: Option<IpAddr>,
    path: Option<&str>,
    within: Duration,
) -> Result<SocketAddr, Fault> {
    let mut fault = Fault::Silent;
    let addresses = advertise.as_ref().map_or(&LOOPBACKS[..], std::slice::from_ref);
    for address in addresses {
        let at = SocketAddr::new(*address, port);
        match check(at, path, within).await {
            Ok(()) => return Ok(at),
            Err(Fault::Silent) => {}
            Err(unwell) => fault = unwell,
        }
    }
    Err(fault)
}

/// One try at one address: a GET of the path, or a connection when there is none.
pub(crate) async fn check(at: SocketAddr, path: Option<&str>, within: Duration) -> Result<(), Fault> {
    let connected = timeout(within, TcpStream::connect(at)).await;
    let Ok(Ok(stream)) = connected else { return Err(Fault::Silent) };
    let Some(path) = path else { return Ok(()) };
    match timeout(within, status(stream, at, path)).await {
        Ok(Ok(status)) if status < FAILURES_FROM => Ok(()),
        Ok(Ok(status)) => Err(Fault::Unwell(format!("was answered with status {status}"))),
        Ok(Err(e)) => Err(Fault::Unwell(format!("was not answered: {e}"))),
        Err(_) => Err(Fault::Unwell(format!("was not answered within {} ms", within.as_millis()))),
    }
}

/// The status of the answer to a GET (RFC 9112 sections 3 and 4).
async fn status(mut stream: TcpStream, at: SocketAddr, path: &str) -> std::io::Result<u16> {
    let path: String = path.chars().filter(|c| !c.is_control() && *c != ' ').collect();
    let path = path.trim_start_matches('/');
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: AstroCloud health check\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE);
    stream.take(STATUS_LINE as u64).read_to_end(&mut line).await?;
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split([' ', '\r']);
    match (words.next(), words.next().map(str::parse)) {
        (Some(version), Some(Ok(status))) if version.starts_with("HTTP/1.") => Ok(status),
        _ => Err(std::io::Error::other("what came back is no HTTP answer")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::net::TcpListener;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    /// Gives one answer to one connection and tells what was asked.
    async fn answering(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 1024];
            let n = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked[..n].to_vec()).unwrap()
        });
        (at, asked)
    }

    #[tokio::test]
    async fn a_status_below_500_is_healthy() {
        for answer in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.0 302\r\n\r\n"] {
            let (at, asked) = answering(answer).await;
            check(at, Some("/health?deep=1"), WITHIN).await.unwrap();
            assert!(asked.await.unwrap().starts_with("GET /health?deep=1 HTTP/1.1\r\n"));
        }
    }

    #[tokio::test]
    async fn a_failing_or_strange_answer_is_told() {
        for (answer, told) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "was answered with status 503"),
            ("SSH-2.0-OpenSSH\r\n", "was not answered: what came back is no HTTP answer"),
            ("", "was not answered: what came back is no HTTP answer"),
        ] {
            let (at, _asked) = answering(answer).await;
            assert_eq!(check(at, Some("/"), WITHIN).await, Err(Fault::Unwell(told.to_owned())));
        }
    }

    #[tokio::test]
    async fn where_nobody_listens_it_is_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(find(port, None, None, WITHIN).await, Ok(listener.local_addr().unwrap()));
        drop(listener);
        assert_eq!(find(port, None, None, WITHIN).await, Err(Fault::Silent));
    }
}
