//! The signals that end the server.
//!
//! They are watched on a thread of their own, from before the server starts: whatever the server waits
//! for, be it a disk, another server or a log that nobody reads, the process ends in time.

use std::time::Duration;
use std::{io, process, thread};

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time;

// The exit statuses that shells give to the two signals.
const TERMINATED: u8 = 143;
const INTERRUPTED: u8 = 130;

/// The time that the process goes on after the first signal: a little longer than a clean stop.
const END_TIME: Duration = Duration::from_millis(600);

/// Watches the signals from now on. What is returned gives the exit status once the first of them has
/// come; the process ends with it a moment later in any case, and at once if another one comes.
pub(crate) fn watch() -> io::Result<oneshot::Receiver<u8>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new()?
    };
    let (first, told) = oneshot::channel();
    let watching = async move {
        let status = match signals.next().await {
            TERMINATED => 0,
            status => status,
        };
        // Where nobody waits for it, the process is ending.
        let _ = first.send(status);
        let status = time::timeout(END_TIME, signals.next()).await.unwrap_or(status);
        process::exit(status.into())
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(watching))?;
    Ok(told)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// None if it was ignored when the program started: whoever did that wants it to go on.
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hang_up = if ignores_hang_ups() { None } else { Some(signal(SignalKind::hangup())?) };
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())?, hang_up })
    }

    async fn next(&mut self) -> u8 {
        let hung_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => TERMINATED,
            _ = hung_up => TERMINATED,
            _ = self.interrupt.recv() => INTERRUPTED,
        }
    }
}

/// Returns true if the program was started with SIGHUP ignored, as Linux tells.
#[cfg(unix)]
fn ignores_hang_ups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// Ctrl-C is all that there is elsewhere.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPTED,
            Err(_) => std::future::pending().await,
        }
    }
}
