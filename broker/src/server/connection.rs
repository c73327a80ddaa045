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
use milena_net::{Accepted, FrameError, FrameReader, Sender};
use milena_protocol::file_range::Chunk;
use tokio::sync::watch;

use crate::handlers::context::ConnectionInfo;
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
    Accepted { frames, sender, activity, peer, .. }: Accepted,
    stop: watch::Receiver<bool>,
) {
    // As in Kafka a request that waits longer than this goes with its connection: its client may be long gone.
    let max_idle =
        u64::try_from(node.config.settings.connections_max_idle_ms).map_or(Duration::MAX, Duration::from_millis);
    let mut connection = Connection {
        max_frame: node.config.settings.socket_request_max_bytes,
        node,
        info: Arc::new(info),
        frames,
        answers: Answers { sender, waiting: VecDeque::new() },
        stop,
    };
    let end = tokio::select! {
        end = connection.serve() => end,
        () = activity.ceased(max_idle) => End::Quiet,
    };
    match end {
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
    answers: Answers,
    stop: watch::Receiver<bool>,
    max_frame: i32,
}

/// The sending direction, and the answers that wait for it in the order of their requests.
struct Answers {
    sender: Sender,
    waiting: VecDeque<Waiting>,
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
                Event::Answered(reply) => match self.answers.write_oldest(reply).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Event::Received(Ok(Some(frame))) => frame,
                Event::Received(Ok(None) | Err(FrameError::Io(_))) => return End::Quiet,
                Event::Stopping => return self.answers.drain().await,
                Event::Received(Err(error)) => return End::Said(error.to_string()),
            };
            let reply = match self.dispatch(frame).await {
                Ok(reply) => reply,
                Err(end) => return end,
            };
            if let Err(end) = self.answers.add(reply).await {
                return end;
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let room = self.answers.waiting.len() < MAX_WAITING;
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Event::Stopping,
            reply = front(&mut self.answers.waiting) => Event::Answered(reply),
            frame = self.frames.next(self.max_frame), if room => Event::Received(frame),
        }
    }

    /// Dispatches one frame and meanwhile writes answers that become ready.
    async fn dispatch(&mut self, frame: BytesMut) -> Result<Reply, End> {
        let (node, info, stop) = (&self.node, &self.info, self.stop.clone());
        let dispatched = pin!(async {
            tokio::select! {
                biased;
                reply = handlers::dispatch(node, info, frame) => Ok(reply),
                () = overdue(stop) => Err(End::Quiet),
            }
        });
        self.answers.write_while(dispatched).await?
    }
}

impl Answers {
    /// Writes an answer, or has it wait for its turn.
    async fn add(&mut self, reply: Reply) -> Result<(), End> {
        match reply {
            Reply::Later(later) => self.waiting.push_back(later),
            now if self.waiting.is_empty() => return write(&mut self.sender, now).await,
            now => self.waiting.push_back(Box::pin(std::future::ready(now))),
        }
        Ok(())
    }

    /// Writes answers that become ready until `dispatched` is done.
    ///
    /// It goes on while an answer is being written: it may have been handed a partition's append lock, and a peer that
    /// does not read what it asked for must not keep that from everybody else.
    async fn write_while<T>(&mut self, mut dispatched: Pin<&mut impl Future<Output = T>>) -> Result<T, End> {
        loop {
            let reply = tokio::select! {
                biased;
                done = &mut dispatched => return Ok(done),
                reply = front(&mut self.waiting) => reply,
            };
            let mut written = pin!(self.write_oldest(reply));
            tokio::select! {
                biased;
                done = &mut dispatched => return written.await.map(|()| done),
                result = &mut written => result?,
            }
        }
    }

    /// Nothing more is read; what stands in the logs is still acknowledged.
    async fn drain(&mut self) -> End {
        while !self.waiting.is_empty() {
            let reply = front(&mut self.waiting).await;
            if let Err(end) = self.write_oldest(reply).await {
                return end;
            }
        }
        End::Quiet
    }

    async fn write_oldest(&mut self, reply: Reply) -> Result<(), End> {
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use milena_net::listener::{Listener, SocketOptions};
    use tokio::sync::Mutex;

    use super::*;

    /// More than the buffers of two sockets hold.
    const LARGE_ANSWER_BYTES: usize = 64 * 1024 * 1024;

    /// A Produce waited for the append lock while an answer before it was being sent to a peer that did not read. The
    /// lock came to it, but nobody looked: the partition stood still for every client until that peer read on.
    #[tokio::test]
    async fn a_peer_that_does_not_read_keeps_no_lock_from_others() {
        let options = SocketOptions { send_buffer_bytes: -1, receive_buffer_bytes: -1, backlog: 50 };
        let listener = Listener::bind(&["127.0.0.1"], 0, options).unwrap().remove(0);
        let mut peer = std::net::TcpStream::connect(listener.address()).unwrap();
        let sender = listener.accept().await.unwrap().sender;

        let large = Reply::Answer(Bytes::from(vec![0; LARGE_ANSWER_BYTES]));
        let waiting: VecDeque<Waiting> = [Box::pin(std::future::ready(large)) as Waiting].into();
        let append_lock = Arc::new(Mutex::new(()));
        let held = Arc::clone(&append_lock).lock_owned().await;
        let dispatched = Arc::clone(&append_lock);
        let connection = tokio::spawn(async move {
            let mut answers = Answers { sender, waiting };
            let dispatched = pin!(async { drop(dispatched.lock().await) });
            answers.write_while(dispatched).await.is_ok()
        });
        // The answer is on its way, so what is dispatched waits for the lock already.
        let (mut peer, first) = tokio::task::spawn_blocking(move || {
            let mut first = [0; 1];
            peer.read_exact(&mut first).unwrap();
            (peer, first)
        })
        .await
        .unwrap();
        drop(held);
        drop(tokio::time::timeout(Duration::from_secs(20), append_lock.lock()).await.expect("the lock is passed on"));

        let rest = tokio::task::spawn_blocking(move || peer.read_exact(&mut vec![0; LARGE_ANSWER_BYTES - first.len()]));
        rest.await.unwrap().unwrap();
        assert!(connection.await.unwrap());
    }
}
