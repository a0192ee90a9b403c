//! Where a key lives: pure functions, the same for the same arguments on every machine.
//!
//! The hash of a record's key picks one of a fixed number of shards. The servers that hold a
//! shard are picked by rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to
//! increase hit rates", 1998): each server gets a score from its id and the shard's number, and
//! the best scores win. So a server that comes or goes moves only its own share.

use siphasher::sip::SipHasher13;
use std::collections::BTreeSet;
use std::hash::Hasher;

use crate::replication::{ServerId, ShardId};

/// The fewest and the most shards of a cluster.
const SHARDS_MIN: u32 = 4;
const SHARDS_MAX: u32 = 2048;

/// The most servers that vote in group 0.
const META_VOTERS_MAX: usize = 5;

// The keys only keep the two uses of the hash apart; they are part of the placement of stored
// data, and must not change.
const KEY_SEED: (u64, u64) = (0x7472_6965_6b76_0001, 0x6b65_7974_6f73_6861);
const SCORE_SEED: (u64, u64) = (0x7472_6965_6b76_0002, 0x7368_6172_6473_636f);

/// The shard of `key`, of `shards` in all.
///
/// # Panics
///
/// If `shards` is 0.
pub(crate) fn shard_of(key: &str, shards: u32) -> ShardId {
    assert!(shards > 0, "a cluster has at least one shard");
    let mut hasher = SipHasher13::new_with_keys(KEY_SEED.0, KEY_SEED.1);
    hasher.write(key.as_bytes());
    // Multiply and shift spreads the hash over the shards without the bias of a remainder.
    let scaled = (u128::from(hasher.finish()) * u128::from(shards)) >> 64;
    ShardId(u32::try_from(scaled).unwrap_or(shards - 1))
}

/// The number of shards of a new cluster: the next power of two from two a server, within bounds.
pub(crate) fn shard_count(servers: usize) -> u32 {
    let wanted = u32::try_from(servers.saturating_mul(2)).unwrap_or(SHARDS_MAX).min(SHARDS_MAX);
    wanted.next_power_of_two().max(SHARDS_MIN)
}

/// The number of voters that a shard gets for `copies` copies on `servers` servers: rounded up to
/// an odd number where there are enough servers, since an even group survives no more losses than
/// the odd one below it.
pub(crate) fn voter_count(copies: usize, servers: usize) -> usize {
    let odd = copies | 1;
    if odd <= servers { odd } else { copies.min(servers) }
}

/// The `count` servers that hold `shard`, the one that should lead it first.
pub(crate) fn place(shard: ShardId, servers: &BTreeSet<ServerId>, count: usize) -> Vec<ServerId> {
    let mut ranked: Vec<(u64, ServerId)> =
        servers.iter().map(|server| (score(shard, *server), *server)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().take(count).map(|(_, server)| server).collect()
}

/// The servers that hold group 0: the lowest ids, an odd number of them, at most 5.
pub(crate) fn meta_voters(servers: &BTreeSet<ServerId>) -> Vec<ServerId> {
    let count = servers.len().min(META_VOTERS_MAX);
    let odd = if count.is_multiple_of(2) && count > 2 { count - 1 } else { count };
    servers.iter().copied().take(odd).collect()
}

fn score(shard: ShardId, server: ServerId) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(SCORE_SEED.0, SCORE_SEED.1);
    hasher.write(&shard.0.to_le_bytes());
    hasher.write(&server.0.to_le_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(n: u64) -> BTreeSet<ServerId> {
        (1..=n).map(|id| ServerId(id * 0x9e37_79b9)).collect()
    }

    #[test]
    fn the_placement_of_stored_data_does_not_change() {
        let shards: Vec<u32> =
            ["", "person1", "person2", "π"].iter().map(|key| shard_of(key, 8).0).collect();
        assert_eq!(shards, [6, 1, 1, 4]);
        let placed = place(ShardId(1), &servers(5), 3);
        assert_eq!(placed.iter().map(|id| id.0 / 0x9e37_79b9).collect::<Vec<_>>(), [2, 4, 3]);
    }

    #[test]
    fn every_shard_gets_its_share_of_keys_and_every_server_of_shards() {
        let mut keys = [0_u32; 8];
        for i in 0..8000 {
            keys[shard_of(&format!("person{i}"), 8).0 as usize] += 1;
        }
        assert!(keys.iter().all(|&n| (800..1200).contains(&n)), "{keys:?}");
        let mut led = std::collections::BTreeMap::new();
        for shard in 0..1000 {
            *led.entry(place(ShardId(shard), &servers(5), 3)[0]).or_insert(0_u32) += 1;
        }
        assert_eq!(led.len(), 5);
        assert!(led.values().all(|&n| (120..280).contains(&n)), "{led:?}");
    }

    #[test]
    fn a_new_server_only_takes_and_never_moves_a_shard_between_old_ones() {
        for shard in 0..200 {
            let before: BTreeSet<ServerId> =
                place(ShardId(shard), &servers(5), 3).into_iter().collect();
            let after: BTreeSet<ServerId> =
                place(ShardId(shard), &servers(6), 3).into_iter().collect();
            let newcomer = ServerId(6 * 0x9e37_79b9);
            assert!(after.difference(&before).all(|server| *server == newcomer));
        }
    }

    #[test]
    fn copies_are_rounded_up_to_odd_where_there_are_servers_for_it() {
        let table = [(1, 3, 1), (2, 3, 3), (3, 3, 3), (2, 2, 2), (4, 5, 5), (4, 4, 4), (1, 1, 1)];
        for (copies, servers, voters) in table {
            assert_eq!(voter_count(copies, servers), voters, "{copies} of {servers}");
        }
    }

    #[test]
    fn shards_are_a_power_of_two_and_at_least_two_a_server() {
        let counts: Vec<u32> = [1, 2, 3, 4, 5, 100].into_iter().map(shard_count).collect();
        assert_eq!(counts, [4, 4, 8, 8, 16, 256]);
        assert_eq!(shard_count(usize::MAX), SHARDS_MAX);
    }

    #[test]
    fn group_0_has_an_odd_number_of_voters_except_on_two_servers() {
        let counts: Vec<usize> = (1..=7).map(|n| meta_voters(&servers(n)).len()).collect();
        assert_eq!(counts, [1, 2, 3, 3, 5, 5, 5]);
    }
}
