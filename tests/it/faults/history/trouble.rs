//! Servers on machines of their own, and what happens to them and the network by plan.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use triekv::replication::{Server, Timing};

use super::leaders::Leaders;
use super::plan::{Cut, Outage, Plan, Step, links};
use crate::faults::network::{Event, Fate, Network};
use crate::faults::{name, names};
use crate::power::{Clock, Counters, Machine};

/// Heartbeats are most of what a run costs.
const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(120),
    election_min: Duration::from_millis(300),
    election_max: Duration::from_millis(600),
};

/// How long a sync takes where it is slow, at most and at least, in milliseconds.
const SLOW_MILLIS: std::ops::Range<u64> = 5..40;

/// How long a disk that is to fail may take to be written to.
const FAILURE_TIME: Duration = Duration::from_secs(3);

/// How long a cut may take to meet a request.
const BITE_TIME: Duration = Duration::from_secs(5);

/// How long an election may take, with one that fails.
const ELECTION_TIME: Duration = Duration::from_secs(3);

/// How often something was done, or met somebody, by what it was.
pub(super) type Counts = BTreeMap<String, u64>;

/// Servers, and where they run.
#[derive(Debug)]
pub(super) struct Servers {
    network: Network,
    leaders: Leaders,
    /// None if the servers are in memory: they do not come back then.
    machines: Option<Vec<Machine>>,
    running: Vec<Option<Server<Network>>>,
    /// What the servers call themselves, by number.
    pub(super) ids: Vec<String>,
    snapshot_entries: u64,
}

impl Servers {
    pub(super) async fn start(
        network: &Network,
        leaders: &Leaders,
        clock: Option<&Clock>,
        (count, snapshot_entries): (usize, u64),
    ) -> Self {
        let machines = clock.map(|clock| (0..count).map(|_| Machine::on(clock)).collect());
        let (network, leaders, ids) = (network.clone(), leaders.clone(), Vec::new());
        let running = (0..count).map(|_| None).collect();
        let mut servers = Self { network, leaders, machines, running, ids, snapshot_entries };
        for number in 0..count {
            servers.restart(number).await;
            let id = servers.running[number].as_ref().expect("it has started").id();
            servers.ids.push(id.to_string());
        }
        servers
    }

    fn count(&self) -> usize {
        self.running.len()
    }

