//! The active controller: the one place where the metadata is changed.
//!
//! Requests wait in a bounded queue. While this node leads, the writer takes all that wait, decides one after the other on the applied image plus the
//! records of those before it, proposes the records as one bounded entry fenced by the term, waits until it is applied, and answers. One batch is in
//! flight, so every decision stands on everything that was decided before. An error discards the batch: nobody is told a success, and whether the entry
//! became true is unknown. A decision without records behind none with records is answered at once.

use std::{collections::BTreeMap, collections::VecDeque, sync::Arc};

use bytes::Bytes;
use milena_metadata::{
    Context, Decision, MetadataImage, Operation, Record, Response,
    decide::{bootstrap_records, decide},
    record::encode_all,
};
use milena_storage::env::Env;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    changes::Published,
    config::ControllerConfig,
    node::NodeId,
    raft::{NoLeadership, ProposeError, RaftNode},
};

/// Requests that may wait for the writer.
pub(crate) const REQUESTS_MAX: usize = 1024;
/// A batch takes no further request once its records have so many bytes (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`).
const BATCH_BYTES: usize = 8 << 20;
/// No single decision may have more; the log could not hold it.
const DECISION_BYTES_MAX: usize = 32 << 20;

/// A decision that became true.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The answer.
    pub response: Response,
    /// Every node whose image has this offset knows what the answer says.
    pub offset: i64,
}

/// Why an operation has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// Nothing was done.
    #[error("this node is not the active controller")]
    NotController {
        /// Who is, if that is known.
        leader: Option<NodeId>,
    },
    /// The deadline passed; whether the operation happens is unknown.
    #[error("the deadline passed before the operation was answered")]
    TimedOut,
    /// Leadership was lost while the operation was under way; whether it happened is unknown.
    #[error("leadership was lost while the operation was under way")]
    OutcomeUnknown,
    /// Nothing was done: the operation makes more metadata than one entry can hold.
    #[error("the operation makes {bytes} bytes of metadata, more than the {max} of one batch")]
    TooLarge {
        /// What it makes.
        bytes: usize,
        /// What is possible.
        max: usize,
    },
    /// Nothing was done: the disk of the metadata log is full, and what is left of it is kept for making room.
    #[error("the disk of the metadata log is full")]
    DiskFull,
    /// The controller has stopped; whether the operation happened is unknown.
    #[error("the controller has stopped")]
    Stopped,
}

/// An operation on its way.
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) deadline: Instant,
    pub(crate) answer: oneshot::Sender<Result<Submitted, SubmitError>>,
}

/// Decides for as long as it is polled.
pub(crate) struct Writer {
    node: RaftNode,
    published: Arc<Published>,
    env: Env,
    node_id: i32,
    static_config: BTreeMap<String, String>,
    random: SmallRng,
    requests: mpsc::Receiver<Request>,
    /// Taken from the channel, not yet in a batch.
    waiting: VecDeque<Request>,
}

impl Writer {
    pub(crate) fn new(
        config: &ControllerConfig,
        env: Env,
        node: RaftNode,
        published: Arc<Published>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        Self {
            node,
            published,
            node_id: config.node_id,
            static_config: config.static_config.clone(),
            random: SmallRng::seed_from_u64(env.seed),
            env,
            requests,
            waiting: VecDeque::new(),
        }
    }

    /// Returns when Raft has stopped or every handle is gone.
    pub(crate) async fn run(&mut self) {
        loop {
            match self.node.leadership().await {
                Ok(term) => {
                    tracing::info!(
                        "Becoming the active controller at epoch {term}, offset {}",
                        self.published.image().offset
                    );
                    if !self.lead(term).await {
                        return;
                    }
                }
                Err(NoLeadership::OtherLeader(leader)) => {
                    if !self.refuse(leader).await {
                        return;
                    }
                }
                Err(NoLeadership::Stopped) => return,
            }
        }
    }

    /// Answers requests with the leader's name until another one leads; `false` when there will be no more.
    async fn refuse(&mut self, leader: NodeId) -> bool {
        for request in self.waiting.drain(..) {
            answer(request.answer, Err(SubmitError::NotController { leader: Some(leader) }));
        }
        let mut watch = self.node.watch();
        while watch.leader() == Some(leader) {
            tokio::select! {
                changed = watch.changed() => if !changed { return false },
                request = self.requests.recv() => {
                    let Some(request) = request else { return false };
                    answer(request.answer, Err(SubmitError::NotController { leader: Some(leader) }));
                }
            }
        }
        true
    }

