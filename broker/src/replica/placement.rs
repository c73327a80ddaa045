//! Which replicas do not lie where the metadata has them, and which lie in a log dir that has failed.

use tokio::sync::Notify;
use uuid::Uuid;

use super::Replicas;

impl Replicas {
    /// Notified whenever replicas have come to lie somewhere.
    pub(crate) fn placed(&self) -> &Notify {
        &self.placed
    }

    /// The partitions of failed log dirs go offline: whoever waits for them is told. Answers the ids of these log dirs.
    pub(crate) fn fail_what_lies_offline(&self) -> Vec<Uuid> {
        let directories = &self.directories;
        if !directories.any_offline() {
            return Vec::new();
        }
        for partition in self.all().iter().filter(|partition| partition.is_offline()) {
            partition.fail();
        }
        let offline = directories.iter().filter(|directory| directory.health.is_offline() && !directory.id.is_nil());
        offline.map(|directory| directory.id).collect()
    }

    /// Log dir, topic and index of the partitions that the metadata has in another log dir, or in none.
    pub(crate) fn misplaced(&self) -> Vec<(Uuid, Uuid, i32)> {
        let image = self.image();
        let misplaced = self.all().into_iter().filter_map(|partition| {
            let actual = self.directories.get(partition.log_dir).id;
            let index = partition.topic_partition.partition;
            let assigned = image.topics.partition_by_id(partition.topic_id, index)?.directory(self.local)?;
            (assigned != actual).then_some((actual, partition.topic_id, index))
        });
        misplaced.collect()
    }
}
