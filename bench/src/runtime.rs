//! Runtimes of a chosen number of threads.

use tokio::runtime::{Builder, Runtime};

/// One that runs everything on so many threads. One thread is a runtime without any wake-ups between threads,
/// as peers with one worker have it.
pub fn of_threads(threads: usize) -> std::io::Result<Runtime> {
    match threads {
        0 | 1 => Builder::new_current_thread().enable_all().build(),
        many => Builder::new_multi_thread().worker_threads(many).enable_all().build(),
    }
}
