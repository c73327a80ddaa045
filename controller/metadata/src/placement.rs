//! Where the replicas of new partitions go.
//!
//! The stripes of `StripedReplicaPlacer`: replicas of one partition on as many racks as there are, leaders spread over
//! all brokers, a replica on a fenced broker only when there are not enough others, and never the first one. All
//! chance comes from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::UNASSIGNED_DIRECTORY;
use crate::image::{BrokersImage, MetadataImage};

/// Why replicas cannot be placed; displays as Kafka words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PlacementError {
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
    #[error(
        "The target replication factor of {replication_factor} cannot be reached because only {registered} broker(s) \
         are registered or some brokers have all their log directories cordoned."
    )]
    TooFewBrokers { replication_factor: i16, registered: usize },
}

/// The replicas of each of `partition_count` new partitions, the preferred leader first.
pub fn place(
    brokers: &BrokersImage,
    partition_count: i32,
    replication_factor: i16,
    rng: &mut impl Rng,
) -> Result<Vec<Vec<i32>>, PlacementError> {
    if replication_factor <= 0 {
        return Err(PlacementError::NotPositive(replication_factor));
    }
    let mut racks = Racks::new(brokers, rng);
    if racks.unfenced_count == 0 {
        return Err(PlacementError::AllFenced);
    }
    if racks.broker_count < replication_factor as usize {
        return Err(PlacementError::TooFewBrokers { replication_factor, registered: racks.broker_count });
    }
    Ok((0..partition_count).map(|_| racks.place(replication_factor as usize, rng)).collect())
}

/// A generator for one decision.
pub(crate) fn rng(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// An id for a new topic: like `Uuid.randomUuid`, never reserved, never starting with a dash, and not taken.
pub(crate) fn topic_id(image: &MetadataImage, rng: &mut impl Rng) -> Uuid {
    loop {
        let id = uuid::Builder::from_random_bytes(rng.random()).into_uuid();
        // The text form is URL-safe base64, whose 62nd digit is the dash: six leading bits of 111110.
        let starts_with_dash = id.as_bytes().first().is_some_and(|byte| byte >> 2 == 62);
        if !starts_with_dash && image.topics.by_id(id).is_none() {
            return id;
        }
    }
}

/// The directory of a new replica: the broker's if it has but one, else the broker chooses and tells.
pub(crate) fn default_directory(brokers: &BrokersImage, broker_id: i32) -> Uuid {
    match brokers.get(broker_id).map(|broker| broker.log_dirs.as_slice()) {
        Some([only]) => *only,
        Some([]) => crate::MIGRATING_DIRECTORY,
        _ => UNASSIGNED_DIRECTORY,
    }
}

/// Brokers in a shuffled circle, gone round once per epoch from a place that moves on.
struct Circle {
    brokers: Vec<i32>,
    epoch: usize,
    offset: usize,
    index: usize,
}

impl Circle {
    fn next(&mut self, epoch: usize) -> Option<i32> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.epoch != epoch {
            self.epoch = epoch;
            self.index = 0;
            self.offset = (self.offset + 1) % self.brokers.len();
        }
        if self.index >= self.brokers.len() {
            return None;
        }
        let broker = self.brokers.get((self.index + self.offset) % self.brokers.len()).copied();
        self.index += 1;
        broker
    }

    fn shuffle(&mut self, rng: &mut impl Rng) {
        self.brokers.shuffle(rng);
        self.epoch = 0;
        self.index = 0;
        self.offset = 0;
    }
}

type UnfencedAndFenced = (Vec<i32>, Vec<i32>);

struct Rack {
    unfenced: Circle,
    fenced: Circle,
}

struct Racks {
    members: Vec<Rack>,
    broker_count: usize,
    unfenced_count: usize,
    epoch: usize,
    offset: usize,
}

impl Racks {
    fn new(brokers: &BrokersImage, rng: &mut impl Rng) -> Self {
        let mut by_rack: BTreeMap<Option<Arc<str>>, UnfencedAndFenced> = BTreeMap::new();
        let all_cordoned =
            |cordoned: &[Uuid], dirs: &[Uuid]| !dirs.is_empty() && dirs.iter().all(|dir| cordoned.contains(dir));
        for broker in brokers.iter() {
            if broker.cordoned_log_dirs.as_ref().is_some_and(|cordoned| all_cordoned(cordoned, &broker.log_dirs)) {
                continue;
            }
            let (unfenced, fenced) = by_rack.entry(broker.rack.clone()).or_default();
            if broker.fenced { fenced.push(broker.id) } else { unfenced.push(broker.id) }
        }
        let circle = |brokers| Circle { brokers, epoch: 0, offset: 0, index: 0 };
        let broker_count = by_rack.values().map(|(unfenced, fenced)| unfenced.len() + fenced.len()).sum();
        let unfenced_count = by_rack.values().map(|(unfenced, _)| unfenced.len()).sum();
        let racks = by_rack
            .into_values()
            .map(|(unfenced, fenced)| Rack { unfenced: circle(unfenced), fenced: circle(fenced) })
            .collect();
        let mut racks = Racks { members: racks, broker_count, unfenced_count, epoch: 0, offset: 0 };
        racks.shuffle(rng);
        racks
    }

    fn shuffle(&mut self, rng: &mut impl Rng) {
        self.members.shuffle(rng);
        for rack in &mut self.members {
            rack.unfenced.shuffle(rng);
            rack.fenced.shuffle(rng);
        }
        self.epoch = 0;
    }

    /// At least one broker is unfenced, and there are at least as many brokers as replicas.
    fn place(&mut self, replication_factor: usize, rng: &mut impl Rng) -> Vec<i32> {
        if self.epoch == self.unfenced_count {
            self.shuffle(rng);
        }
        let (epoch, count) = (self.epoch, self.members.len());
        let start = self.offset % count;
        let mut replicas = Vec::with_capacity(replication_factor);
        let mut leader_rack = None;
        for step in 0..count {
            let index = (start + step) % count;
            if let Some(leader) = self.members.get_mut(index).and_then(|rack| rack.unfenced.next(epoch)) {
                replicas.push(leader);
                leader_rack = Some(index);
                break;
            }
        }
        let mut index = start;
        while replicas.len() < replication_factor {
            if leader_rack == Some(index) {
                leader_rack = None;
            } else if let Some(rack) = self.members.get_mut(index)
                && let Some(replica) = rack.unfenced.next(epoch).or_else(|| rack.fenced.next(epoch))
            {
                replicas.push(replica);
            }
            index = (index + 1) % count;
        }
        self.epoch += 1;
        self.offset = (start + 1) % count;
        replicas
    }
}
