//! Parts of files, which the system sends out of its memory by itself.

use std::io;
use std::task::{Context, Poll, ready};

use rustix::fs::sendfile;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::Connection;
use crate::cache::FilePart;
use crate::transport::Transport;

impl Connection {
    /// Whether files can be sent as they are: not within TLS, where each byte is changed.
    pub(super) const fn sends_files(&self) -> bool {
        matches!(self.transport, Transport::Plain(_))
    }

    /// Writes what is held, and of a file as much as goes. Returns how much of it.
    pub(super) fn poll_send_file(&mut self, cx: &mut Context<'_>, part: &FilePart) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(cx, &[]))?;
        let Transport::Plain(socket) = &self.transport else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        let result = poll_sendfile(socket, cx, part);
        self.written(cx, result)
    }
}

fn poll_sendfile(socket: &TcpStream, cx: &mut Context<'_>, part: &FilePart) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let mut at = part.at;
        let send = || Ok(sendfile(socket, &*part.file, Some(&mut at), part.len)?);
        match socket.try_io(Interest::WRITABLE, send) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return Poll::Ready(result),
        }
    }
}
