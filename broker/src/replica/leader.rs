//! A partition's leader in Kafka's ISR replication, as a pure state machine.
//!
//! It knows how far every replica has come and moves the high watermark; it does no IO and keeps no clock. With one
//! replica the in-sync set has one member and the high watermark is its own log end; followers only add members.
//! Source: `kafka.cluster.Partition` (maybeIncrementLeaderHW, updateFollowerFetchState), KIP-966.

use std::collections::BTreeMap;

use milena_protocol::{LeaderEpoch, Offset, Timestamp};

/// What the leader knows of one follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// The next offset it wants: it has all before.
    pub log_end_offset: Offset,
    /// When it last had everything.
    pub last_caught_up_ms: Timestamp,
}

/// The leader of one partition for one leader epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "leader_epoch is Kafka's word")]
pub struct Leader {
    leader_epoch: LeaderEpoch,
    epoch_start_offset: Offset,
    local: i32,
    /// The end of what this replica counts as its own: its log end, or what it has flushed where acknowledgements
    /// wait for that.
    local_end_offset: Offset,
    /// The maximal in-sync set: members and those whose joining is under way.
    in_sync: Vec<i32>,
    followers: BTreeMap<i32, Follower>,
    min_in_sync: usize,
    high_watermark: Offset,
}

/// What a partition's metadata says to its leader.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a> {
    /// The leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// This broker's id.
    pub local: i32,
    /// All replicas.
    pub replicas: &'a [i32],
    /// The in-sync replicas.
    pub in_sync: &'a [i32],
    /// `min.insync.replicas`, not yet capped by the number of replicas.
    pub min_in_sync: i32,
}

impl Leader {
    /// Takes over a log that ends at `log_end_offset`, with the high watermark this replica knew.
    pub fn new(term: Term<'_>, log_end_offset: Offset, high_watermark: Offset, now: Timestamp) -> Self {
        let follower = Follower { log_end_offset: -1, last_caught_up_ms: now };
        let followers = term.replicas.iter().filter(|id| **id != term.local).map(|id| (*id, follower)).collect();
        let mut leader = Self {
            leader_epoch: term.leader_epoch,
            epoch_start_offset: log_end_offset,
            local: term.local,
            local_end_offset: log_end_offset,
            in_sync: term.in_sync.to_vec(),
            followers,
            min_in_sync: effective_min_in_sync(term.min_in_sync, term.replicas.len()),
            high_watermark: high_watermark.min(log_end_offset),
        };
        leader.advance();
        leader
    }

    /// The epoch of this leadership.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The log end at which this leadership began.
    pub fn epoch_start_offset(&self) -> Offset {
        self.epoch_start_offset
    }

    /// First offset that is not known to be on every in-sync replica (exclusive end of what consumers see).
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// Whether a write with `acks=-1` may be taken: NOT_ENOUGH_REPLICAS otherwise.
    pub fn has_enough_in_sync(&self) -> bool {
        self.in_sync.len() >= self.min_in_sync
    }

    /// This replica has everything before `end_offset`. Returns the high watermark if it moved.
    pub fn on_local_end(&mut self, end_offset: Offset) -> Option<Offset> {
        self.local_end_offset = self.local_end_offset.max(end_offset);
        self.advance()
    }

    /// A follower asks for `fetch_offset`: it has everything before. Returns the high watermark if it moved.
    pub fn on_follower_fetch(&mut self, follower: i32, fetch_offset: Offset, now: Timestamp) -> Option<Offset> {
        let state = self.followers.get_mut(&follower)?;
        state.log_end_offset = fetch_offset;
        if fetch_offset >= self.local_end_offset {
            state.last_caught_up_ms = now;
        }
        self.advance()
    }

    /// The in-sync set changed. Returns the high watermark if it moved.
    pub fn on_in_sync(&mut self, in_sync: &[i32]) -> Option<Offset> {
        self.in_sync.clear();
        self.in_sync.extend_from_slice(in_sync);
        self.advance()
    }

    /// `min.insync.replicas` changed. Returns the high watermark if it moved.
    pub fn on_min_in_sync(&mut self, min_in_sync: i32) -> Option<Offset> {
        self.min_in_sync = effective_min_in_sync(min_in_sync, self.followers.len() + 1);
        self.advance()
    }

    fn advance(&mut self) -> Option<Offset> {
        if !self.has_enough_in_sync() {
            return None;
        }
        let end_of = |id: &i32| {
            if *id == self.local {
                self.local_end_offset
            } else {
                self.followers.get(id).map_or(-1, |f| f.log_end_offset)
            }
        };
        let everyone_has = self.in_sync.iter().map(end_of).min()?;
        if everyone_has <= self.high_watermark {
            return None;
        }
        self.high_watermark = everyone_has;
        Some(everyone_has)
    }
}

/// A minimum above the replication factor could never be met (KAFKA-15583).
fn effective_min_in_sync(min_in_sync: i32, replicas: usize) -> usize {
    (min_in_sync.max(1) as usize).min(replicas.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader(replicas: &[i32], in_sync: &[i32], min_in_sync: i32) -> Leader {
        Leader::new(Term { leader_epoch: 3, local: 1, replicas, in_sync, min_in_sync }, 10, 5, 0)
    }

    #[test]
    fn alone_its_log_end_is_the_high_watermark() {
        let mut leader = leader(&[1], &[1], 1);
        assert_eq!(leader.high_watermark(), 10);
        assert_eq!(leader.on_local_end(12), Some(12));
        assert_eq!(leader.on_local_end(12), None);
    }

    #[test]
    fn the_slowest_in_sync_replica_holds_the_high_watermark() {
        let mut leader = leader(&[1, 2, 3], &[1, 2, 3], 2);
        assert_eq!(leader.high_watermark(), 5);
        assert_eq!(leader.on_follower_fetch(2, 10, 1), None);
        assert_eq!(leader.on_follower_fetch(3, 8, 1), Some(8));
        assert_eq!(leader.on_in_sync(&[1, 2]), Some(10));
    }

    #[test]
    fn below_the_minimum_nothing_moves_and_nothing_is_taken() {
        let mut leader = leader(&[1, 2, 3], &[1], 2);
        assert!(!leader.has_enough_in_sync());
        assert_eq!(leader.on_local_end(20), None);
        assert_eq!(leader.high_watermark(), 5);
        assert_eq!(leader.on_min_in_sync(1), Some(20));
    }

    #[test]
    fn a_minimum_above_the_replication_factor_is_capped() {
        assert!(leader(&[1], &[1], 3).has_enough_in_sync());
    }

    #[test]
    fn it_never_goes_back() {
        let mut leader = leader(&[1, 2], &[1, 2], 1);
        leader.on_follower_fetch(2, 9, 1);
        assert_eq!(leader.on_follower_fetch(2, 6, 1), None);
        assert_eq!(leader.high_watermark(), 9);
    }
}
