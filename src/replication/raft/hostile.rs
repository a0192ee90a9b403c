//! Messages that no replica sends, for tests.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::replication::message::{self, Bytes};

#[derive(Clone, Copy, Serialize)]
struct WireVote {
    term: u64,
    server: u64,
    committed: bool,
}

#[derive(Clone, Copy, Serialize)]
struct WireLogId {
    term: u64,
    server: u64,
    index: u64,
}

#[derive(Clone, Serialize)]
struct WireMembership {
    voters: Vec<BTreeSet<u64>>,
    members: BTreeSet<u64>,
}

#[derive(Serialize)]
enum WirePayload {
    Blank,
    #[expect(dead_code, reason = "keeps the place of the variant in the encoding")]
    Normal(Bytes),
    Membership(WireMembership),
}

#[derive(Serialize)]
struct WireEntry {
    id: WireLogId,
    payload: WirePayload,
}

#[derive(Clone, Serialize)]
struct WireSnapshotMeta {
    last: Option<WireLogId>,
    membership_id: Option<WireLogId>,
    membership: WireMembership,
}

/// The first kinds of message, with the encoding that replicas decode.
#[derive(Serialize)]
enum RaftRequest {
    Append {
        vote: WireVote,
        previous: Option<WireLogId>,
        entries: Vec<WireEntry>,
        commit: Option<WireLogId>,
    },
    Vote {
        vote: WireVote,
        last: Option<WireLogId>,
        transfer: bool,
        pre: bool,
    },
    SnapshotPart {
        vote: WireVote,
        meta: WireSnapshotMeta,
        offset: u64,
        part: Bytes,
    },
    InstallSnapshot {
        vote: WireVote,
        meta: WireSnapshotMeta,
        len: u64,
    },
}

fn vote(server: u64, committed: bool) -> WireVote {
    WireVote { term: 100, server, committed }
}

fn id(server: u64, index: u64) -> WireLogId {
    WireLogId { term: 100, server, index }
}

fn meta(server: u64) -> WireSnapshotMeta {
    let voters = BTreeSet::from([server, server ^ 1]);
    WireSnapshotMeta {
        last: Some(id(server, 1000)),
        membership_id: Some(id(server, 0)),
        membership: WireMembership { voters: vec![voters.clone()], members: voters },
    }
}

/// The messages that bring and install a snapshot of bytes that do not decode.
pub(in crate::replication) fn bad_snapshot(server: u64) -> [Vec<u8>; 2] {
    let (vote, meta, part) = (vote(server, true), meta(server), Bytes(vec![9; 3]));
    [
        message::encode(&RaftRequest::SnapshotPart { vote, meta: meta.clone(), offset: 0, part }),
        message::encode(&RaftRequest::InstallSnapshot { vote, meta, len: 3 }),
    ]
}

/// Messages that contradict themselves, each with what is wrong.
pub(in crate::replication) fn contradictions(server: u64) -> Vec<(&'static str, Vec<u8>)> {
    let append = |committed, previous, payload, index| {
        message::encode(&RaftRequest::Append {
            vote: vote(server, committed),
            previous,
            entries: vec![WireEntry { id: id(server, index), payload }],
            commit: None,
        })
    };
    let nobody = || WireMembership { voters: vec![], members: BTreeSet::new() };
    let empty = || WireMembership { voters: vec![BTreeSet::new()], members: BTreeSet::new() };
    let bad_meta = WireSnapshotMeta { membership: nobody(), ..meta(server) };
    let (at, last) = (Some(id(server, 5)), Some(id(server, u64::MAX)));
    vec![
        ("an append by a candidate", append(false, at, WirePayload::Blank, 6)),
        ("a gap in an append", append(true, at, WirePayload::Blank, 8)),
        ("an index without a next one", append(true, last, WirePayload::Blank, u64::MAX)),
        ("no voters", append(true, at, WirePayload::Membership(nobody()), 6)),
        ("an empty set of voters", append(true, at, WirePayload::Membership(empty()), 6)),
        (
            "a snapshot without voters",
            message::encode(&RaftRequest::InstallSnapshot {
                vote: vote(server, true),
                meta: bad_meta,
                len: 0,
            }),
        ),
        (
            "a vote past the last index",
            message::encode(&RaftRequest::Vote {
                vote: vote(server, false),
                last,
                transfer: false,
                pre: false,
            }),
        ),
    ]
}
