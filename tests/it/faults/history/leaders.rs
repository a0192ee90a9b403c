//! Who led which group in which term, from what servers report.
//!
//! openraft's leaders are ordered by term and then by server, so that a term may have one after the
//! other; each of them was elected by a majority that followed no higher one. But a server is
//! elected once for a term in its life, since its vote for itself is on its disk by then. One that
//! leads again in an old term after it was started anew has forgotten its vote.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The leaders of all groups; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Leaders(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How often each server was started, when it led that group in that term.
    terms: Mutex<BTreeMap<(String, u64, String), u64>>,
    /// How often each server was started.
    starts: Mutex<BTreeMap<String, u64>>,
    /// Why the reports cannot be, the first of them.
    wrong: Mutex<Option<String>>,
    /// Who began to lead last, and how often somebody did.
    last: watch::Sender<(String, usize)>,
}

impl Leaders {
    /// Listens to all that is reported on this thread until the guard is dropped.
    pub(super) fn listen(&self) -> DefaultGuard {
        let listener = Listener(self.clone()).with_filter(LevelFilter::INFO);
        tracing::subscriber::set_default(tracing_subscriber::registry().with(listener))
    }

    /// Notes that a server is started anew.
    pub(super) fn restarted(&self, server: &str) {
        *self.0.starts.lock().unwrap().entry(server.to_owned()).or_default() += 1;
    }

    /// Notes that a server leads a group in a term.
    fn note(&self, group: &str, term: u64, server: String) {
        let start = self.0.starts.lock().unwrap().get(&server).copied().unwrap_or(0);
        let mut terms = self.0.terms.lock().unwrap();
        let led = terms.entry((group.to_owned(), term, server.clone())).or_insert(start);
        if *led != start {
            let wrong = format!("{server} was elected for {group} in term {term} twice");
            self.0.wrong.lock().unwrap().get_or_insert(wrong);
        }
        drop(terms);
        self.0.last.send_modify(|(last, count)| {
            *last = server;
            *count += 1;
        });
    }

    /// Fails if a server was elected twice for a term; else tells how many elections there were.
    pub(super) fn check(&self) -> Result<usize, String> {
        match &*self.0.wrong.lock().unwrap() {
            None => Ok(self.0.terms.lock().unwrap().len()),
            Some(wrong) => Err(wrong.clone()),
        }
    }

    /// Who led last: any of the groups, as `draw` decides.
    pub(super) fn some(&self, draw: u64) -> Option<String> {
        let terms = self.0.terms.lock().unwrap();
        let newest: BTreeMap<&String, &String> =
            terms.keys().map(|(group, _, server)| (group, server)).collect();
        let place = usize::try_from(draw).unwrap_or(0) % newest.len().max(1);
        newest.values().nth(place).map(|server| (*server).clone())
    }

    /// Waits until another server than `but` begins to lead a group.
    pub(super) async fn next(&self, but: &str) -> String {
        let mut last = self.0.last.subscribe();
        let known = last.borrow_and_update().1;
        let is_new = |(server, count): &(String, usize)| *count > known && server != but;
        let next = last.wait_for(is_new).await.expect("the sender is here");
        next.0.clone()
    }
}

/// A part of what is told of an event.
#[derive(Default)]
struct Report {
    message: String,
    group: String,
    server: String,
    term: Option<u64>,
}

impl Visit for Report {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "term" {
            self.term = Some(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = match field.name() {
            "message" => &mut self.message,
            "group" => &mut self.group,
            "server" => &mut self.server,
            _ => return,
        };
        *text = format!("{value:?}");
    }
}

struct Listener(Leaders);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("triekv::replication") {
            return;
        }
        let mut report = Report::default();
        event.record(&mut report);
        let Report { message, group, server, term } = report;
        if let Some(term) = term.filter(|_| message == "leads") {
            self.0.note(&group, term, server);
        }
    }
}

#[test]
fn a_server_that_is_elected_twice_for_a_term_is_noticed() {
    let leaders = Leaders::default();
    let note = |group: &str, term, server: &str| leaders.note(group, term, server.into());
    note("shard 1", 1, "a");
    note("shard 1", 1, "a");
    note("shard 1", 2, "b");
    note("shard 2", 1, "b");
    leaders.restarted("a");
    note("shard 1", 2, "a");
    note("shard 1", 2, "b");
    assert_eq!((leaders.check(), leaders.some(0)), (Ok(4), Some("b".to_owned())));
    leaders.restarted("b");
    note("shard 1", 2, "b");
    assert_eq!(leaders.check(), Err("b was elected for shard 1 in term 2 twice".to_owned()));
}
