//! What waits to be written to a connection.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::frame::{self, HEADER_BYTES};

/// Bytes of the buffers that are kept for reuse; larger ones are given back.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A bounded queue of encoded frames, all of which are written at once.
///
/// Room is taken before a frame is pushed, and given back when the frame has been written.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    overflow: Notify,
    /// A permit for each byte, of a frame or free. Closed with the outbox.
    room: Semaphore,
    bytes_max: u32,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Room that the bytes took; less than their number if a frame is larger than all the room.
    room: usize,
}

/// Room for one frame in an outbox.
pub(super) struct Room<'a>(SemaphorePermit<'a>);

impl Outbox {
    pub(super) fn new(bytes_max: u32) -> Self {
        let bytes_max = bytes_max.max(1);
        Self {
            queue: Mutex::default(),
            filled: Notify::new(),
            overflow: Notify::new(),
            room: Semaphore::new(bytes_max as usize),
            bytes_max,
        }
    }

    /// Waits for room for a payload of `len` bytes, or returns `None` once the outbox is closed.
    pub(super) async fn reserve(&self, len: usize) -> Option<Room<'_>> {
        self.room.acquire_many(self.room_of(len)).await.ok().map(Room)
    }

    /// Takes room for a payload of `len` bytes, if there is and the outbox is not closed.
    pub(super) fn try_reserve(&self, len: usize) -> Option<Room<'_>> {
        self.room.try_acquire_many(self.room_of(len)).ok().map(Room)
    }

    /// A frame larger than all the room takes all of it, so that it can pass on its own.
    fn room_of(&self, len: usize) -> u32 {
        u32::try_from(len.saturating_add(HEADER_BYTES)).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    /// Queues a frame.
    pub(super) fn push(&self, room: Room<'_>, id: u64, payload: &[u8]) {
        let mut queue = self.queue();
        queue.room += room.0.num_permits();
        room.0.forget();
        frame::append(&mut queue.bytes, id, payload);
        drop(queue);
        self.filled.notify_one();
    }

    /// Queues a frame, or tells the connection that its peer does not read if there is no room.
    pub(super) fn push_or_overflow(&self, id: u64, payload: &[u8]) {
        match self.try_reserve(payload.len()) {
            Some(room) => self.push(room, id, payload),
            None => self.overflow.notify_one(),
        }
    }

    /// Resolves once a frame found no room.
    pub(super) async fn overflowed(&self) -> io::Error {
        self.overflow.notified().await;
        io::Error::new(io::ErrorKind::TimedOut, "the peer does not read what it asked for")
    }

    /// Makes present and future callers of [`reserve`](Outbox::reserve) return.
    pub(super) fn close(&self) {
        self.room.close();
    }

    /// Writes whatever is queued to `sink` until a write fails, or makes no progress for `limit`.
    pub(super) async fn write_to(
        &self,
        mut sink: impl AsyncWrite + Unpin,
        limit: Duration,
    ) -> io::Result<Infallible> {
        let mut batch = Queue::default();
        loop {
            self.filled.notified().await;
            mem::swap(&mut batch, &mut self.queue());
            let mut rest = batch.bytes.as_slice();
            while !rest.is_empty() {
                // `write_buf` moves the start of `rest` past what was written.
                let written = timeout(limit, sink.write_buf(&mut rest));
                if written.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
            self.room.add_permits(mem::take(&mut batch.room));
            batch.bytes.clear();
            batch.bytes.shrink_to(KEPT_BYTES_MAX);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Appending is all that is done under the lock; a panic in it would leave half a frame, but
        // it cannot panic after it has begun to append.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, duplex};

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn frames_queued_together_arrive_in_order() {
        let outbox = Outbox::new(100);
        outbox.push_or_overflow(1, b"a");
        outbox.push_or_overflow(2, b"b");
        let (sink, mut source) = duplex(1000);
        let mut bytes = [0; 2 * (HEADER_BYTES + 1)];
        tokio::select! {
            _ = outbox.write_to(sink, LIMIT) => unreachable!("nothing fails"),
            read = source.read_exact(&mut bytes) => read.unwrap(),
        };
        let mut expected = Vec::new();
        frame::append(&mut expected, 1, b"a");
        frame::append(&mut expected, 2, b"b");
        assert_eq!(bytes, expected[..]);
    }

    #[test]
    fn room_ends_at_the_limit_and_a_larger_frame_needs_all_of_it() {
        let outbox = Outbox::new(100);
        let whole = outbox.try_reserve(100 - HEADER_BYTES).expect("exactly fits");
        assert!(outbox.try_reserve(0).is_none());
        drop(whole);
        let over = outbox.try_reserve(1000).expect("passes on its own");
        assert!(outbox.try_reserve(0).is_none());
        drop(over);
        let _small = outbox.try_reserve(0);
        assert!(outbox.try_reserve(1000).is_none());
    }

    #[tokio::test]
    async fn room_comes_back_once_written() {
        let outbox = Outbox::new(100);
        outbox.push_or_overflow(1, &[0; 1000]);
        let (sink, _source) = duplex(2000);
        tokio::select! {
            _ = outbox.write_to(sink, LIMIT) => unreachable!("nothing fails"),
            room = outbox.reserve(1000) => assert!(room.is_some()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_ends_the_write() {
        let outbox = Outbox::new(100);
        outbox.push_or_overflow(1, &[0; 80]);
        let (sink, _source) = duplex(10);
        let error = outbox.write_to(sink, LIMIT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn closing_wakes_those_who_wait_for_room() {
        let outbox = Outbox::new(100);
        let _all = outbox.try_reserve(100);
        let (room, ()) = tokio::join!(outbox.reserve(1), async { outbox.close() });
        assert!(room.is_none());
    }
}
