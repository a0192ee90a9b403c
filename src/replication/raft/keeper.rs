//! When a group makes a snapshot: a task beside each group.
//!
//! A snapshot is due once enough entries were applied since the last one, or when the group's old
//! entries keep many segments of the server's log from being deleted. One that fails, because the
//! disk is full for instance, is tried again after a pause that grows; the group goes on meanwhile.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::type_config::alias::LogIdOf;

use super::machine::describe;
use super::{Group, StateMachine, Types};

/// How often a group looks whether it keeps old segments alive.
const LAGGING_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a snapshot that failed, and the longest after several.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(1);
const RETRY_PAUSE_MAX: Duration = Duration::from_mins(1);

/// Why a snapshot is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// So many entries were applied.
    Entries,
    /// The log cannot get shorter.
    Lagging,
}

/// Makes the snapshots of `group` until it stops.
pub(super) async fn keep<S: StateMachine>(group: Group<S>, snapshot_entries: u64) {
    let snapshot_entries = snapshot_entries.max(1);
    let mut pause = RETRY_PAUSE_MIN;
    while let Some(due) = wait_until_due(&group, snapshot_entries).await {
        match group.snapshot().await {
            Ok(written) => {
                pause = RETRY_PAUSE_MIN;
                if due == Due::Lagging {
                    group.purge_all().await;
                    tokio::time::sleep(LAGGING_INTERVAL).await;
                } else if !written {
                    // Somebody else made one, or the group is stopping.
                    tokio::time::sleep(RETRY_PAUSE_MIN).await;
                }
            }
            Err(error) => {
                let (id, error) = (group.id, describe(&error));
                tracing::warn!(group = %id, error, again_in = ?pause, "cannot make a snapshot");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
    }
}

/// Returns once a snapshot is due; `None` once the group has stopped.
async fn wait_until_due<S: StateMachine>(group: &Group<S>, snapshot_entries: u64) -> Option<Due> {
    let mut metrics = group.raft.metrics();
    let mut interval = tokio::time::interval(LAGGING_INTERVAL);
    loop {
        let applied = metrics.borrow_watched().last_applied;
        if entries(applied) - entries(group.machine.newest()).min(entries(applied))
            >= snapshot_entries
        {
            return Some(Due::Entries);
        }
        tokio::select! {
            changed = metrics.changed() => changed.ok()?,
            _ = interval.tick(), if group.storage.is_durable() => {
                if group.storage.is_lagging(group.id) {
                    return Some(Due::Lagging);
                }
            }
        }
    }
}

/// The entries up to this one.
fn entries(last: Option<LogIdOf<Types>>) -> u64 {
    last.map_or(0, |last| last.index + 1)
}
