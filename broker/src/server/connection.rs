//! One connection: read a frame, dispatch it, write answers in the order of the requests.
//!
//! The next frame is dispatched once the one before stands in its logs, without waiting for its acknowledgement:
//! answers that still wait stand in a queue. Kafka mutes the channel instead and loses a round trip per request.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use milena_net::memory::{Answering, Held};
use milena_net::{Accepted, Ended, Frame, FrameError, FrameReader, Seat, Sender};
use milena_protocol::file_range::Chunk;
use tokio::sync::watch;

use super::log;
use super::weight::{Weight, weight};
use crate::handlers::context::ConnectionInfo;
use crate::handlers::{self, Reply};
use crate::node::Node;

/// Answers that may wait on one connection before its next frame is left in the socket.
const MAX_WAITING: usize = 64;
/// Bytes of answers that are ready and wait for one before them, before the next frame is left in the socket.
const READY_BYTES_MAX: usize = 64 * 1024;

/// What a request that is being dispatched may still take once the broker stops.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// An answer that waits for its turn.
enum Waiting {
    /// It waits for replicas or a disk, too.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// It waits for those before it.
    Ready(Ready),
}

impl Waiting {
    fn new(seat: &Arc<Seat>, reply: Reply) -> Self {
        match reply {
            Reply::Later(later) => Self::Later(later),
            now => Self::Ready(Ready::new(seat, now)),
        }
    }
}

/// An answer in memory, counted as long as its client has not taken it.
struct Ready {
    reply: Reply,
    bytes: usize,
    _counted: Option<Answering>,
}

impl Ready {
    fn new(seat: &Arc<Seat>, reply: Reply) -> Self {
        let bytes = match &reply {
            Reply::Answer(bytes) => bytes.len(),
            Reply::Chunks(chunks) => chunks.iter().map(in_memory).sum(),
            Reply::Later(_) | Reply::Nothing | Reply::Close(_) => 0,
        };
        Self { reply, bytes, _counted: seat.answering(bytes) }
    }
}

/// A file range costs no memory.
fn in_memory(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Bytes(bytes) => bytes.len(),
        Chunk::File(_) => 0,
    }
}

/// Why a connection ends.
pub(super) enum End {
    /// The peer left, or we stop.
    Quiet,
    /// The peer announced a frame of a size that is not allowed.
    Size(FrameError),
    /// A request that Kafka answers by closing the connection.
    Said(String),
    /// It had to end for others.
    Told(Ended),
}

/// Serves one connection until either side ends it.
pub(super) async fn run(
    node: Arc<Node>,
    info: ConnectionInfo,
    Accepted { frames, sender, activity, seat, ended, .. }: Accepted,
    stop: watch::Receiver<bool>,
) {
    // As in Kafka a request that waits longer than this goes with its connection: its client may be long gone.
    let max_idle =
        u64::try_from(node.config.settings.connections_max_idle_ms).map_or(Duration::MAX, Duration::from_millis);
    let peer = info.peer;
    let mut connection = Connection {
        max_frame: node.config.settings.socket_request_max_bytes,
        node,
        info: Arc::new(info),
        frames,
        answers: Answers { sender, seat, waiting: VecDeque::new(), ready_bytes: 0 },
        stop,
    };
    let end = tokio::select! {
        // First, so that a connection that has become quiet is looked at once more and gives its buffer back.
        biased;
        () = activity.ceased(max_idle) => End::Quiet,
        Ok(why) = ended => End::Told(why),
        end = connection.serve() => end,
    };
    log::closed(peer, &end);
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
    seat: Arc<Seat>,
    waiting: VecDeque<Waiting>,
    /// Of those that wait, the bytes of those that are ready.
    ready_bytes: usize,
}

/// What happens next on a connection.
enum Event {
    /// The oldest waiting answer is ready.
    Answered(Ready),
    /// A frame, or the end of the stream.
    Received(Result<Option<Frame>, FrameError>),
    /// The broker stops.
    Stopping,
}

