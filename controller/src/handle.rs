//! The handle of a controller and the thread behind it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use milena_metadata::{MetadataImage, Operation};
use milena_storage::{disk::Disk, env::Env};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    changes::{Changes, Published},
    config::ControllerConfig,
    log::segments::MetadataLogError,
    node::NodeId,
    quorum::QuorumStatus,
    raft::{OpenError, RaftNode},
    writer::{REQUESTS_MAX, Request, SubmitError, Submitted, Writer},
};

/// Why a controller did not start. Nothing was changed on disk but a torn tail that was cut.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata log cannot be opened.
    #[error(transparent)]
    Log(#[from] MetadataLogError),
    /// The directory holds the metadata of an Apache Kafka.
    #[error("{}/__cluster_metadata-0 was written by Apache Kafka; this broker cannot adopt it and does not touch it", dir.display())]
    KafkaMetadata {
        /// The metadata log dir.
        dir: std::path::PathBuf,
    },
    /// The metadata log in this directory was written by another node, or by this one with another `directory.id`.
    #[error(
        "the metadata log belongs to the quorum of {}, and this node is {member}: node.id or directory.id were changed",
        list(members)
    )]
    NotAMember {
        /// This node.
        member: NodeId,
        /// Who takes part.
        members: Vec<NodeId>,
    },
    /// Raft refused to start.
    #[error("the metadata quorum cannot start: {0}")]
    Raft(String),
    /// The system gave no thread or no runtime.
    #[error("the controller's thread cannot start: {0}")]
    Thread(#[from] std::io::Error),
}

fn list(members: &[NodeId]) -> String {
    members.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Log(error) => Self::Log(error),
            OpenError::KafkaMetadata(dir) => Self::KafkaMetadata { dir },
            OpenError::NotAMember { member, members } => Self::NotAMember { member, members },
            OpenError::Raft(reason) => Self::Raft(reason),
        }
    }
}

/// The controller stopped by itself: a disk failed, or an invariant broke. It does not heal; the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the metadata quorum failed: {reason}")]
pub struct ControllerFailure {
    /// What Raft said.
    pub reason: String,
}

/// Handle of this node's controller; cheap to clone, usable from any runtime. The last one dropped stops the controller, without waiting for it.
#[derive(Clone)]
pub struct Controller {
    inner: Arc<Inner>,
}

struct Inner {
    node: RaftNode,
    published: Arc<Published>,
    env: Env,
    requests: mpsc::Sender<Request>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Controller {
    /// Recovers the metadata log and starts the controller. Blocks for as long as recovery takes, milliseconds as a rule.
    ///
    /// [`Controller::image`] is then what this node last knew to be committed; it is complete once a [`Controller::submit`] was answered.
    pub fn start(config: ControllerConfig, disk: Arc<dyn Disk>, env: Env) -> Result<Self, StartError> {
        let published = Arc::new(Published::new(Arc::new(MetadataImage::empty())));
        let (opened, open_result) = std::sync::mpsc::sync_channel(1);
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopped) = watch::channel(false);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (thread_env, thread_published) = (env.clone(), Arc::clone(&published));
        let body = move || {
            runtime.block_on(run(config, disk, thread_env, thread_published, inbox, stopped, opened));
        };
        let thread = std::thread::Builder::new().name("controller".to_owned()).spawn(body)?;
        let node = open_result.recv().map_err(|_| StartError::Raft("its thread died".to_owned()))??;
        let thread = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { node, published, env, requests, stop, thread }) })
    }

    /// The newest applied metadata.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.inner.published.image()
    }

    /// Every change from now on, in order, none lost.
    pub fn changes(&self) -> Changes {
        self.inner.published.subscribe()
    }

    /// Has `operation` decided by the active controller and waits until its records are applied on this node.
    ///
    /// Waits while nobody leads (as at a start), at most until `deadline`. If this is dropped the operation may still happen.
    pub async fn submit(&self, operation: Operation, deadline: Instant) -> Result<Submitted, SubmitError> {
        let (answer, receiver) = oneshot::channel();
        let request = Request { operation, deadline, answer };
        let answered = async {
            self.inner.requests.send(request).await.map_err(|_| SubmitError::Stopped)?;
            receiver.await.map_err(|_| SubmitError::Stopped)?
        };
        // A timer of the caller's runtime: a controller that hangs must not take its callers along.
        tokio::time::timeout_at(deadline, answered).await.unwrap_or(Err(SubmitError::TimedOut))
    }

    /// State of the quorum.
    pub fn quorum(&self) -> QuorumStatus {
        self.inner.node.quorum(self.inner.env.clock.now())
    }

    /// Waits until the controller fails; pending for ever if it stops in order. Cancel-safe.
    pub async fn failed(&self) -> ControllerFailure {
        ControllerFailure { reason: self.inner.node.failed().await }
    }

    /// Stops in order: requests under way end with [`SubmitError::Stopped`], the log is closed and synced, the thread has ended. May be called twice.
    pub async fn shutdown(&self) {
        self.inner.stop.send_replace(true);
        // The thread drops its end last of all.
        self.inner.stop.closed().await;
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("The controller's thread panicked");
        }
    }
}

/// The life of the thread.
async fn run(
    config: ControllerConfig,
    disk: Arc<dyn Disk>,
    env: Env,
    published: Arc<Published>,
    inbox: mpsc::Receiver<Request>,
    mut stopped: watch::Receiver<bool>,
    opened: std::sync::mpsc::SyncSender<Result<RaftNode, StartError>>,
) {
    let node = match open(&config, disk, &env, &published).await {
        Ok(node) => node,
        Err(error) => {
            let _ = opened.send(Err(error.into()));
            return;
        }
    };
    // `start` waits for it, so it is there.
    let _ = opened.send(Ok(node.clone()));
    drop(opened);

    let mut writer = Writer::new(&config, env, node.clone(), Arc::clone(&published), inbox);
    tokio::select! {
        () = writer.run() => {}
        () = node.tick_in_company() => {}
        // It does not heal: whoever waits is told at once.
        reason = node.failed() => tracing::error!("The metadata quorum failed: {reason}"),
        // An error says that the last handle is gone.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    drop(writer);
    if let Err(error) = node.shutdown().await {
        tracing::error!("The metadata log was not closed in order: {error}");
    }
    published.close();
}

async fn open(
    config: &ControllerConfig,
    disk: Arc<dyn Disk>,
    env: &Env,
    published: &Arc<Published>,
) -> Result<RaftNode, OpenError> {
    let node = RaftNode::open(config, disk, env, Arc::clone(published)).await?;
    node.run(&config.address).await?;
    Ok(node)
}