    /// The numbers of the servers that run.
    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.count()).filter(|number| self.running[*number].is_some()).collect()
    }

    async fn restart(&mut self, number: usize) {
        let server = || {
            let server = Server::builder(self.network.named(&name(number)), name(number));
            server.timing(TIMING).snapshot_entries(self.snapshot_entries)
        };
        if let Some(id) = self.ids.get(number) {
            self.leaders.restarted(id);
        }
        let started = match &mut self.machines {
            Some(machines) => machines[number].start(server).await,
            None => server().start().await,
        };
        let started = started.unwrap_or_else(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            panic!("server{number} does not start: {error}, {cause:?}")
        });
        self.running[number] = Some(started);
    }

    /// Cuts the power of a server, which loses what the seed decides.
    fn cut(&mut self, number: usize, seed: u64) {
        if let Some(machines) = &mut self.machines {
            machines[number].cut(seed);
        }
        self.running[number] = None;
    }

    fn machine(&mut self, number: usize) -> &mut Machine {
        &mut self.machines.as_mut().expect("the servers are on disks")[number]
    }

    fn slow_down(&mut self, number: usize, sync: Duration) {
        self.machine(number).slow_down(sync);
    }

    /// Counts what the disks have been through.
    pub(super) fn count_disks(&self, counts: &mut Counts) {
        for machine in self.machines.iter().flatten() {
            let Counters { slow_syncs, arriving, snapshots, power_cuts_that_lost } =
                &*machine.counters;
            for (what, counter) in [
                ("slow syncs", slow_syncs),
                ("snapshots sent to others", arriving),
                ("snapshots", snapshots),
                ("power cuts that lost what was not synced", power_cuts_that_lost),
            ] {
                add(counts, what, AtomicU64::load(counter, Ordering::SeqCst));
            }
        }
    }

    /// Carries out what the plan has for servers.
    pub(super) async fn outages(&mut self, plan: &Plan) -> Counts {
        let mut counts = Counts::new();
        for step in &plan.outages {
            sleep(step.pause).await;
            let done = match self.machines {
                Some(_) => self.outage(step).await,
                None => self.loss(step).await,
            };
            add(&mut counts, &format!("{:?}", step.fault), u64::from(done));
        }
        counts
    }

    /// Takes a server away for good, as long as a majority is left.
    async fn loss(&mut self, step: &Step<Outage>) -> bool {
        let running = self.running();
        let spare = running.len() > self.count() / 2 + 1;
        let Some(server) = self.running[step.victim].take_if(|_| spare) else { return false };
        match step.fault {
            Outage::Stop => server.stop().await,
            _ => drop(server),
        }
        sleep(step.time).await;
        true
    }

    /// Whether it came to what it should.
    async fn outage(&mut self, step: &Step<Outage>) -> bool {
        let (count, first) = (self.count(), step.victim);
        let from_first = |number: usize| (first + number) % count;
        let slow = step.draw % (SLOW_MILLIS.end - SLOW_MILLIS.start) + SLOW_MILLIS.start;
        let slow = Duration::from_millis(slow);
        let seed = |number: usize| (step.draw >> 32) + number as u64;
        match step.fault {
            Outage::Kill => {
                self.cut(first, u64::MAX);
                sleep(step.time).await;
                self.restart(first).await;
            }
            Outage::Stop => {
                let server = self.running[first].take().expect("all servers run");
                server.stop().await;
                sleep(step.time).await;
                self.restart(first).await;
            }
            Outage::PowerCut | Outage::PowerCutOfMost | Outage::PowerCutOfAll => {
                let victims = match step.fault {
                    Outage::PowerCut => 1,
                    Outage::PowerCutOfMost => count / 2 + 1,
                    _ => count,
                };
                // More is on its way to a slow disk.
                for number in 0..count {
                    self.slow_down(number, slow);
                }
                sleep(slow * 5).await;
                for number in (0..victims).map(from_first) {
                    self.cut(number, seed(number));
                }
                for number in 0..count {
                    self.slow_down(number, Duration::ZERO);
                }
                sleep(step.time).await;
                for number in (0..victims).map(from_first) {
                    self.restart(number).await;
                }
            }
            Outage::PowerCutAtElection => return self.cut_at_election(step).await,
            Outage::SlowSyncs => {
                self.slow_down(first, slow);
                sleep(step.time * 2).await;
                self.slow_down(first, Duration::ZERO);
            }
            Outage::FailedSync | Outage::CrashInWrite => {
                use triekv::log::Fault;
                let disk = self.machine(first).disk.clone();
                let operation = disk.operations() + step.draw % 3;
                disk.fail(match step.fault {
                    Outage::FailedSync => Fault::Sync { operation },
                    _ => Fault::Crash { operation, seed: step.draw },
                });
                let server = self.running[first].as_ref().expect("all servers run");
                let failed = timeout(FAILURE_TIME, server.failed()).await.is_ok();
                self.cut(first, seed(first));
                sleep(step.time).await;
                self.restart(first).await;
                return failed;
            }
        }
        true
    }

    /// Whoever forgets a vote may vote again in the same term.
    async fn cut_at_election(&mut self, step: &Step<Outage>) -> bool {
        let leaders = self.leaders.clone();
        let led = leaders.some(step.draw).and_then(|id| self.ids.iter().position(|i| *i == id));
        let victim = led.unwrap_or(step.victim);
        self.cut(victim, step.draw);
        let next = timeout(ELECTION_TIME, leaders.next(&self.ids[victim])).await;
        let next = next.ok().and_then(|id| self.ids.iter().position(|i| *i == id));
        for number in self.running() {
            self.cut(number, 0);
        }
        let others = (0..self.count()).filter(|number| Some(*number) != next);
        for number in next.into_iter().chain(others) {
            self.restart(number).await;
        }
        sleep(step.time).await;
        next.is_some()
    }
}

pub(super) fn add(counts: &mut Counts, what: &str, count: u64) {
    *counts.entry(what.to_owned()).or_default() += count;
}

/// Carries out what the plan has for the network. Counts the requests that were lost by each cut.
pub(super) async fn cuts(
    network: &Network,
    plan: &Plan,
    leaders: &Leaders,
    ids: &[String],
    clients: &[String],
) -> Counts {
    let (servers, mut counts) = (names(ids.len()), Counts::new());
    for step in &plan.cuts {
        sleep(step.pause).await;
        let leader = leaders.some(step.draw).filter(|_| step.fault == Cut::LeaderAlone);
        let leader = leader.and_then(|id| ids.iter().position(|other| *other == id));
        let cut = links(step.fault, leader.unwrap_or(step.victim), &servers, clients);
        let began = network.now();
        for (from, to, link) in &cut {
            network.set(from, to, *link);
        }
        let is_met = |event: &Event| {
            matches!(event.fate, Fate::RequestLost | Fate::AnswerLost)
                && cut.iter().any(|(from, to, _)| *from == event.from && *to == event.to)
        };
        sleep(step.time * 2).await;
        // The server may have been down.
        let _ = timeout(BITE_TIME, network.until(began, is_met)).await;
        for (from, to, _) in &cut {
            network.unset(from, to);
        }
        let met = network.events(began).iter().filter(|event| is_met(event)).count();
        add(&mut counts, &format!("requests lost by {:?}", step.fault), met as u64);
    }
    counts
}
