//! One connection: read a frame, dispatch it, write answers in the order of the requests.
//!
//! The next frame is dispatched once the one before stands in its logs, without waiting for its acknowledgement:
//! answers that still wait stand in a queue. Kafka mutes the channel instead and loses a round trip per request.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use milena_net::{FrameError, FrameReader, Sender};
use milena_protocol::file_range::Chunk;
use tokio::sync::watch;

use super::ConnectionInfo;
use crate::handlers::{self, Reply};
use crate::node::Node;

/// Answers that may wait on one connection before its next frame is left in the socket.
const MAX_WAITING: usize = 64;

/// What a request that is being dispatched may still take once the broker stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

type Waiting = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Why a connection ends.
enum End {
    /// The peer left, or we stop.
    Quiet,
    /// Something the operator may want to read.
    Said(String),
}

/// Serves one connection until either side ends it.
pub(super) async fn run(
    node: Arc<Node>,
    info: ConnectionInfo,
    frames: FrameReader,
    sender: Sender,
    stop: watch::Receiver<bool>,
) {
    let peer = info.peer;
    let mut connection = Connection {
        max_frame: node.config.settings.socket_request_max_bytes,
        node,
        info: Arc::new(info),
        frames,
        sender,
        waiting: VecDeque::new(),
        stop,
    };
    match connection.serve().await {
        End::Quiet => {}
        End::Said(reason) => {
            tracing::info!(target: "kafka.network.Processor", "Closing connection from {peer}: {reason}");
        }
    }
}

struct Connection {
    node: Arc<Node>,
    info: Arc<ConnectionInfo>,
    frames: FrameReader,
    sender: Sender,
    waiting: VecDeque<Waiting>,
    stop: watch::Receiver<bool>,
    max_frame: i32,
}

/// What happens next on a connection.
enum Event {
    /// The oldest waiting answer is ready.
    Answered(Reply),
    /// A frame, or the end of the stream.
    Received(Result<Option<BytesMut>, FrameError>),
    /// The broker stops.
    Stopping,
}

impl Connection {
    async fn serve(&mut self) -> End {
        loop {
            let frame = match self.next_event().await {
                Event::Answered(reply) => match self.answer_oldest(reply).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Event::Received(Ok(Some(frame))) => frame,
                Event::Received(Ok(None) | Err(FrameError::Io(_))) => return End::Quiet,
                Event::Stopping => return self.drain().await,
                Event::Received(Err(error)) => return End::Said(error.to_string()),
            };
            let reply = match self.dispatch(frame).await {
                Ok(reply) => reply,
                Err(end) => return end,
            };
            match reply {
                Reply::Later(later) => self.waiting.push_back(later),
                now if self.waiting.is_empty() => {
                    if let Err(end) = write(&mut self.sender, now).await {
                        return end;
                    }
                }
                now => self.waiting.push_back(Box::pin(std::future::ready(now))),
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let room = self.waiting.len() < MAX_WAITING;
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Event::Stopping,
            reply = front(&mut self.waiting) => Event::Answered(reply),
            frame = self.frames.next(self.max_frame), if room => Event::Received(frame),
        }
    }

    /// Dispatches one frame and meanwhile writes answers that become ready.
    async fn dispatch(&mut self, frame: BytesMut) -> Result<Reply, End> {
        let (node, info) = (Arc::clone(&self.node), Arc::clone(&self.info));
        let mut dispatched = pin!(handlers::dispatch(&node, &info, frame));
        let mut overdue = pin!(overdue(self.stop.clone()));
        loop {
            let answered = tokio::select! {
                biased;
                reply = &mut dispatched => return Ok(reply),
                answered = front(&mut self.waiting) => answered,
                () = &mut overdue => return Err(End::Quiet),
            };
            self.answer_oldest(answered).await?;
        }
    }

    /// Nothing more is read; what stands in the logs is still acknowledged.
    async fn drain(&mut self) -> End {
        while !self.waiting.is_empty() {
            let reply = front(&mut self.waiting).await;
            if let Err(end) = self.answer_oldest(reply).await {
                return end;
            }
        }
        End::Quiet
    }

    async fn answer_oldest(&mut self, reply: Reply) -> Result<(), End> {
        self.waiting.pop_front();
        write(&mut self.sender, reply).await
    }
}

/// Ends some time after the broker began to stop: a long poll must not hold it up.
async fn overdue(mut stop: watch::Receiver<bool>) {
    // An error means that the broker is gone already.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// The oldest waiting answer; pending for ever if there is none.
async fn front(waiting: &mut VecDeque<Waiting>) -> Reply {
    match waiting.front_mut() {
        Some(first) => first.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn write(sender: &mut Sender, reply: Reply) -> Result<(), End> {
    let mut reply = reply;
    loop {
        match reply {
            Reply::Answer(bytes) => return sender.send(vec![Chunk::Bytes(bytes)]).await.map_err(|_| End::Quiet),
            Reply::Chunks(chunks) => return sender.send(chunks).await.map_err(|_| End::Quiet),
            Reply::Later(later) => reply = later.await,
            Reply::Nothing => return Ok(()),
            Reply::Close(reason) => return Err(End::Said(reason)),
        }
    }
}