impl Connection {
    async fn serve(&mut self) -> End {
        loop {
            let frame = match self.next_event().await {
                Event::Answered(ready) => match write(&mut self.answers.sender, ready).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
                Event::Received(Ok(Some(frame))) => frame,
                Event::Received(Ok(None) | Err(FrameError::Io(_))) => return End::Quiet,
                Event::Stopping => return self.answers.drain().await,
                Event::Received(Err(error @ FrameError::Size { .. })) => return End::Size(error),
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
        let room = self.answers.waiting.len() < MAX_WAITING && self.answers.ready_bytes < READY_BYTES_MAX;
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => Event::Stopping,
            answer = self.answers.oldest() => Event::Answered(answer),
            frame = self.frames.next(self.max_frame), if room => Event::Received(frame),
        }
    }

    /// Dispatches one frame and meanwhile writes answers that become ready. The frame's memory is given back when the
    /// request stands in its logs, whoever reads its answer.
    async fn dispatch(&mut self, Frame { bytes, held }: Frame) -> Result<Waiting, End> {
        let (node, info, stop) = (&self.node, &self.info, self.stop.clone());
        let seat = Arc::clone(&self.answers.seat);
        let dispatched = pin!(async {
            let answered = async {
                match weight(&bytes) {
                    // It is slow only if the disk is, which is not the client's doing.
                    Weight::Append => held.iter().for_each(Held::at_work),
                    Weight::Light => {}
                    Weight::Answer => seat.room_for_an_answer().await,
                }
                handlers::dispatch(node, info, bytes).await
            };
            let reply = tokio::select! {
                biased;
                // Counted from now on: an answer before it may wait for a peer that does not read.
                reply = answered => Ok(Waiting::new(&seat, reply)),
                () = overdue(stop) => Err(End::Quiet),
            };
            drop(held);
            reply
        });
        self.answers.write_while(dispatched).await?
    }
}

impl Answers {
    /// Writes an answer, or has it wait for its turn.
    async fn add(&mut self, answer: Waiting) -> Result<(), End> {
        match answer {
            Waiting::Ready(ready) if self.waiting.is_empty() => return write(&mut self.sender, ready).await,
            Waiting::Ready(Ready { bytes, .. }) => self.ready_bytes += bytes,
            Waiting::Later(_) => {}
        }
        self.waiting.push_back(answer);
        Ok(())
    }

    /// Takes the oldest waiting answer when it is ready; pending for ever if there is none. Cancel-safe.
    async fn oldest(&mut self) -> Ready {
        let later = match self.waiting.front_mut() {
            None => return std::future::pending().await,
            Some(Waiting::Ready(_)) => None,
            Some(Waiting::Later(later)) => Some(settled(later).await),
        };
        match (self.waiting.pop_front(), later) {
            (Some(Waiting::Ready(ready)), _) => {
                self.ready_bytes -= ready.bytes;
                ready
            }
            (_, Some(reply)) => Ready::new(&self.seat, reply),
            _ => unreachable!("it was the front just now"),
        }
    }

    /// Writes answers that become ready until `dispatched` is done.
    ///
    /// It goes on while an answer is being written: it may have been handed a partition's append lock, and a peer that
    /// does not read what it asked for must not keep that from everybody else.
    async fn write_while<T>(&mut self, mut dispatched: Pin<&mut impl Future<Output = T>>) -> Result<T, End> {
        loop {
            let ready = tokio::select! {
                biased;
                done = &mut dispatched => return Ok(done),
                ready = self.oldest() => ready,
            };
            let mut written = pin!(write(&mut self.sender, ready));
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
            let ready = self.oldest().await;
            if let Err(end) = write(&mut self.sender, ready).await {
                return end;
            }
        }
        End::Quiet
    }
}

/// Ends some time after the broker began to stop: a long poll must not hold it up.
async fn overdue(mut stop: watch::Receiver<bool>) {
    // An error means that the broker is gone already.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(STOP_GRACE).await;
}

/// What a later answer comes to in the end.
async fn settled(later: &mut Pin<Box<dyn Future<Output = Reply> + Send>>) -> Reply {
    loop {
        match later.as_mut().await {
            Reply::Later(next) => *later = next,
            reply => return reply,
        }
    }
}

async fn write(sender: &mut Sender, ready: Ready) -> Result<(), End> {
    let Ready { reply, _counted, .. } = ready;
    match reply {
        Reply::Answer(bytes) => sender.send(vec![Chunk::Bytes(bytes)]).await.map_err(|_| End::Quiet),
        Reply::Chunks(chunks) => sender.send(chunks).await.map_err(|_| End::Quiet),
        Reply::Later(_) => unreachable!("a later answer is settled before it is ready"),
        Reply::Nothing => Ok(()),
        Reply::Close(reason) => Err(End::Said(reason)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use bytes::Bytes;
    use milena_net::listener::{Listener, SocketOptions};
    use milena_net::{Memory, Room};
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
        let Accepted { sender, seat, .. } = listener.accept().await.unwrap().open(&Memory::new(Room::UNLIMITED));

        let large = Reply::Answer(Bytes::from(vec![0; LARGE_ANSWER_BYTES]));
        let waiting: VecDeque<Waiting> = [Waiting::Later(Box::pin(std::future::ready(large)))].into();
        let append_lock = Arc::new(Mutex::new(()));
        let held = Arc::clone(&append_lock).lock_owned().await;
        let dispatched = Arc::clone(&append_lock);
        let connection = tokio::spawn(async move {
            let mut answers = Answers { sender, seat, waiting, ready_bytes: 0 };
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
