//! Valid frames of every API and version with arbitrary contents, and frames that lie about their counts and lengths:
//! whatever they say, no task of the broker panics and the next client is served.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use milena::Broker;
use milena::config::ServerConfig;
use milena::handlers::APIS;
use milena_protocol::api::request_header_version;
use milena_protocol::schema::{self, sample};

const SEEDS: u64 = 25;
const MUTATIONS_EACH: usize = 8;
/// A Fetch may ask to wait for days; what matters has happened when the others have answered.
const PATIENCE: Duration = Duration::from_millis(20);

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7i32.to_be_bytes());
    frame.extend([0, 1, b't']);
    if request_header_version(key, version) >= 2 {
        frame.push(0);
    }
    frame.extend(body);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Sends a frame on a connection of its own and waits a moment for the answer, or for the end.
fn poke(address: SocketAddr, frame: &[u8]) -> Option<Vec<u8>> {
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    // The broker may close before it has read everything.
    socket.write_all(frame).ok()?;
    let mut answer = vec![0; 4096];
    let read = socket.read(&mut answer).ok()?;
    answer.truncate(read);
    Some(answer)
}

fn poke_everything(address: SocketAddr) -> usize {
    let mut sent = 0;
    for api in APIS {
        let message = schema::request(api.key).expect("every API is in the table");
        for version in api.min..=api.max {
            for seed in 0..SEEDS {
                let valid = sample::message(message, version, seed);
                poke(address, &frame(api.key, version, &valid.bytes));
                sent += 1;
                let mutations = sample::mutations(&valid);
                let step = mutations.len().div_ceil(MUTATIONS_EACH).max(1);
                for mutation in mutations.iter().skip(seed as usize % step).step_by(step) {
                    poke(address, &frame(api.key, version, &mutation.bytes));
                    sent += 1;
                }
            }
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_makes_a_task_panic() {
    let panics = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&panics);
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        counter.fetch_add(1, Ordering::SeqCst);
        print(info);
    }));
    let dir = tempfile::tempdir().unwrap();
    let config = ServerConfig::from_properties([
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", dir.path().to_str().expect("a path of ASCII")),
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "2"),
    ])
    .unwrap();
    let broker = Broker::start(config).await.unwrap();
    let address = broker.addresses()[0];
    let sent = tokio::task::spawn_blocking(move || poke_everything(address)).await.unwrap();
    assert!(sent > 10_000, "{sent} frames");

    let alive = tokio::task::spawn_blocking(move || poke(address, &frame(18, 0, &[]))).await.unwrap();
    assert_eq!(alive.expect("an answer")[4..10], [0, 0, 0, 7, 0, 0]);
    broker.shutdown().await;
    assert_eq!(panics.load(Ordering::SeqCst), 0);
}
