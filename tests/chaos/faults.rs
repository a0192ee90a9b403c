//! What is done to the servers, one or two things at a time, and whether it bit.
//!
//! Each fault is begun, lasts for a while, is ended, and is confirmed when all of them have ended: it
//! must have had the effect that it is there for. A fault that had none fails the run.

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use triekv::replication::{GroupStatus, Health, MemberError, PastStatus, ServerState};

use super::cluster::{Log, Servers};
use super::ground::Cuts;
use super::workload::{Filler, History, TcpBroker};

/// How long the cluster may take to answer writes of all keys after all is healed, on a machine that
/// does other things, too.
const RECOVERY_MAX: Duration = Duration::from_mins(1);

/// How long the effect of a fault may take to be seen.
const BITE_MAX: Duration = Duration::from_secs(20);

/// A leader that is away for so long is replaced.
const REPLACED_AFTER: Duration = Duration::from_millis(2_500);

/// How long a paused server is seen to be silent.
const SILENCE: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// A server is killed (SIGKILL) and started again.
    Kill,
    /// As `Kill`, the one that leads most shards.
    KillLeader,
    /// A server is paused (SIGSTOP) and goes on (SIGCONT).
    Pause,
    /// As `Pause`, the one that leads most shards.
    PauseLeader,
    /// A server is stopped (SIGTERM) and started again.
    Restart,
    /// All servers are killed at once and started again.
    KillAll,
    /// A server has a log that nobody reads, or whose reader has gone: it serves as the others do.
    LogWithoutReader,
    /// A minority of the servers is cut off from the others.
    Halves,
    /// The server that leads most shards is cut off from the others.
    LeaderAlone,
    /// The server that leads most shards reaches no other, and the others reach it.
    OneWay,
    /// A leader's disk gets full, and has room again.
    FullDisk,
    /// A new server joins, and gets its share.
    Join,
    /// A server leaves, where one has joined, and ends.
    Leave,
    /// A server's directory is copied, and put back later: the server begins anew.
    Past,
}

impl Fault {
    /// Whether shards move.
    fn moves(self) -> bool {
        matches!(self, Self::Join | Self::Leave)
    }

    fn needs_network(self) -> bool {
        matches!(self, Self::Halves | Self::LeaderAlone | Self::OneWay)
    }

    fn is_allowed(self, servers: &Servers) -> bool {
        match self {
            Self::FullDisk => servers.ground.mounts,
            _ => servers.ground.cuts || !self.needs_network(),
        }
    }

    /// How long it lasts, in milliseconds.
    fn lasts(self) -> std::ops::Range<u64> {
        match self {
            Self::Kill | Self::KillLeader | Self::Join | Self::Leave => 0..2_000,
            Self::Pause => 500..3_000,
            Self::PauseLeader => 500..5_000,
            Self::Restart | Self::KillAll => 0..1_000,
            Self::Past => 500..2_000,
            Self::LogWithoutReader => 1_000..3_000,
            Self::Halves | Self::OneWay => 1_000..4_000,
            Self::LeaderAlone => 2_500..5_000,
            Self::FullDisk => 100..1_500,
        }
    }

    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// A fault that has begun.
struct Active {
    fault: Fault,
    victims: Vec<usize>,
    began: Instant,
    from: Duration,
    lasts: Duration,
    /// Whether no other fault was there at the same time.
    is_alone: bool,
    /// How often servers had come to lead a group before.
    elections: u64,
    /// Whether the effect was seen already.
    has_bitten: bool,
    filler: Option<Filler>,
}

/// A fault that has passed.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) fault: Fault,
    pub(crate) from: Duration,
    /// From the end of all faults to the first writes, of all keys.
    pub(crate) recovery: Option<Duration>,
}

pub(crate) struct Trouble {
    pub(crate) servers: Servers,
    history: Arc<History>,
    /// For the large documents.
    broker: TcpBroker,
    draws: ChaCha8Rng,
    faults: Vec<Fault>,
    /// What comes next; dealt anew when it is empty, so that each fault has its turn.
    deck: VecDeque<Fault>,
    pub(crate) passed: Vec<Passed>,
    pub(crate) bites: BTreeMap<Fault, u64>,
    pub(crate) without_bite: Vec<String>,
    /// Whether the servers forget what they have synced when all are killed.
    pub(crate) plants_loss: bool,
    /// What was done when.
    pub(crate) diary: Vec<String>,
    /// How many servers there are when none has joined.
    base: usize,
    seed: u64,
}

