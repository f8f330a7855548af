//! A TCP proxy in front of a server, which makes it slow or unreachable without touching it.

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the server is.
#[derive(Clone, Debug)]
pub enum Server {
    /// At a port of 127.0.0.1.
    Port(u16),
    /// At a socket.
    Socket(PathBuf),
}

/// A running proxy. It keeps its port while the server behind it goes, and then ends connections at once, which is harder
/// on a client than a refusal.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: Server,
    /// Pause before each piece is passed on, milliseconds.
    delay: AtomicU64,
    /// Whether connections are ended.
    cut: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn start(server: Server) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (delay, cut, open) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::default());
        let state = Arc::new(State { server, delay, cut, open });
        std::thread::spawn({
            // A proxy that is dropped ends with its next visitor, which its drop is.
            let state = Arc::downgrade(&state);
            move || {
                for client in listener.incoming() {
                    let (Some(state), Ok(client)) = (state.upgrade(), client) else { return };
                    state.pass(&client);
                }
            }
        });
        Self { address, state }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Each piece that passes, either way, waits so long.
    ///
    /// # Panics
    /// When the pause is longer than the universe is old.
    pub fn slow(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// Ends all connections, and new ones at once.
    pub fn cut(&self) {
        self.state.cut.store(true, Ordering::Relaxed);
        self.state.end();
    }

    /// Lets connections pass again.
    pub fn mend(&self) {
        self.state.cut.store(false, Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        // Wakes the thread that waits for visitors, which then finds that nobody is left.
        let address = self.address;
        std::thread::spawn(move || TcpStream::connect(address));
    }
}

impl State {
    fn pass(self: &Arc<Self>, client: &TcpStream) {
        if self.cut.load(Ordering::Relaxed) {
            return;
        }
        let _ = client.set_nodelay(true);
        match &self.server {
            Server::Port(port) => {
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, *port)) {
                    let _ = server.set_nodelay(true);
                    self.both(client, || server.try_clone(), |end| end.shutdown(Shutdown::Both));
                }
            }
            Server::Socket(path) => {
                if let Ok(server) = UnixStream::connect(path) {
                    self.both(client, || server.try_clone(), |end| end.shutdown(Shutdown::Both));
                }
            }
        }
    }

    fn both<S>(
        self: &Arc<Self>,
        client: &TcpStream,
        server: impl Fn() -> std::io::Result<S>,
        end: fn(&S) -> std::io::Result<()>,
    ) where
        S: std::io::Read + std::io::Write + Send + 'static,
    {
        let (Ok(kept), Ok(mut up), Ok(mut down)) = (client.try_clone(), client.try_clone(), client.try_clone()) else {
            return;
        };
        let (Ok(mut to), Ok(mut from)) = (server(), server()) else { return };
        let mut open = self.open.lock().unwrap();
        open.retain(|stream| stream.peer_addr().is_ok());
        open.push(kept);
        drop(open);
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            state.copy(&mut up, &mut to);
            let _ = end(&to);
        });
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            state.copy(&mut from, &mut down);
            let _ = down.shutdown(Shutdown::Both);
        });
    }

    fn copy(&self, from: &mut impl std::io::Read, to: &mut impl std::io::Write) {
        let mut buffer = [0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let delay = self.delay.load(Ordering::Relaxed);
            if delay > 0 {
                std::thread::sleep(Duration::from_millis(delay));
            }
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }

    fn end(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
