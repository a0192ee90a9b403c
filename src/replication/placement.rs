//! Where a key lives: pure functions, the same for the same arguments on every machine.
//!
//! The hash of a record's key picks one of a fixed number of shards. The servers that hold a
//! shard are picked by rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to
//! increase hit rates", 1998): each server gets a score from its id and the shard's number, and
//! the best scores win. So a server that comes or goes moves only its own share.

use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet};
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
/// With `exact`, they are as many as the copies.
pub(crate) fn voter_count(copies: usize, exact: bool, servers: usize) -> usize {
    let odd = copies | 1;
    if odd <= servers && !exact { odd } else { copies.min(servers) }
}

/// Puts a voter of each shard first, the one that should lead it, so that each server leads about as
/// many shards as the others; the best score wins where that leaves a choice.
pub(crate) fn spread_leaders(shards: &mut [Vec<ServerId>]) {
    let mut led: BTreeMap<ServerId, usize> = BTreeMap::new();
    for voters in shards {
        let leads = |server: &ServerId| led.get(server).copied().unwrap_or_default();
        let least = (0..voters.len()).min_by_key(|&place| leads(&voters[place]));
        if let Some(least) = least {
            voters[..=least].rotate_right(1);
            *led.entry(voters[0]).or_default() += 1;
        }
    }
}

/// The `count` servers that hold `shard`, the one that should lead it first.
pub(crate) fn place(shard: ShardId, servers: &BTreeSet<ServerId>, count: usize) -> Vec<ServerId> {
    let mut ranked: Vec<(u64, ServerId)> =
        servers.iter().map(|server| (score(shard, *server), *server)).collect();
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    ranked.into_iter().take(count).map(|(_, server)| server).collect()
}

/// The servers that hold group 0: an odd number of them, at most 5. Those that hold it already stay,
/// the others are the lowest ids.
pub(crate) fn meta_voters(servers: &BTreeSet<ServerId>, current: &[ServerId]) -> Vec<ServerId> {
    let count = servers.len().min(META_VOTERS_MAX);
    let odd = if count.is_multiple_of(2) && count > 2 { count - 1 } else { count };
    let stay = current.iter().filter(|server| servers.contains(server));
    let others = servers.iter().filter(|server| !current.contains(server));
    let mut voters: Vec<ServerId> = stay.chain(others).copied().take(odd).collect();
    voters.sort_unstable();
    voters
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
        let mut led = BTreeMap::new();
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
            assert_eq!(voter_count(copies, false, servers), voters, "{copies} of {servers}");
        }
        assert_eq!(voter_count(2, true, 5), 2);
        assert_eq!(voter_count(4, true, 3), 3);
    }

    #[test]
    fn every_server_is_to_lead_about_as_many_shards_as_the_others() {
        for count in 3..8 {
            let mut shards: Vec<_> =
                (0..64).map(|shard| place(ShardId(shard), &servers(count), 3)).collect();
            let before: Vec<BTreeSet<_>> =
                shards.iter().map(|voters| voters.iter().copied().collect()).collect();
            spread_leaders(&mut shards);
            let mut led = BTreeMap::new();
            for (voters, before) in shards.iter().zip(&before) {
                assert_eq!(voters.iter().copied().collect::<BTreeSet<_>>(), *before);
                *led.entry(voters[0]).or_insert(0_u64) += 1;
            }
            let (least, most) = (led.values().min().unwrap(), led.values().max().unwrap());
            assert!(led.len() as u64 == count && most - least <= 2, "{led:?}");
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
        let counts: Vec<usize> = (1..=7).map(|n| meta_voters(&servers(n), &[]).len()).collect();
        assert_eq!(counts, [1, 2, 3, 3, 5, 5, 5]);
    }

    #[test]
    fn who_holds_group_0_goes_on_to_hold_it() {
        let all: Vec<ServerId> = servers(4).into_iter().collect();
        assert_eq!(meta_voters(&servers(4), &all[1..]), all[1..]);
        // One of them has left, another server takes its place.
        let left = servers(4).into_iter().filter(|server| *server != all[2]).collect();
        assert_eq!(meta_voters(&left, &all[1..]), [all[0], all[1], all[3]]);
    }
}