impl Trouble {
    pub(crate) fn new(
        servers: Servers,
        history: Arc<History>,
        broker: TcpBroker,
        faults: &[Fault],
        seed: u64,
    ) -> Self {
        let faults: Vec<Fault> =
            faults.iter().copied().filter(|fault| fault.is_allowed(&servers)).collect();
        Self {
            base: servers.all.len(),
            seed,
            servers,
            history,
            broker,
            draws: ChaCha8Rng::seed_from_u64(seed),
            bites: faults.iter().map(|fault| (*fault, 0)).collect(),
            faults,
            deck: VecDeque::new(),
            passed: Vec::new(),
            without_bite: Vec::new(),
            plants_loss: false,
            diary: Vec::new(),
        }
    }

    /// Makes trouble until then, and heals it.
    pub(crate) async fn run(&mut self, until: Instant) -> Result<(), String> {
        self.recover().await?;
        while Instant::now() < until && !self.faults.is_empty() {
            self.rest(0..600).await;
            self.servers.check_running()?;
            let mut active = Vec::new();
            self.begin_next(&mut active).await?;
            if self.draws.random_range(0..3) == 0 {
                self.rest(0..800).await;
                self.begin_next(&mut active).await?;
                let is_alone = active.len() < 2;
                for fault in &mut active {
                    fault.is_alone = is_alone;
                }
            }
            active.sort_by_key(|fault| fault.began + fault.lasts);
            for fault in &mut active {
                sleep((fault.began + fault.lasts).saturating_duration_since(Instant::now())).await;
                self.end(fault).await?;
            }
            // Now and then the next one comes before the cluster has found itself again.
            let recovery = match self.draws.random_range(0..5) {
                0 => None,
                _ => Some(self.recover().await?),
            };
            for fault in active {
                self.confirm(fault, recovery).await;
            }
        }
        self.recover().await?;
        self.check_bites();
        Ok(())
    }

    fn note(&mut self, what: &str) {
        self.diary.push(format!("{:9.3?} {what}", self.history.now()));
    }

