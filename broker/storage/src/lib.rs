//! Kafka's segment files: logs, indexes, producer state, recovery, disks.
//!
//! A [`Log`] is one partition; the broker holds it in that partition's append lock and every method is synchronous. Readers use the [`LogReader`] it
//! publishes and never take that lock. Pure parts (producer state, leader epochs, retention, validation) know neither files nor time; `now` is an
//! argument everywhere. What is absent: sockets, tokio, metadata, clocks, threads. `docs/storage.md` describes the bytes on disk.

pub mod checkpoint;
pub mod descriptors;
pub mod disk;
pub mod env;
pub mod error;
pub mod leader_epochs;
mod log;
mod log_config;
pub mod log_dir;
pub mod offset_index;
pub mod planted;
pub mod producer_state;
mod recovery;
mod replay;
pub mod retention;
mod scan;
mod segment;
pub mod snapshot;
mod sync;
pub mod time_index;
pub mod transaction_index;
pub mod validate;
mod view;

pub use descriptors::Descriptors;
pub use disk::{Disk, DiskFile, OsDisk, SimDisk};
pub use error::{AppendError, ReadError, StorageError};
pub use log::{ActiveProducer, AppendInfo, AppendOrigin, Log, OpenLog, RecoveryReport, ScheduledDeletion};
pub use log_config::{CleanupPolicy, CompressionType, InvalidLogConfig, LogConfig, TimestampType};
pub use log_dir::{LogDir, LogDirError};
pub use sync::{SyncHandle, Synced};
pub use transaction_index::AbortedTransaction;
pub use view::{LogReader, RangeCheck, ReadPlan, TimestampOffset};
