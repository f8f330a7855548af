//! The floor: a bare loop that answers fixed bytes, one read and one write a request. No server of HTTP can do with
//! less, so it is the limit to compare with. It is also the app behind proxies.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Job;
use crate::process::Launch;

/// Bytes that are read at once: several pipelined requests of load generators.
const READ_BYTES: usize = 16 << 10;

/// What is answered.
#[derive(clap::Args)]
pub struct Args {
    /// Where it listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Bytes of the body; when absent, those of the file of the fixture that the path's first character means:
    /// `/1k.txt`, `/10k.txt`, `/100k.txt`.
    #[arg(long)]
    bytes: Option<usize>,
    /// Whether answers may be kept by a shared cache.
    #[arg(long)]
    cacheable: bool,
}

/// Serves the site's files without looking for them.
pub fn launch(job: &Job<'_>, program: PathBuf) -> Launch {
    Launch { program, args: vec!["floor".into(), format!("--listen={}", job.http)], env: Vec::new() }
}

/// The command of an app that answers so many bytes.
pub fn command(program: PathBuf, listen: SocketAddr, bytes: usize, cacheable: bool) -> Launch {
    let mut args = vec!["floor".into(), format!("--listen={listen}"), format!("--bytes={bytes}")];
    if cacheable {
        args.push("--cacheable".into());
    }
    Launch { program, args, env: Vec::new() }
}

/// Answers until it is killed.
pub async fn run(args: Args) -> anyhow::Result<()> {
    crate::process::allow_descriptors()?;
    let listener = TcpListener::bind(args.listen).await?;
    // The answers live as long as the process.
    let of = |bytes| &*Box::leak(answer(bytes, args.cacheable).into_boxed_slice());
    let answers = match args.bytes {
        Some(bytes) => Answers { one: of(bytes), ten: of(bytes), hundred: of(bytes) },
        None => Answers { one: of(1 << 10), ten: of(10 << 10), hundred: of(100 << 10) },
    };
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(async move {
            // A connection that breaks ends.
            let _ = serve(socket, answers).await;
        });
    }
}

/// Ready bytes, by file.
#[derive(Clone, Copy)]
struct Answers {
    one: &'static [u8],
    ten: &'static [u8],
    hundred: &'static [u8],
}

impl Answers {
    /// For a request's head.
    fn of(self, head: &[u8]) -> &'static [u8] {
        match head {
            [b'G', b'E', b'T', b' ', b'/', b'1', b'0', b'0', ..] => self.hundred,
            [b'G', b'E', b'T', b' ', b'/', b'1', b'0', ..] => self.ten,
            _ => self.one,
        }
    }
}

fn answer(bytes: usize, cacheable: bool) -> Vec<u8> {
    let cache_control = if cacheable { "public, max-age=3600" } else { "no-store" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {bytes}\r\n\
         Cache-Control: {cache_control}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + bytes, b'x');
    answer
}

async fn serve(mut socket: TcpStream, answers: Answers) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        let read = socket.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut taken = 0;
        while let Some((head, end)) = next_head(buffer.get(taken..filled).unwrap_or_default()) {
            socket.write_all(answers.of(head)).await?;
            taken += end;
        }
        buffer.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

/// The first request's head and its length, once it is whole.
fn next_head(bytes: &[u8]) -> Option<(&[u8], usize)> {
    // Most reads end with exactly one head.
    let end = if bytes.ends_with(b"\r\n\r\n") && bytes.len() < 512 {
        bytes.len()
    } else {
        bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4
    };
    Some((bytes.get(..end)?, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn heads_are_found_one_after_the_other() {
        let two = [b"GET /10k.txt HTTP/1.1\r\n\r\n".as_slice(), &b"x".repeat(600), b"\r\n\r\n"].concat();
        let (head, end) = next_head(&two).unwrap();
        assert_eq!((head, end), (b"GET /10k.txt HTTP/1.1\r\n\r\n".as_slice(), 25));
        assert_eq!(next_head(b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn the_path_chooses_the_size() {
        let answers = Answers { one: b"1", ten: b"2", hundred: b"3" };
        assert_eq!(answers.of(b"GET /100k.txt HTTP/1.1"), b"3");
        assert_eq!(answers.of(b"GET /10k.txt HTTP/1.1"), b"2");
        assert_eq!(answers.of(b"GET /1k.txt HTTP/1.1"), b"1");
    }

    #[test]
    fn an_answer_is_as_long_as_it_says() {
        let answer = answer(1024, true);
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 1024") && head.contains("max-age"));
        assert_eq!(body.len(), 1024);
    }
}
