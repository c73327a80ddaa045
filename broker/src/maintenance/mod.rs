//! What has to be done from time to time: apply retention, delete what is due, write checkpoints, sync what is old,
//! forget producers. One task, one second's step; the work itself runs on disk threads. When an append finds no room
//! retention does not wait for its time, and deleted files go at once.

pub(crate) mod reports;

use std::sync::Arc;
use std::time::Duration;

use milena_protocol::Timestamp;
use milena_storage::disk::Disk;
use milena_storage::log_dir::OffsetCheckpoint;
use tokio::sync::watch;

use crate::node::Node;
use crate::replica::partition::Partition;

const STEP: Duration = Duration::from_secs(1);

/// A duty that comes again: pure, so that its times can be tested.
#[derive(Debug, Clone, Copy)]
struct Duty {
    interval_ms: i64,
    due_at: i64,
}

impl Duty {
    fn after(now_ms: i64, delay_ms: i64, interval_ms: i64) -> Self {
        Self { interval_ms, due_at: now_ms.saturating_add(delay_ms) }
    }

    /// Whether it is time; if so the next time is set.
    fn take(&mut self, now_ms: i64) -> bool {
        let due = now_ms >= self.due_at;
        if due {
            self.due_at = now_ms.saturating_add(self.interval_ms);
        }
        due
    }
}

/// Runs until `stop` turns true. Owned by `Broker`.
pub(crate) async fn run(node: Arc<Node>, disk: Arc<dyn Disk>, mut stop: watch::Receiver<bool>) {
    let settings = Arc::clone(&node.settings());
    let started = node.clock.monotonic().as_millis() as i64;
    let initial = settings.log_initial_task_delay_ms;
    let every = |interval_ms: i64| Duty::after(started, interval_ms, interval_ms);
    let mut retention = Duty::after(started, initial, settings.log_retention_check_interval_ms);
    let mut recovery_points = every(i64::from(settings.log_flush_offset_checkpoint_interval_ms));
    let mut log_starts = every(i64::from(settings.log_flush_start_offset_checkpoint_interval_ms));
    let mut high_watermarks = every(settings.replica_high_watermark_checkpoint_interval_ms);
    let mut producers = every(i64::from(settings.producer_id_expiration_check_interval_ms));
    let mut makes_room = false;
    loop {
        makes_room = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(STEP) => false,
            // A producer that is refused asks at once; one round a step is enough.
            () = node.replicas.directories().room_wanted(), if !makes_room => true,
        };
        let now_ms = node.clock.monotonic().as_millis() as i64;
        let due = Due {
            retention: retention.take(now_ms) || makes_room,
            recovery_points: recovery_points.take(now_ms),
            log_starts: log_starts.take(now_ms),
            high_watermarks: high_watermarks.take(now_ms),
            producers: producers.take(now_ms),
        };
        let (node, disk) = (Arc::clone(&node), Arc::clone(&disk));
        let step = tokio::task::spawn_blocking(move || due.execute(&node, &*disk));
        if step.await.is_err() {
            tracing::error!(target: "kafka.server.KafkaScheduler", "a maintenance step ended early");
        }
    }
}

/// What a step has to do.
#[derive(Debug, Clone, Copy)]
struct Due {
    retention: bool,
    recovery_points: bool,
    log_starts: bool,
    high_watermarks: bool,
    producers: bool,
}

impl Due {
    fn execute(self, node: &Node, disk: &dyn Disk) {
        let now = node.now();
        let partitions = node.replicas.all();
        for partition in partitions.iter().filter(|partition| !partition.is_offline()) {
            partition.sync_if_older_than_flush_ms(now);
            if self.retention {
                retain(node, partition, now);
            }
            if self.producers {
                partition.with_log_blocking(|log| log.expire_producers(now));
            }
        }
        let directories = node.replicas.directories();
        for (log_dir, deletion) in node.replicas.due_deletions(now) {
            if let Err(error) = deletion.execute(disk) {
                tracing::error!(target: "kafka.log.LogManager", "{error}");
                if error.is_device_failure() {
                    directories.fail(log_dir, &error);
                }
            }
        }
        for log_dir in 0..directories.len() {
            if self.recovery_points {
                directories.write_checkpoint(log_dir, OffsetCheckpoint::RecoveryPoint, &partitions, |partition| {
                    Some(partition.recovery_point())
                });
            }
            if self.high_watermarks {
                directories.write_checkpoint(log_dir, OffsetCheckpoint::HighWatermark, &partitions, |partition| {
                    Some(partition.high_watermark())
                });
            }
            if self.log_starts {
                directories.write_checkpoint(log_dir, OffsetCheckpoint::LogStartOffset, &partitions, |partition| {
                    Some(partition.reader().log_start_offset()).filter(|offset| *offset > 0)
                });
            }
        }
    }
}

fn retain(node: &Node, partition: &Partition, now: Timestamp) {
    let high_watermark = partition.high_watermark();
    match partition.with_log_blocking(|log| log.run_retention(now, high_watermark)) {
        Ok(Some(deletion)) => {
            partition.fetch_waiters.wake_all();
            node.replicas.schedule_deletion(partition.log_dir, deletion);
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(target: "kafka.log.LogManager", "retention of {}: {error}", partition.topic_partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duty_comes_after_its_delay_and_then_at_its_interval() {
        let mut duty = Duty::after(100, 30, 5);
        let times: Vec<i64> = (100..145).filter(|now| duty.take(*now)).collect();
        assert_eq!(times, [130, 135, 140]);
    }

    #[test]
    fn an_interval_of_for_ever_never_comes() {
        let mut duty = Duty::after(100, i64::MAX, i64::MAX);
        assert!(!duty.take(i64::MAX - 1));
    }
}
