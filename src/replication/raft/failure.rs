//! Failures that a server cannot go on with: of its data, and of the tasks that others rely on.
//!
//! A server whose log, state machine or timers have died would lead and answer nobody. So every task
//! that serves others is watched: if it panics, the first reason is kept, and the server stops.

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::log::LogError;
use crate::replication::ServerId;
use crate::replication::promise::Evidence;

/// The reason why a running server stopped by itself.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ServerFailure {
    /// Its data cannot be written or read any more. Start it again once that works.
    #[error(transparent)]
    Data(LogError),
    /// A task that others rely on has panicked or ended, which is a fault of this program or of a
    /// transport or disk that it was given. Start the server again: what it acknowledged is kept.
    #[error("{task} has failed")]
    Task {
        /// The task's name.
        task: String,
    },
    /// Its directory is from the past: it acknowledged or voted more than the directory has, as
    /// another server remembers. The directory is a copy that was put back, or the disk lost what it
    /// had synced. Start the server again: its files are set aside then, and it comes back as a new
    /// server, which the others fill.
    #[error("the directory of server {server} is from the past: {evidence}")]
    FromThePast {
        /// The server.
        server: ServerId,
        /// The proof.
        evidence: Evidence,
    },
    /// Another process runs with its identity: one of the two was started in a copy of the other's
    /// directory. Stop one of them.
    #[error("server {server} runs twice: another process with its identity answers at {address}")]
    Twin {
        /// The identity.
        server: ServerId,
        /// The address of the other process.
        address: String,
    },
}

/// The reason why the server cannot go on, once there is one; the first counts. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Arc<watch::Sender<Option<ServerFailure>>>);

impl Failure {
    pub(super) fn none() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Notes that the data cannot be written or read.
    pub(crate) fn note(&self, error: &LogError) {
        self.note_first(|| ServerFailure::Data(error.clone()));
    }

    /// Notes that a task has panicked or ended.
    pub(crate) fn note_task(&self, task: impl Into<String>) {
        self.note_first(|| ServerFailure::Task { task: task.into() });
    }

    /// Notes another reason.
    pub(crate) fn note_other(&self, reason: ServerFailure) {
        self.note_first(|| reason);
    }

    fn note_first(&self, failure: impl FnOnce() -> ServerFailure) {
        self.0.send_if_modified(|noted| {
            let first = noted.is_none();
            if first {
                *noted = Some(failure());
            }
            first
        });
    }

    /// Returns true once there is a reason.
    pub(crate) fn is_noted(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves once there is a reason.
    pub(crate) async fn noted(&self) -> ServerFailure {
        let mut noted = self.0.subscribe();
        loop {
            if let Some(failure) = noted.borrow_and_update().clone() {
                return failure;
            }
            // The sender is part of what `self` keeps.
            let _ = noted.changed().await;
        }
    }

    /// Spawns a task whose panic is noted under this name.
    pub(crate) fn spawn<F>(&self, task: impl Into<String>, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let watched = Watched { failure: self.clone(), task: task.into() };
        tokio::spawn(watched.run(work))
    }
}

/// Notes a panic that drops it.
#[derive(Debug, Clone)]
struct Watched {
    failure: Failure,
    task: String,
}

impl Watched {
    async fn run<F: Future>(self, work: F) -> F::Output {
        let output = work.await;
        drop(self);
        output
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() {
            self.failure.note_task(std::mem::take(&mut self.task));
        }
    }
}

tokio::task_local! {
    /// Under which name the tasks that this one spawns by [`Runtime`] are watched.
    static WATCHED: Watched;
}

/// Runs `work`, and has each task that it or its tasks spawn by [`Runtime`] watched.
pub(super) async fn watched<F: Future>(failure: &Failure, task: String, work: F) -> F::Output {
    WATCHED.scope(Watched { failure: failure.clone(), task }, work).await
}

type Tokio = openraft::impls::TokioRuntime;

/// Tokio for openraft, which looks after none of the tasks that it spawns but one.
#[derive(Debug)]
pub(crate) struct Runtime(Tokio);

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Tokio as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match WATCHED.try_with(Clone::clone) {
            Ok(watched) => Tokio::spawn(WATCHED.scope(watched.clone(), watched.run(future))),
            Err(_) => Tokio::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Tokio::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
