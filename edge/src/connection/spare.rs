//! Buffers between two uses. A connection has one only while there are bytes in it, and mostly the bytes of one request
//! are gone before those of the next connection are looked at. So the buffers of a thread go from connection to
//! connection, and the allocator is hardly ever asked.

use std::cell::RefCell;

use bytes::BytesMut;

use super::READ;

/// Most that a thread keeps. More are in use at one time only where answers wait for slow visitors.
const MOST: usize = 16;
/// Largest that is kept, in bytes: one that a head of usual size and a short body fit into.
const LARGEST: usize = 4 * READ;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for [`READ`] bytes.
pub(super) fn take() -> BytesMut {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ))
}

/// Takes a buffer back whose bytes nobody needs any more.
pub(super) fn give(mut buffer: BytesMut) {
    buffer.clear();
    // Where somebody has parts of it yet, or it never had any room, there is none.
    if buffer.capacity() <= LARGEST && buffer.try_reclaim(READ) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MOST {
                spare.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs where no other test has left buffers.
    fn apart(test: impl FnOnce() + Send + 'static) {
        assert!(std::thread::spawn(test).join().is_ok());
    }

    #[test]
    fn a_buffer_comes_back_empty_and_with_its_room() {
        apart(|| {
            let mut first = take();
            first.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            let (at, head) = (first.as_ptr(), first.split_to(4));
            drop(head);
            give(first);
            let again = take();
            assert!(again.is_empty() && again.capacity() >= READ);
            assert_eq!(again.as_ptr(), at, "it is the same memory");
        });
    }

    #[test]
    fn what_somebody_has_parts_of_is_not_lent_again() {
        apart(|| {
            let mut first = take();
            first.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            let head = first.split().freeze();
            give(first);
            let mut again = take();
            again.extend_from_slice(&[b'x'; READ]);
            assert_eq!(head, &b"GET / HTTP/1.1\r\n\r\n"[..]);
        });
    }

    #[test]
    fn few_are_kept_and_no_large_ones() {
        apart(|| {
            give(BytesMut::with_capacity(LARGEST + 1));
            give(BytesMut::new());
            (0..2 * MOST).for_each(|_| give(BytesMut::with_capacity(READ)));
            assert_eq!(SPARE.with_borrow(Vec::len), MOST);
        });
    }
}
