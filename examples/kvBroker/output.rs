//! Standard output that stops no work: what cannot be written is lost, and told at the end.

use std::io::{self, Write};
use std::sync::OnceLock;

/// The first error that lost a part of the output.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Standard output. Writing to it never fails: see [`lost`].
#[derive(Clone, Copy)]
pub(crate) struct Output;

/// The error that lost a part of the output, if one did.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

impl Output {
    /// Notes the first error. Whoever has closed a pipe does not open it again.
    fn keep(outcome: impl FnOnce() -> io::Result<()>) {
        let is_closed = lost().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        if !is_closed && let Err(error) = outcome() {
            let _ = LOST.set(error);
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::keep(|| io::stdout().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::keep(|| io::stdout().flush());
        Ok(())
    }
}
