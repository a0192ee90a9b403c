//! Standard output and standard error, written by a thread each, so that nobody who reads them, or
//! does not read them, can hold the server up.
//!
//! Lines go into a queue of bytes. Where they cannot be written, or the queue is full since the reader
//! does not read, they are lost; how many were is told once lines can be written again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of lines that wait to be written.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// A stream of lines; clones write to the same one. Writing neither blocks nor fails.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Lines that were lost and not told of yet.
    lost: usize,
    /// Set while the thread writes what it took out.
    writing: bool,
}

impl Output {
    /// Starts the thread that writes to `stream`.
    pub(crate) fn new(stream: impl Write + Send + 'static) -> io::Result<Self> {
        let output = Self(Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() }));
        let shared = Arc::clone(&output.0);
        thread::Builder::new().name("output".to_owned()).spawn(move || shared.write_to(stream))?;
        Ok(output)
    }

    /// Adds a line.
    pub(crate) fn line(&self, line: &str) {
        self.0.add(format!("{line}\n").as_bytes());
    }

    /// Waits until all lines are written, until `deadline` at most.
    pub(crate) fn finish(&self, deadline: Instant) {
        let mut queue = self.0.queue();
        while queue.writing || !queue.bytes.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for Output {
    /// Takes whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.add(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, lines: &[u8]) {
        let mut queue = self.queue();
        if queue.bytes.len() + lines.len() > QUEUE_BYTES_MAX {
            queue.lost += count(lines);
        } else {
            queue.bytes.extend_from_slice(lines);
            self.changed.notify_all();
        }
    }

    /// The thread: writes what comes, for as long as the process lives.
    fn write_to(&self, mut stream: impl Write) {
        let mut queue = self.queue();
        loop {
            queue.writing = false;
            self.changed.notify_all();
            let is_empty = |queue: &mut Queue| queue.bytes.is_empty();
            let waited = self.changed.wait_while(queue, is_empty);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut queue.bytes);
            let lost = std::mem::take(&mut queue.lost);
            queue.writing = true;
            drop(queue);
            let unwritten = write_all(&mut stream, &lines);
            let mut untold = lost + count(unwritten);
            if lost > 0 && unwritten.is_empty() {
                let told = format!("[WARNING] {lost} lines before this one could not be written\n");
                if write_all(&mut stream, told.as_bytes()).is_empty() {
                    untold = 0;
                }
            }
            queue = self.queue();
            queue.lost += untold;
        }
    }
}

/// Writes as much as can be written; gives the rest.
fn write_all<'a>(stream: &mut impl Write, mut bytes: &'a [u8]) -> &'a [u8] {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => return bytes,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
        }
    }
    // What stays in a buffer is not written.
    if stream.flush().is_err() { b"\n" } else { bytes }
}

fn count(lines: &[u8]) -> usize {
    lines.split(|byte| *byte == b'\n').count() - 1
}