    /// Decides as the leader of `term` until that ends; `false` when there will be no more requests.
    async fn lead(&mut self, term: u64) -> bool {
        let mut watch = self.node.watch();
        if self.published.image().features.metadata_version() == 0 {
            let records = bootstrap_records(&self.static_config);
            if self.propose(term, &records).await.is_err() {
                // Nothing can be decided before it; try again when the quorum has changed.
                return watch.changed().await;
            }
        }
        while watch.leads_in(term) {
            if self.waiting.is_empty() {
                tokio::select! {
                    request = self.requests.recv() => {
                        let Some(request) = request else { return false };
                        self.waiting.push_back(request);
                    }
                    changed = watch.changed() => if changed { continue } else { return false },
                }
            }
            while self.waiting.len() < REQUESTS_MAX
                && let Ok(request) = self.requests.try_recv()
            {
                self.waiting.push_back(request);
            }
            self.write_batch(term).await;
        }
        true
    }

    /// Decides what waits, as far as it fits into one entry, makes it true, and answers.
    async fn write_batch(&mut self, term: u64) {
        let applied = self.published.image();
        let mut batch = Batch::new(&applied, term);
        let is_short_of_room = self.node.is_short_of_room().await;
        while batch.bytes < BATCH_BYTES
            && let Some(request) = self.waiting.pop_front()
        {
            if request.deadline <= Instant::now() {
                answer(request.answer, Err(SubmitError::TimedOut));
                continue;
            }
            if is_short_of_room && makes_metadata_larger(&request.operation) {
                answer(request.answer, Err(SubmitError::DiskFull));
                continue;
            }
            let decision = decide(
                &Context {
                    image: &batch.image,
                    now: self.env.clock.now(),
                    next_offset: batch.image.offset + 1,
                    node_id: self.node_id,
                    static_config: &self.static_config,
                    seed: self.random.next_u64(),
                },
                request.operation,
            );
            batch.add(decision, request.answer);
        }
        if batch.records.is_empty() {
            return;
        }
        let outcome = self.propose_batch(term, &batch).await;
        for (response, to) in batch.answers {
            answer(to, outcome.clone().map(|offset| Submitted { response, offset }));
        }
    }

    async fn propose_batch(&self, term: u64, batch: &Batch) -> Result<i64, SubmitError> {
        match self.propose(term, &batch.records).await {
            Ok(()) => Ok(self.published.image().offset),
            Err(ProposeError::NotLeader { .. }) => Err(SubmitError::NotController { leader: None }),
            Err(ProposeError::Unknown) => Err(SubmitError::OutcomeUnknown),
            Err(ProposeError::Stopped(_)) => Err(SubmitError::Stopped),
        }
    }

    async fn propose(&self, term: u64, records: &[Record]) -> Result<(), ProposeError> {
        let result = self.node.propose(term, Bytes::from(encode_all(records))).await;
        if let Err(error) = &result {
            tracing::warn!("A batch of {} metadata records was discarded: {error}", records.len());
        }
        result
    }
}

type Answer = oneshot::Sender<Result<Submitted, SubmitError>>;

/// Decisions that become true together.
struct Batch {
    image: MetadataImage,
    term: u64,
    records: Vec<Record>,
    bytes: usize,
    answers: Vec<(Response, Answer)>,
}

impl Batch {
    fn new(applied: &MetadataImage, term: u64) -> Self {
        Self { image: applied.clone(), term, records: Vec::new(), bytes: 0, answers: Vec::new() }
    }

    fn add(&mut self, decision: Decision, to: Answer) {
        let Decision { records, response } = decision;
        if records.is_empty() {
            if self.records.is_empty() {
                // It says nothing that is not applied already.
                answer(to, Ok(Submitted { response, offset: self.image.offset }));
            } else {
                self.answers.push((response, to));
            }
            return;
        }
        let bytes = encode_all(&records).len();
        if bytes > DECISION_BYTES_MAX {
            answer(to, Err(SubmitError::TooLarge { bytes, max: DECISION_BYTES_MAX }));
            return;
        }
        let offset = self.image.offset + records.len() as i64;
        self.image = self.image.apply(&records, offset, self.term as i32).0;
        self.bytes += bytes;
        self.records.extend(records);
        self.answers.push((response, to));
    }
}

/// What is not done on a full disk. Deletions make room, configurations let others make it, and a broker must come and go.
fn makes_metadata_larger(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::CreateTopics { .. }
            | Operation::AutoCreateTopics(_)
            | Operation::CreatePartitions { .. }
            | Operation::AllocateProducerIds { .. }
            | Operation::UpdateFeatures { .. }
    )
}

/// An asker that is gone no longer wants to know.
fn answer(to: Answer, result: Result<Submitted, SubmitError>) {
    let _ = to.send(result);
}
