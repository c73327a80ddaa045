//! openraft's log store over the metadata log.
//!
//! What readers see is a view in memory, bounded by the snapshots that purge it; what is on disk follows through the queue, in the same order. An
//! append calls back when its entries are durable. A vote returns when it is, with one exception: a vote that only becomes *committed* (same term, same
//! node) is not worth a sync of its own. If a crash takes that bit, the node wakes up with the same vote uncommitted: it can grant nobody else in that
//! term, and an entry written under the committed vote stands behind it in the stream, so it cannot survive without it.

use std::{
    collections::VecDeque,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::{
    BasicNode, EntryPayload, LogState, Membership, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    type_config::alias::{EntryOf, LogIdOf, VoteOf},
};

use crate::{
    log::{
        frame::{Entry, Frame, LogId, Payload, Vote},
        queue::{Durability, LogQueue},
        segments::View,
    },
    node::NodeId,
    raft::{MetadataBatch, TypeConfig},
};

/// The log store; also its own reader.
#[derive(Clone)]
pub(crate) struct RaftLog {
    view: Arc<Mutex<View>>,
    queue: LogQueue,
}

impl RaftLog {
    pub(crate) fn new(view: View, queue: LogQueue) -> Self {
        Self { view: Arc::new(Mutex::new(view)), queue }
    }

    /// Whether the log lives on its reserve: nothing may make it longer that need not.
    pub(crate) async fn is_short_of_room(&self) -> bool {
        self.queue.is_short_of_room().await
    }

    /// Marks the end of an orderly life and waits until everything is durable.
    pub(crate) async fn close(&self) -> io::Result<()> {
        // First everything else, so that the closing frame proves it and the next start need not sync again.
        self.queue.push_and_wait(Vec::new(), Durability::Synced).await?;
        self.queue.push_and_wait(vec![Frame::Closed], Durability::Synced).await
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows frames to readers at once; the disk follows.
    fn show(&self, frames: &[Frame]) -> io::Result<()> {
        let mut view = self.view();
        let applied = frames.iter().try_for_each(|frame| view.apply(frame.clone()));
        applied.and_then(|()| view.check()).map_err(io::Error::other)
    }
}

impl RaftLogReader<TypeConfig> for RaftLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<EntryOf<TypeConfig>>> {
        let entries: Vec<Entry> = within(&self.view().entries, &range).cloned().collect();
        entries.into_iter().map(to_raft_entry).collect()
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<TypeConfig>>> {
        Ok(self.view().marks.vote.map(to_raft_vote))
    }
}

impl RaftLogStorage<TypeConfig> for RaftLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let view = self.view();
        Ok(LogState { last_purged_log_id: view.marks.purged.map(to_raft_id), last_log_id: view.last().map(to_raft_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> io::Result<()> {
        let vote = from_raft_vote(vote);
        let commits_the_same = self.view().marks.vote.is_some_and(|old| Vote { committed: true, ..old } == vote);
        let frames = vec![Frame::Vote(vote)];
        if commits_the_same {
            self.show(&frames)?;
            self.queue.push(frames, Durability::Written, Box::new(|_| {})).await;
            return Ok(());
        }
        self.queue.push_and_wait(frames.clone(), Durability::Synced).await?;
        self.show(&frames)
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        let frames = vec![Frame::Committed(committed.map(from_raft_id))];
        self.show(&frames)?;
        // An error is kept by the log and fails the next append.
        self.queue.push(frames, Durability::Written, Box::new(|_| {})).await;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<TypeConfig>>> {
        Ok(self.view().committed().map(to_raft_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let frames = entries
            .into_iter()
            .map(|entry| Ok(Frame::Entry(from_raft_entry(entry)?)))
            .collect::<io::Result<Vec<_>>>()?;
        self.show(&frames)?;
        self.queue.push(frames, Durability::Synced, Box::new(|result| callback.io_completed(result))).await;
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> io::Result<()> {
        let frames = vec![Frame::Truncate(last.map(from_raft_id))];
        self.show(&frames)?;
        self.queue.push_and_wait(frames, Durability::Synced).await
    }

    async fn purge(&mut self, up_to: LogIdOf<TypeConfig>) -> io::Result<()> {
        let frames = vec![Frame::Purge(from_raft_id(up_to))];
        self.show(&frames)?;
        // Nobody waits for it: entries that come back after a crash are in the snapshot, too.
        self.queue.push(frames, Durability::Synced, Box::new(|_| {})).await;
        Ok(())
    }
}

fn within<'a>(entries: &'a VecDeque<Entry>, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &'a Entry> {
    let first = entries.front().map_or(0, |entry| entry.id.index);
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    let skipped = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
    entries.iter().skip(skipped).take_while(move |entry| entry.id.index < end)
}

pub(crate) fn to_raft_id(id: LogId) -> LogIdOf<TypeConfig> {
    LogIdOf::<TypeConfig>::new_term_index(id.term, id.index)
}

pub(crate) fn from_raft_id(id: LogIdOf<TypeConfig>) -> LogId {
    LogId { term: id.leader_id.term, index: id.index }
}

fn to_raft_vote(vote: Vote) -> VoteOf<TypeConfig> {
    if vote.committed {
        VoteOf::<TypeConfig>::new_committed(vote.term, vote.node)
    } else {
        VoteOf::<TypeConfig>::new(vote.term, vote.node)
    }
}

fn from_raft_vote(vote: &VoteOf<TypeConfig>) -> Vote {
    Vote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

fn to_raft_entry(entry: Entry) -> io::Result<EntryOf<TypeConfig>> {
    let payload = match entry.payload {
        Payload::Blank => EntryPayload::Blank,
        Payload::Records(bytes) => EntryPayload::Normal(MetadataBatch(bytes)),
        Payload::Membership(bytes) => EntryPayload::Membership(decode_membership(&bytes)?),
    };
    Ok(EntryOf::<TypeConfig> { log_id: to_raft_id(entry.id), payload })
}

fn from_raft_entry(entry: EntryOf<TypeConfig>) -> io::Result<Entry> {
    let payload = match entry.payload {
        EntryPayload::Blank => Payload::Blank,
        EntryPayload::Normal(MetadataBatch(bytes)) => Payload::Records(bytes),
        EntryPayload::Membership(membership) => Payload::Membership(encode_membership(&membership)?),
    };
    Ok(Entry { id: from_raft_id(entry.log_id), payload })
}

/// As JSON: rare, small, and readable in a hex dump.
pub(crate) fn encode_membership(membership: &Membership<NodeId, BasicNode>) -> io::Result<bytes::Bytes> {
    Ok(serde_json::to_vec(membership)?.into())
}

pub(crate) fn decode_membership(bytes: &[u8]) -> io::Result<Membership<NodeId, BasicNode>> {
    Ok(serde_json::from_slice(bytes)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use milena_metadata::MetadataImage;
    use milena_storage::{disk::SimDisk, env::InlineThreads};
    use openraft::{
        StorageError,
        testing::log::{StoreBuilder, Suite},
    };

    use super::*;
    use crate::{
        changes::Published,
        log::segments::Segments,
        raft_state_machine::{SnapshotStore, StateMachine},
    };

    struct OnDisk;

    impl StoreBuilder<TypeConfig, RaftLog, StateMachine> for OnDisk {
        async fn build(&self) -> Result<((), RaftLog, StateMachine), StorageError<TypeConfig>> {
            let (log, state_machine) = store(Path::new("/log"));
            Ok(((), log, state_machine))
        }
    }

    fn store(dir: &Path) -> (RaftLog, StateMachine) {
        let disk = Arc::new(SimDisk::new(0));
        let (segments, view) = Segments::open(Arc::clone(&disk) as _, dir, 512).unwrap();
        let log = RaftLog::new(view, LogQueue::new(segments, Arc::new(InlineThreads), 0));
        let published = Arc::new(Published::new(Arc::new(MetadataImage::empty())));
        let store = SnapshotStore::open(disk, dir.to_owned(), Arc::new(InlineThreads), 0).unwrap();
        (log, StateMachine::new(published, store))
    }

    // The suite sleeps; here time is advanced instead.
    #[tokio::test(start_paused = true)]
    async fn the_store_passes_the_suite_of_openraft() {
        Suite::test_all(OnDisk).await.unwrap();
    }
}
