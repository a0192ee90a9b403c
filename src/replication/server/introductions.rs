//! Servers that introduce themselves, and what follows when one of them is from the past.
//!
//! A server that starts on a disk that was used introduces itself to all others before it starts a
//! replica: see [`peers`](crate::replication::peers). If one of them knows the server in a newer state,
//! its disk went back in time. It must not vote with what it has, nor count as a copy:
//!
//! | the others | the server |
//! |---|---|
//! | have a leader in each group without it | sets its files aside, and goes on as a new, empty server |
//! | have none | takes part in nothing, tells so, and looks again each second |
//!
//! The second row keeps what may be the last copy: with two servers of three from the past, nobody
//! could fill them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::metadata::Metadata;
use super::{Data, Shared, blocking};
use crate::log::LogError;
use crate::replication::message::{Identity, Introduction, Reception, Refusal, Request, Response};
use crate::replication::peers::{MEET_TIME, PeerError, Verdict};
use crate::replication::promise::Evidence;
use crate::replication::raft::ServerFailure;
use crate::replication::report::{ServerReport, SetAside};
use crate::replication::{ClusterId, RunId, ServerId};
use crate::transport::Transport;

/// The pause before a server from the past looks again whether the others can do without it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The longest time that a process is given to say that it still runs with an identity.
const TWIN_TIME: Duration = Duration::from_millis(500);

/// The largest number of times that a starting server learns of a newer map and asks its servers.
const ROUNDS_MAX: usize = 3;

/// A reason why a server cannot take part with what it has.
#[derive(Debug)]
pub(super) enum Objection {
    /// Its disk is from the past.
    Past(Evidence),
    /// Another process runs with its identity, and answers at this address.
    Twin(String),
}

impl<T: Transport> Shared<T> {
    /// Receives another server, and compares what it has with what it promised.
    pub(super) async fn receive(&self, introduction: &Introduction) -> Response {
        let Introduction { to, server, cluster, epoch, accept_past, .. } = *introduction;
        if to != self.id() {
            return Response::Refused(Refusal::OtherServer);
        }
        if self.past.get().is_some() {
            return Response::Refused(Refusal::FromThePast);
        }
        let Some(run) = introduction.runs.last().copied() else {
            return Response::Refused(Refusal::Malformed);
        };
        match &*self.map() {
            Some(map) if map.cluster != cluster => {
                return Response::Refused(Refusal::OtherCluster);
            }
            Some(map) if map.epoch > epoch && !map.servers.contains_key(&server) => {
                return Response::Introduced(Reception::Left(Box::new(map.clone())));
            }
            Some(_) => {}
            None => return Response::Refused(Refusal::OtherCluster),
        }
        let known = self.peers.run_of(server);
        if let Some(known) = known.filter(|known| *known != run)
            && let Some(address) = self.runs_at(server, |run| run == known).await
        {
            tracing::error!(%server, address, "another process has started with its identity");
            return Response::Introduced(Reception::Twin { address });
        }
        let _alone = self.receiving.lock().await;
        let judged = self.peers.acquaintances().judge(introduction, &self.peers.promises);
        if let Some(evidence) = judged.filter(|_| !accept_past) {
            if self.peers.acquaintances().note_past(server, evidence) {
                tracing::error!(
                    %server,
                    address = self.peers.addresses().get(server),
                    "the directory of a server is from the past, it does not count: {evidence}"
                );
            }
            let map = self.map().clone().map(Box::new);
            return Response::Introduced(Reception::Past { evidence, map });
        }
        let mut runs = self.peers.acquaintances().runs().clone();
        if runs.insert(server, run) != Some(run) {
            if let Err(refusal) = self.keep_runs(runs).await {
                return Response::Refused(refusal);
            }
            if accept_past {
                tracing::warn!(%server, "its operator has it go on with a directory from the past");
                self.peers.promises.forget(server);
                let (meta, shards) = self.groups();
                join_all(meta.iter().map(|group| group.allow_reversion_of(server))).await;
                join_all(shards.iter().map(|group| group.allow_reversion_of(server))).await;
            }
        }
        self.peers.acquaintances().note_run(server, run);
        Response::Introduced(Reception::Welcome)
    }

    async fn keep_runs(&self, runs: BTreeMap<ServerId, RunId>) -> Result<(), Refusal> {
        let Some(metadata) = self.metadata()? else { return Ok(()) };
        let kept = blocking(move || metadata.set_peers(&runs)).await;
        kept.map_err(|error| self.cannot_keep(&error))
    }

    /// The address at which the cluster knows `server`, if a process with its identity answers there
    /// that is in such a run.
    async fn runs_at(&self, server: ServerId, is_such: impl Fn(RunId) -> bool) -> Option<String> {
        let address = self.peers.addresses().get(server)?;
        let deadline = Instant::now() + TWIN_TIME;
        let found = self.peers.call_at(&address, &Request::Identify, deadline).await;
        let is_there = |found: &Identity| found.server == server && is_such(found.run);
        matches!(found, Ok(Response::Identity(found)) if is_there(&found)).then_some(address)
    }

    /// The objection to this server's taking part with what it has, if there is one. `own` is the
    /// address at which it listens.
    pub(super) async fn objection(&self, own: &str) -> Option<Objection> {
        // A server without a group has promised nothing.
        if self.storage.standings().is_empty() {
            return None;
        }
        let me = self.id();
        if self.peers.addresses().get(me).is_some_and(|known| known != own)
            && let Some(address) = self.runs_at(me, |run| run != self.peers.run()).await
        {
            return Some(Objection::Twin(address));
        }
        self.meet_all().await.err()
    }

