//! What goes wrong in a run, decided by its seed alone: each kind of fault once, in a drawn order.

use std::time::Duration;

use crate::faults::network::{Chances, Link};

/// Numbers from a seed: `SplitMix64`.
#[derive(Debug, Clone)]
pub(super) struct Draws(u64);

impl Draws {
    /// One of many independent sequences of a seed.
    pub(super) fn new(seed: u64, sequence: u64) -> Self {
        let mut draws = Self(seed.rotate_left(32) ^ sequence);
        draws.next();
        draws
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(super) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap();
            items.swap(last, other);
        }
    }
}

/// Which requests are lost.
#[derive(Debug, Clone, Copy, PartialEq, Hash)]
pub(super) enum Cut {
    /// A minority of the servers is on the one side, the rest on the other; clients reach all.
    Halves,
    /// The leader of a group does not reach the other servers, and the clients reach it.
    LeaderAlone,
    /// The others are in two parts, and only one server reaches both.
    Bridge,
    /// What a server sends to the others, its answers too, is lost; what they send arrives.
    OneWay,
    /// Nobody reaches a server.
    Isolated,
}

/// What happens to servers and their disks. All but the slow ones come back.
#[derive(Debug, Clone, Copy, PartialEq, Hash)]
pub(super) enum Outage {
    Kill,
    Stop,
    PowerCut,
    PowerCutOfMost,
    PowerCutOfAll,
    /// That of a leader, then of all as soon as another server leads, which comes back first.
    PowerCutAtElection,
    SlowSyncs,
    FailedSync,
    /// The program ends in the middle of a write.
    CrashInWrite,
}

pub(super) const CUTS: [Cut; 5] =
    [Cut::Halves, Cut::LeaderAlone, Cut::Bridge, Cut::OneWay, Cut::Isolated];

pub(super) const OUTAGES: [Outage; 9] = [
    Outage::Kill,
    Outage::Stop,
    Outage::PowerCut,
    Outage::PowerCutOfMost,
    Outage::PowerCutOfAll,
    Outage::PowerCutAtElection,
    Outage::SlowSyncs,
    Outage::FailedSync,
    Outage::CrashInWrite,
];

/// A fault, and the time before and during it.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Step<F> {
    pub(super) pause: Duration,
    pub(super) fault: F,
    /// The number of a server.
    pub(super) victim: usize,
    pub(super) time: Duration,
    /// For what else is to be decided.
    pub(super) draw: u64,
}

#[derive(Debug, Hash)]
pub(super) struct Plan {
    pub(super) cuts: Vec<Step<Cut>>,
    pub(super) outages: Vec<Step<Outage>>,
    pub(super) chances: Chances,
}

impl Plan {
    pub(super) fn new(seed: u64, servers: usize) -> Self {
        let mut draws = Draws::new(seed, 0);
        let chances = Chances {
            request_lost: draws.below(10),
            answer_lost: 10 + draws.below(40),
            duplicated: 20 + draws.below(80),
            delayed: 10 + draws.below(60),
        };
        let (cuts, outages) =
            (steps(&mut draws, CUTS, servers), steps(&mut draws, OUTAGES, servers));
        Self { cuts, outages, chances }
    }
}

fn steps<F, const N: usize>(draws: &mut Draws, mut faults: [F; N], servers: usize) -> Vec<Step<F>> {
    draws.shuffle(&mut faults);
    let step = |fault| Step {
        pause: draws.millis(200, 600),
        fault,
        victim: usize::try_from(draws.below(servers as u64)).unwrap(),
        time: draws.millis(100, 600),
        draw: draws.next(),
    };
    faults.into_iter().map(step).collect()
}

/// What becomes of requests, from one name to another, under a cut around a server.
pub(super) fn links(
    cut: Cut,
    victim: usize,
    servers: &[String],
    clients: &[String],
) -> Vec<(String, String, Link)> {
    let count = servers.len();
    // The others, beginning behind the victim.
    let others: Vec<&String> = (1..count).map(|n| &servers[(victim + n) % count]).collect();
    let me = &servers[victim];
    let both = |one: &[&String], other: &[&String]| -> Vec<(String, String, Link)> {
        let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
        let lost = |a: &String, b: &String| (a.clone(), b.clone(), Link::RequestsLost);
        pairs.flat_map(|(a, b)| [lost(a, b), lost(b, a)]).collect()
    };
    match cut {
        Cut::Halves => {
            let (mine, rest) = others.split_at((count - 1) / 2 - usize::from(count > 2));
            both(&[&[me], mine].concat(), rest)
        }
        Cut::LeaderAlone => both(&[me], &others),
        Cut::Bridge => {
            let (one, other) = others.split_at(others.len() / 2);
            both(one, other)
        }
        Cut::OneWay => {
            let to = others.iter().map(|o| (me.clone(), (*o).clone(), Link::RequestsLost));
            let back = others.iter().map(|o| ((*o).clone(), me.clone(), Link::AnswersLost));
            to.chain(back).collect()
        }
        Cut::Isolated => {
            let all: Vec<&String> = others.into_iter().chain(clients).collect();
            both(&[me], &all)
        }
    }
}

#[test]
fn a_plan_is_that_of_its_seed() {
    let text = |seed| format!("{:?}", Plan::new(seed, 3));
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
}

#[test]
fn cuts_leave_the_ways_that_they_should() {
    let names = |count: usize| (0..count).map(|n| format!("s{n}")).collect::<Vec<_>>();
    let cut_ways = |cut, victim, count| {
        let links = links(cut, victim, &names(count), &["c".to_owned()]);
        let mut ways: Vec<String> = links.iter().map(|(a, b, _)| format!("{a}{b}")).collect();
        ways.sort();
        ways.join(" ")
    };
    assert_eq!(cut_ways(Cut::Halves, 1, 3), "s0s1 s1s0 s1s2 s2s1");
    assert_eq!(
        cut_ways(Cut::Halves, 0, 5),
        "s0s2 s0s3 s0s4 s1s2 s1s3 s1s4 s2s0 s2s1 s3s0 s3s1 s4s0 s4s1"
    );
    assert_eq!(cut_ways(Cut::LeaderAlone, 0, 3), "s0s1 s0s2 s1s0 s2s0");
    assert_eq!(cut_ways(Cut::Bridge, 0, 3), "s1s2 s2s1");
    assert_eq!(cut_ways(Cut::Bridge, 4, 5), "s0s2 s0s3 s1s2 s1s3 s2s0 s2s1 s3s0 s3s1");
    assert_eq!(cut_ways(Cut::OneWay, 2, 3), "s0s2 s1s2 s2s0 s2s1");
    assert_eq!(cut_ways(Cut::Isolated, 2, 3), "cs2 s0s2 s1s2 s2c s2s0 s2s1");
}