    async fn rest(&mut self, milliseconds: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.draws.random_range(milliseconds))).await;
    }

    /// Waits until writes of all keys are acknowledged, and returns how long that took.
    async fn recover(&mut self) -> Result<Duration, String> {
        let since = self.history.now();
        while !self.history.is_answered_since(since) {
            self.servers.check_running()?;
            if self.history.now() > since + RECOVERY_MAX {
                return Err(format!("writes still wait {RECOVERY_MAX:?} after all was healed"));
            }
            sleep(Duration::from_millis(10)).await;
        }
        let recovery = self.history.now().saturating_sub(since);
        self.note(&format!("all keys were written again after {recovery:.3?}"));
        Ok(recovery)
    }

    /// Begins the next fault of the deck that can be had beside those that have begun.
    async fn begin_next(&mut self, active: &mut Vec<Active>) -> Result<(), String> {
        // What cannot be had now comes first when it can be.
        let mut later = VecDeque::new();
        for _ in 0..2 * self.faults.len() {
            if self.deck.is_empty() {
                let mut deck = self.faults.clone();
                deck.retain(|fault| !later.contains(fault));
                deck.shuffle(&mut self.draws);
                self.deck.extend(deck);
            }
            let Some(fault) = self.deck.pop_front() else { break };
            let Some(victims) = self.victims(fault, active) else {
                later.push_back(fault);
                continue;
            };
            active.extend(self.begin(fault, victims).await?);
            break;
        }
        later.append(&mut self.deck);
        self.deck = later;
        Ok(())
    }

    /// Whom the fault would befall, if it can be had now.
    fn victims(&mut self, fault: Fault, active: &[Active]) -> Option<Vec<usize>> {
        let is_busy = |number: &usize| active.iter().any(|active| active.victims.contains(number));
        let running = |number: &usize| self.servers.all[*number].is_running();
        let count = self.servers.all.len();
        let mut free: Vec<usize> = (0..count).filter(running).collect();
        free.retain(|number| !is_busy(number));
        let is_cut = active.iter().any(|active| active.fault.needs_network());
        let is_moving = active.iter().any(|active| active.fault.moves());
        let members = (0..count).filter(running).count();
        let is_down = active.iter().any(|active| active.victims.iter().any(|v| !running(v)));
        // With a second server away, the others might have lost what two disks had.
        if active.iter().any(|active| active.fault == Fault::Past) {
            return None;
        }
        match fault {
            Fault::Join | Fault::Leave if is_moving || is_down => None,
            Fault::Join => (members == self.base).then(|| vec![count]),
            Fault::Leave if members == self.base => None,
            // Brokers that connect later know the first servers by name.
            Fault::Leave => {
                free.retain(|number| *number > 0);
                free.choose(&mut self.draws).map(|victim| vec![*victim])
            }
            Fault::Halves | Fault::LeaderAlone | Fault::OneWay if is_cut => None,
            Fault::KillAll | Fault::Past if !active.is_empty() => None,
            Fault::KillAll => Some(free),
            Fault::Halves => {
                free.shuffle(&mut self.draws);
                free.truncate((count - 1) / 2);
                (!free.is_empty()).then_some(free)
            }
            Fault::Kill | Fault::Pause | Fault::Past | Fault::Restart | Fault::LogWithoutReader => {
                free.choose(&mut self.draws).map(|victim| vec![*victim])
            }
            Fault::KillLeader
            | Fault::PauseLeader
            | Fault::LeaderAlone
            | Fault::OneWay
            | Fault::FullDisk => {
                let leads = self.servers.leads();
                free.retain(|number| leads[*number] > 0);
                if fault == Fault::FullDisk {
                    free.retain(|number| self.servers.all[*number].mount.is_some());
                }
                free.into_iter().max_by_key(|number| leads[*number]).map(|victim| vec![victim])
            }
        }
    }

    async fn begin(&mut self, fault: Fault, victims: Vec<usize>) -> Result<Option<Active>, String> {
        let mut active = Active {
            fault,
            elections: self.servers.elections().iter().sum(),
            began: Instant::now(),
            from: self.history.now(),
            lasts: Duration::from_millis(self.draws.random_range(fault.lasts())),
            is_alone: true,
            has_bitten: false,
            filler: None,
            victims,
        };
        let first = active.victims[0];
        let (name, leads) = (fault.name(), self.servers.leads());
        self.note(&format!("{name} of {:?}; they lead {leads:?} shards", active.victims));
        match fault {
            Fault::Kill | Fault::KillLeader | Fault::KillAll => {
                let mut killed = 0;
                for victim in &active.victims {
                    let status = self.servers.all[*victim].kill();
                    killed += usize::from(status.and_then(|status| status.signal()) == Some(9));
                }
                active.has_bitten = killed == active.victims.len();
            }
            Fault::Pause | Fault::PauseLeader => {
                let server = &self.servers.all[first];
                server.signal("STOP")?;
                active.has_bitten = !server.greets(SILENCE);
            }
            Fault::Restart => {
                self.servers.all[first].stop().await?;
                active.has_bitten = true;
            }
            Fault::Past => {
                self.servers.all[first].stop().await?;
                self.servers.all[first].copy()?;
                self.servers.restart(first)?;
            }
            Fault::LogWithoutReader => {
                let logs = [Log::Unread, Log::Closed];
                let log = logs[self.draws.random_range(0..logs.len())];
                self.servers.all[first].stop().await?;
                self.servers.restart_with(first, log)?;
                active.has_bitten = log == Log::Closed;
            }
            Fault::Halves | Fault::LeaderAlone | Fault::OneWay => {
                Cuts::cut(&self.pairs(fault, &active.victims))?;
            }
            Fault::FullDisk => return self.fill(active).await,
            Fault::Join => {
                let number = self.servers.add(self.seed)?;
                let address = self.servers.all[number].endpoint();
                self.until_noted(async |broker| broker.join(&address).await).await?;
            }
            Fault::Leave => {
                let address = self.servers.all[first].endpoint();
                let leave = async |broker: &TcpBroker| broker.leave(&address).await.map(drop);
                self.until_noted(leave).await?;
            }
        }
        Ok(Some(active))
    }

    /// Asks until group 0 has noted the change, which may have no leader for a while.
    async fn until_noted(
        &self,
        change: impl AsyncFn(&TcpBroker) -> Result<(), MemberError>,
    ) -> Result<(), String> {
        let until = Instant::now() + RECOVERY_MAX;
        loop {
            match change(&self.broker).await {
                Ok(()) => return Ok(()),
                Err(MemberError::Broker(_) | MemberError::Identify { .. })
                    if Instant::now() < until =>
                {
                    sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(format!("a change of servers was refused: {error}")),
            }
        }
    }

    /// Waits until every group is where the map wants it, and this server is part of the cluster or
    /// not; says whether that came.
    async fn await_moves(&self, number: usize, joins: bool) -> bool {
        let address = self.servers.all[number].endpoint();
        let until = Instant::now() + RECOVERY_MAX;
        loop {
            let status = self.broker.status().await;
            let known = status.servers.iter().any(|server| server.address == address);
            let holds = status.servers.iter().any(|server| {
                let up = matches!(server.state, ServerState::Up { replicas: 1.., .. });
                server.address == address && up
            });
            let there = if joins { holds } else { !known };
            if there && self.broker.moves().await == 0 {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a server that was from the past is a new one, and every replica of each group has what
    /// was committed when that was first seen; says whether that came.
    async fn await_filled(&self, number: usize) -> bool {
        let address = self.servers.all[number].endpoint();
        let until = Instant::now() + RECOVERY_MAX;
        let mut committed: Option<Vec<Option<u64>>> = None;
        while Instant::now() < until {
            let status = self.broker.status().await;
            let is_new = status.servers.iter().any(|server| {
                server.address == address && matches!(server.past, Some(PastStatus::SetAside(_)))
            });
            let groups: Vec<_> = [&status.meta].into_iter().chain(&status.shards).collect();
            if is_new && status.moves == 0 && status.health() == Health::Whole {
                let wanted = committed
                    .get_or_insert_with(|| groups.iter().map(|group| group.committed).collect());
                let has_all = |(group, wanted): (&&GroupStatus, &Option<u64>)| {
                    group.replicas.iter().all(|replica| replica.applied >= *wanted)
                };
                if groups.iter().zip(wanted.iter()).all(has_all) {
                    return true;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }

    /// Who sends to whom what is lost.
    fn pairs(&self, fault: Fault, victims: &[usize]) -> Vec<(usize, usize)> {
        let others = (0..self.servers.all.len()).filter(|number| !victims.contains(number));
        let mut pairs = Vec::new();
        for other in others {
            for victim in victims {
                pairs.push((*victim, other));
                if fault != Fault::OneWay {
                    pairs.push((other, *victim));
                }
            }
        }
        pairs
    }

    /// Fills the disk of a leader, and waits until a write is refused for it.
    async fn fill(&mut self, mut active: Active) -> Result<Option<Active>, String> {
        let victim = active.victims[0];
        let refused = self.history.disk_full();
        let Some(mount) = &self.servers.all[victim].mount else { return Ok(None) };
        mount.fill().map_err(|error| format!("cannot fill a disk: {error}"))?;
        active.filler = Some(Filler::start(&self.broker, &self.history));
        while self.history.disk_full() == refused {
            let is_leader = self.servers.leads()[victim] > 0;
            if !is_leader || active.began.elapsed() > BITE_MAX {
                // Where it leads no more, nobody has to see that its disk is full.
                self.end(&mut active).await?;
                let lost = format!("full-disk at {:.1?}: no write was refused", active.from);
                self.without_bite.extend(is_leader.then_some(lost));
                return Ok(None);
            }
            sleep(Duration::from_millis(20)).await;
        }
        active.has_bitten = true;
        active.lasts += active.began.elapsed();
        Ok(Some(active))
    }

    async fn end(&mut self, active: &mut Active) -> Result<(), String> {
        if Self::elects(active) && matches!(active.fault, Fault::LeaderAlone | Fault::PauseLeader) {
            // While it is away: there is one as soon as it is back, in any case.
            if !self.await_election(active).await {
                let name = active.fault.name();
                let what = format!("{name} at {:.1?}: no election in {BITE_MAX:?}", active.from);
                self.note(&what);
                self.without_bite.push(what);
            }
        }
        self.note(&format!("end of {} of {:?}", active.fault.name(), active.victims));
        match active.fault {
            Fault::Kill | Fault::KillLeader | Fault::KillAll | Fault::Restart => {
                for victim in &active.victims {
                    if active.fault == Fault::KillAll && self.plants_loss {
                        self.servers.all[*victim].forget()?;
                    }
                    self.servers.restart(*victim)?;
                }
            }
            Fault::LogWithoutReader => {
                // Its keys are written, too, and it can be stopped.
                if active.is_alone {
                    self.recover().await?;
                }
                let victim = active.victims[0];
                self.servers.all[victim].stop().await?;
                active.has_bitten |= self.servers.all[victim].lost_its_log();
                self.servers.restart(victim)?;
            }
            Fault::Pause | Fault::PauseLeader => {
                self.servers.all[active.victims[0]].signal("CONT")?;
            }
            Fault::Past => {
                let victim = active.victims[0];
                self.servers.all[victim].kill();
                self.servers.all[victim].put_back()?;
                self.servers.restart(victim)?;
                active.has_bitten = self.await_filled(victim).await;
            }
            // That goes on by itself.
            Fault::Join | Fault::Leave => {}
            Fault::Halves | Fault::LeaderAlone | Fault::OneWay => {
                active.has_bitten = Cuts::heal()? > 0;
            }
            Fault::FullDisk => {
                if let Some(mount) = &self.servers.all[active.victims[0]].mount {
                    mount.free().map_err(|error| format!("cannot free a disk: {error}"))?;
                }
            }
        }
        if let Some(filler) = active.filler.take() {
            filler.stop().await;
        }
        Ok(())
    }

    /// Whether a leader is elected, whatever else happens.
    fn elects(active: &Active) -> bool {
        match active.fault {
            Fault::KillLeader | Fault::KillAll => true,
            // The others may lack a majority with a second fault.
            Fault::LeaderAlone => active.is_alone,
            Fault::PauseLeader => active.is_alone && active.lasts > REPLACED_AFTER,
            Fault::Kill
            | Fault::Pause
            | Fault::Restart
            | Fault::LogWithoutReader
            | Fault::Halves
            | Fault::OneWay
            | Fault::FullDisk
            | Fault::Join
            | Fault::Leave
            | Fault::Past => false,
        }
    }

    /// Waits until a server comes to lead a group after the fault began; says whether one did.
    async fn await_election(&mut self, active: &Active) -> bool {
        let until = Instant::now() + BITE_MAX;
        while self.servers.elections().iter().sum::<u64>() == active.elections {
            if Instant::now() > until {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Notes whether the fault, which is over, had its effect.
    async fn confirm(&mut self, active: Active, recovery: Option<Duration>) {
        let mut has_bitten = active.has_bitten;
        if Self::elects(&active) {
            has_bitten &= self.await_election(&active).await;
        }
        if active.fault.moves() {
            has_bitten = self.await_moves(active.victims[0], active.fault == Fault::Join).await;
        }
        let Active { fault, from, victims, .. } = active;
        if fault == Fault::Leave && has_bitten {
            self.servers.all[victims[0]].kill();
        }
        if has_bitten {
            *self.bites.entry(fault).or_default() += 1;
        } else {
            let name = fault.name();
            self.without_bite.push(format!("{name} of {victims:?} at {from:.1?}"));
        }
        self.passed.push(Passed { fault, from, recovery });
    }

    /// Each fault must have come in a run that was long enough for all of them.
    fn check_bites(&mut self) {
        let is_long = self.passed.len() >= 3 * self.faults.len();
        let missing = self.bites.iter().filter(|(_, bites)| is_long && **bites == 0);
        let missing: Vec<_> =
            missing.map(|(fault, _)| format!("{}: never", fault.name())).collect();
        self.without_bite.extend(missing);
    }
}