    /// Sets the files of this server aside, and begins anew on its disk, as a new server.
    pub(super) async fn set_aside(&self, evidence: Evidence) -> Result<Data, LogError> {
        let (server, storage) = (self.id(), self.storage.clone());
        let (files, data) = blocking(move || {
            let disk = storage.disk()?;
            storage.close();
            let files = Metadata::new(Arc::clone(&disk)).set_aside()?;
            Ok((files, Data::open(Some(disk))?))
        })
        .await?;
        tracing::error!(
            %server, new = %data.me.server, files,
            "the directory is from the past, its files are set aside, and the server begins anew: \
             {evidence}"
        );
        Ok(Data { set_aside: Some(SetAside { server, evidence, files }), ..data })
    }

    /// Introduces this server to all others. Those that give no answer are met later.
    ///
    /// # Errors
    ///
    /// The first [`Objection`] of one of them.
    pub(super) async fn meet_all(&self) -> Result<(), Objection> {
        let Some(mut map) = self.map().clone() else { return Ok(()) };
        for _ in 0..ROUNDS_MAX {
            let others = map.servers.keys().copied().filter(|server| *server != self.id());
            let deadline = Instant::now() + MEET_TIME;
            let met = join_all(others.map(|to| self.peers.meet(to, map.cluster, deadline))).await;
            let mut newest = map.clone();
            let mut evidence = None;
            for outcome in met {
                match outcome {
                    Err(PeerError::Past { evidence: found, map }) => {
                        evidence = evidence.or(Some(found));
                        let newer = map.filter(|map| map.epoch > newest.epoch);
                        newest = newer.map_or(newest, |map| *map);
                    }
                    Err(PeerError::Twin { address }) => return Err(Objection::Twin(address)),
                    _ => {}
                }
            }
            if newest.epoch == map.epoch {
                return evidence.map_or(Ok(()), |evidence| Err(Objection::Past(evidence)));
            }
            self.peers.addresses().update(&newest);
            *self.map() = Some(newest.clone());
            map = newest;
        }
        Ok(())
    }

    /// Returns true if each group in which this server votes has a leader without it.
    pub(super) async fn can_be_replaced(&self) -> bool {
        let Some(map) = self.map().clone() else { return false };
        // A leader may count this server for as long after it has heard of it last.
        tokio::time::sleep_until(self.started + self.settings.timing.election_max).await;
        let others = map.servers.keys().copied().filter(|server| *server != self.id());
        let deadline = Instant::now() + MEET_TIME;
        let asked = others.map(|to| async move {
            match self.peers.call(to, &Request::Status, deadline).await {
                Ok(Response::Status(report)) if report.server == to => Some(*report),
                _ => None,
            }
        });
        let reports: Vec<ServerReport> = join_all(asked).await.into_iter().flatten().collect();
        let led = |group| {
            let groups = reports.iter().flat_map(|report| &report.groups);
            groups.into_iter().any(|report| report.group == group && report.leads)
        };
        map.groups().filter(|group| map.voters(*group).contains(&self.id())).all(led)
    }

    /// Ends the run of a server from the past once the others can do without it: it comes back as a
    /// new one. Until then it takes part in nothing.
    pub(super) async fn wait_in_the_past(self: Arc<Self>, evidence: Evidence) {
        while !self.can_be_replaced().await {
            tokio::time::sleep(LOOK_AGAIN).await;
            // Learns of newer maps.
            let _ = self.meet_all().await;
        }
        self.storage
            .failure()
            .note_other(ServerFailure::FromThePast { server: self.id(), evidence });
    }

    /// Acts on what the others find out about this server while it runs.
    pub(super) async fn watch_verdicts(self: Arc<Self>) {
        match self.peers.verdict().await {
            Verdict::Past(evidence) => {
                self.storage
                    .failure()
                    .note_other(ServerFailure::FromThePast { server: self.id(), evidence });
            }
            Verdict::Twin(address) => {
                self.storage
                    .failure()
                    .note_other(ServerFailure::Twin { server: self.id(), address });
            }
            Verdict::Left(map) => {
                // What cannot be kept ends the server by itself.
                let _ = self.settle(&map, &[]).await;
            }
        }
    }

    /// Checks that a message is from the run of a server that introduced itself to this one, and for
    /// the present run of this one.
    ///
    /// # Errors
    ///
    /// The refusal to send instead.
    pub(super) async fn knows(
        &self,
        from: (ServerId, RunId),
        to_run: Option<RunId>,
        cluster: ClusterId,
    ) -> Result<(), Refusal> {
        let (server, run) = from;
        if to_run.is_some_and(|to| to != self.peers.run()) {
            // The other knows an older run of this server, or a newer one of its twin.
            self.peers.part(server);
            let _ = self.peers.meet(server, cluster, Instant::now() + MEET_TIME).await;
            return Err(Refusal::OtherServer);
        }
        if self.peers.run_of(server) != Some(run) {
            return Err(Refusal::Stranger);
        }
        let met = self.peers.meet(server, cluster, Instant::now() + MEET_TIME).await;
        met.map_err(|_| Refusal::Stranger)
    }
}
