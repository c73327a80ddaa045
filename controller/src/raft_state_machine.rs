//! The state machine: applies committed metadata records to the image and publishes it; snapshots are the image's records.
//!
//! Every record takes one offset, and so does an entry without records (Kafka's log holds a control record there), so offsets grow as they do in
//! Kafka's metadata log. The state lives in memory: after a restart openraft installs the newest snapshot and applies what follows.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use milena_metadata::{
    MetadataDelta, MetadataImage, Record,
    record::{decode_all, encode_all},
};
use milena_storage::{disk::Disk, env::DiskThreads};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
    type_config::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf},
};

use crate::{
    changes::Published,
    log::{
        frame::LogId,
        segments::MetadataLogError,
        snapshot::{self, Snapshot},
    },
    raft::TypeConfig,
    raft_log::{decode_membership, encode_membership, from_raft_id, to_raft_id},
};

/// Records per chunk of a snapshot.
const RECORDS_PER_CHUNK: usize = 4096;

/// Where snapshots live. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SnapshotStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    threads: Arc<dyn DiskThreads>,
    log_dir: usize,
    /// The last entry of the newest snapshot.
    newest: Arc<Mutex<Option<LogId>>>,
}

impl SnapshotStore {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        threads: Arc<dyn DiskThreads>,
        log_dir: usize,
    ) -> Result<Self, MetadataLogError> {
        let newest = Arc::new(Mutex::new(snapshot::recover(disk.as_ref(), &dir)?));
        Ok(Self { disk, dir, threads, log_dir, newest })
    }

    fn newest(&self) -> MutexGuard<'_, Option<LogId>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes what `make` returns the newest snapshot, unless it is that already, as at a start.
    async fn write(&self, make: impl FnOnce() -> Snapshot + Send + 'static) -> io::Result<Snapshot> {
        let newest = *self.newest();
        let snapshot = self
            .run(move |disk, dir| {
                let snapshot = make();
                if newest != Some(snapshot.last) {
                    snapshot::write(disk, dir, &snapshot)?;
                }
                Ok(snapshot)
            })
            .await?;
        *self.newest() = Some(snapshot.last);
        Ok(snapshot)
    }

    async fn read(&self) -> io::Result<Option<Snapshot>> {
        let newest = *self.newest();
        match newest {
            Some(last) => self.run(move |disk, dir| snapshot::read(disk, dir, last)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Runs work on a disk thread: neither encoding nor the disk may hold up heartbeats.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn Disk, &Path) -> Result<T, MetadataLogError> + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        let job = move || {
            // A receiver that is gone no longer wants to know.
            let _ = sender.send(job(disk.as_ref(), &dir));
        };
        self.threads.run(self.log_dir, Box::new(job));
        receiver.await.map_err(|_| io::Error::other("the disk thread died"))?.map_err(io::Error::other)
    }
}

/// The applied state.
pub(crate) struct StateMachine {
    published: Arc<Published>,
    store: SnapshotStore,
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
}

impl StateMachine {
    pub(crate) fn new(published: Arc<Published>, store: SnapshotStore) -> Self {
        Self { published, store, applied: None, membership: StoredMembershipOf::<TypeConfig>::default() }
    }

    async fn apply_records(&mut self, id: LogIdOf<TypeConfig>, records: &[Record]) {
        let before = self.published.image();
        let id = from_raft_id(id);
        let offset = before.offset + records.len().max(1) as i64;
        let (image, delta) = before.apply(records, offset, id.term as i32);
        self.published.publish(image, delta, id).await;
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = Snapshot;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let id = entry.log_id();
            let records = match entry.payload {
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Normal(batch) => decode_all(&batch.0).map_err(io::Error::other)?,
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembershipOf::<TypeConfig>::new(Some(id), membership);
                    Vec::new()
                }
            };
            self.apply_records(id, &records).await;
            self.applied = Some(id);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            image: self.published.image(),
            applied: self.applied,
            membership: self.membership.clone(),
            store: self.store.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, snapshot: Snapshot) -> io::Result<()> {
        let last = snapshot.last;
        let image = image_of(&snapshot).map_err(io::Error::other)?;
        self.store.write(move || snapshot).await?;
        let delta = MetadataDelta::between(&self.published.image(), &image);
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.published.publish(image, delta, last).await;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Snapshot>>> {
        let newest = self.store.read().await?;
        newest
            .map(|snapshot| {
                let membership = decode_membership(&snapshot.membership)?;
                let last_membership =
                    StoredMembershipOf::<TypeConfig>::new(snapshot.membership_at.map(to_raft_id), membership);
                let meta =
                    SnapshotMetaOf::<TypeConfig> { last_log_id: Some(to_raft_id(snapshot.last)), last_membership };
                Ok(SnapshotOf::<TypeConfig, Snapshot> { meta, snapshot })
            })
            .transpose()
    }
}

/// A view of the state that later entries do not change.
pub(crate) struct SnapshotBuilder {
    image: Arc<MetadataImage>,
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
    store: SnapshotStore,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = Snapshot;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Snapshot>> {
        let meta = SnapshotMetaOf::<TypeConfig> { last_log_id: self.applied, last_membership: self.membership.clone() };
        let membership = encode_membership(self.membership.membership())?;
        let membership_at = self.membership.log_id().map(from_raft_id);
        let image = Arc::clone(&self.image);
        let Some(applied) = self.applied else {
            // Nothing was applied: true, and not worth a file.
            let snapshot = snapshot_of(&image, LogId { term: 0, index: 0 }, membership, membership_at);
            return Ok(SnapshotOf::<TypeConfig, Snapshot> { meta, snapshot });
        };
        let last = from_raft_id(applied);
        let snapshot = self.store.write(move || snapshot_of(&image, last, membership, membership_at)).await?;
        tracing::info!("Snapshot of the metadata at offset {} written", self.image.offset);
        Ok(SnapshotOf::<TypeConfig, Snapshot> { meta, snapshot })
    }
}

fn snapshot_of(image: &MetadataImage, last: LogId, membership: Bytes, membership_at: Option<LogId>) -> Snapshot {
    let records = image.records().chunks(RECORDS_PER_CHUNK).map(|chunk| encode_all(chunk).into()).collect();
    Snapshot { last, membership, membership_at, offset: image.offset, records }
}

fn image_of(snapshot: &Snapshot) -> Result<MetadataImage, String> {
    let mut records = Vec::new();
    for chunk in &snapshot.records {
        records.extend(decode_all(chunk).map_err(|error| error.to_string())?);
    }
    Ok(MetadataImage::from_records(&records, snapshot.offset, snapshot.last.term as i32))
}
