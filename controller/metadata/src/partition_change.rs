//! Changes of a partition's leader and in-sync replicas.
//!
//! `PartitionChangeBuilder` of Kafka 4.3: from the state of a partition and what is wanted of it (another ISR, an
//! election) to the record that says so, or to none when nothing would change. With eligible leader replicas (KIP-966)
//! the ISR may become empty: who was in it when it fell below min.insync.replicas and stopped cleanly stays eligible;
//! who did not is only the last known leader, and its election counts as unclean.

use uuid::Uuid;

use crate::image::PartitionRegistration;
use crate::record::{LEADER_RECOVERING, NO_LEADER, NO_LEADER_CHANGE, PartitionChangeRecord};

/// Which leader is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The first replica if it may lead, else as `Online`.
    Preferred,
    /// The present leader if it may stay, else any replica that lost nothing.
    Online,
    /// As `Online`, else any replica that is there, even if records are lost.
    Unclean,
}

/// A change of one partition in the making.
pub struct PartitionChange<'a> {
    /// The state before.
    pub partition: &'a PartitionRegistration,
    /// Which topic it belongs to.
    pub topic_id: Uuid,
    /// Which partition of the topic it is.
    pub partition_id: i32,
    /// Whether a broker may lead this partition: alive, not stopping, with its directory online.
    pub is_acceptable_leader: &'a dyn Fn(i32) -> bool,
    /// The topic's `min.insync.replicas`.
    pub min_isr: usize,
    /// Whether eligible leader replicas are kept.
    pub elr_enabled: bool,
    /// Which leader is wanted.
    pub election: Election,
    /// The in-sync replicas that are wanted.
    pub target_isr: Vec<i32>,
    /// A replica that stopped without saying so: no longer eligible.
    pub unclean_shutdown_replica: Option<i32>,
}

impl std::fmt::Debug for PartitionChange<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PartitionChange")
            .field("topic_id", &self.topic_id)
            .field("partition_id", &self.partition_id)
            .field("election", &self.election)
            .field("target_isr", &self.target_isr)
            .finish_non_exhaustive()
    }
}

struct Elected {
    leader: i32,
    unclean: bool,
}

impl<'a> PartitionChange<'a> {
    /// A change that keeps the ISR and asks for any online leader.
    pub fn new(
        partition: &'a PartitionRegistration,
        topic_id: Uuid,
        partition_id: i32,
        is_acceptable_leader: &'a dyn Fn(i32) -> bool,
        min_isr: usize,
        elr_enabled: bool,
    ) -> Self {
        PartitionChange {
            partition,
            topic_id,
            partition_id,
            is_acceptable_leader,
            min_isr,
            elr_enabled,
            election: Election::Online,
            target_isr: partition.isr.clone(),
            unclean_shutdown_replica: None,
        }
    }

    /// The record that makes the change; None when nothing changes.
    pub fn build(self) -> Option<PartitionChangeRecord> {
        let partition = self.partition;
        let mut record = PartitionChangeRecord::new(self.topic_id, self.partition_id);
        let mut target_isr = self.target_isr.clone();
        let mut target_elr = self.target_elr();

        let elected = self.elect(&target_isr, &target_elr);
        if elected.leader != partition.leader {
            record.leader = elected.leader;
            if elected.unclean {
                record.isr = Some(vec![elected.leader]);
                if partition.leader_recovery_state != LEADER_RECOVERING {
                    record.leader_recovery_state = LEADER_RECOVERING;
                }
            } else if target_elr.contains(&elected.leader) {
                target_isr = vec![elected.leader];
                target_elr.retain(|replica| *replica != elected.leader);
            }
        }

        let unclean = record.isr.is_some();
        if unclean || !self.elr_enabled {
            target_elr.clear();
        }
        if target_elr != partition.elr {
            record.eligible_leader_replicas = Some(target_elr);
        }
        if !unclean && (!target_isr.is_empty() || self.elr_enabled) && target_isr != partition.isr {
            record.isr = Some(target_isr);
        }
        self.set_last_known_leader(&mut record);
        (record != PartitionChangeRecord::new(self.topic_id, self.partition_id)).then_some(record)
    }

    /// Who is eligible after the change: nobody while enough replicas are in sync, else everybody who was eligible or in
    /// sync before, is not in sync now and did not stop uncleanly.
    fn target_elr(&self) -> Vec<i32> {
        let enough = self.min_isr.min(self.partition.replicas.len());
        if !self.elr_enabled || self.target_isr.len() >= enough {
            return Vec::new();
        }
        let mut elr = self.partition.elr.clone();
        elr.extend(&self.partition.isr);
        elr.retain(|replica| !self.target_isr.contains(replica) && self.unclean_shutdown_replica != Some(*replica));
        elr.sort_unstable();
        elr.dedup();
        elr
    }

    fn elect(&self, target_isr: &[i32], target_elr: &[i32]) -> Elected {
        let acceptable = |replica: i32| (self.is_acceptable_leader)(replica);
        let lost_nothing =
            |replica: i32| (target_isr.contains(&replica) || target_elr.contains(&replica)) && acceptable(replica);
        let clean = |leader| Elected { leader, unclean: false };
        let replicas = &self.partition.replicas;

        let preferred = self.partition.preferred_replica();
        if self.election == Election::Preferred && lost_nothing(preferred) {
            return clean(preferred);
        }
        if lost_nothing(self.partition.leader) {
            return clean(self.partition.leader);
        }
        if let Some(replica) = replicas.iter().find(|replica| lost_nothing(**replica)) {
            return clean(*replica);
        }
        if let Some(leader) = self.last_known_leader(target_isr, target_elr) {
            return Elected { leader, unclean: true };
        }
        if self.election == Election::Unclean
            && let Some(replica) = replicas.iter().find(|replica| acceptable(**replica))
        {
            return Elected { leader: *replica, unclean: true };
        }
        clean(NO_LEADER)
    }

    /// With nobody in sync or eligible, the one that led last, if it is back.
    fn last_known_leader(&self, target_isr: &[i32], target_elr: &[i32]) -> Option<i32> {
        if !self.elr_enabled || !target_isr.is_empty() || !target_elr.is_empty() {
            return None;
        }
        match *self.partition.last_known_elr {
            [leader] if (self.is_acceptable_leader)(leader) => Some(leader),
            _ => None,
        }
    }

    /// Kafka uses the last known replicas to remember one: who led when the ISR became empty.
    fn set_last_known_leader(&self, record: &mut PartitionChangeRecord) {
        if !self.elr_enabled {
            return;
        }
        let before = &self.partition.last_known_elr;
        let isr_becomes_empty = record.isr.as_ref().is_some_and(Vec::is_empty);
        if isr_becomes_empty && self.partition.has_leader() && **before != [self.partition.leader] {
            record.last_known_elr = Some(vec![self.partition.leader]);
        } else if !before.is_empty() {
            let stays = record.leader == NO_LEADER_CHANGE && self.partition.has_leader();
            if record.leader >= 0 || stays {
                record.last_known_elr = Some(Vec::new());
            }
        }
    }
}
