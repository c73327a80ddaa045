//! Many questions at the same moment, each with a right to some memory: together they must not fill it.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};
use milena_protocol::compression::{Codec, Level};
use milena_protocol::records::BatchBuilder;

use super::client::{frame, topic_name};
use super::{Broker, Client};

/// The allocator would reserve 64 MB of addresses for each thread.
const LIMIT: &str = "export MALLOC_ARENA_MAX=2; ulimit -v 524288";

/// Each request found room for its answer, waited for its turn to be converted, and the answers filled the memory.
#[test]
fn old_consumers_that_never_read_leave_memory_to_others() {
    let broker = Broker::start(LIMIT, &[]);
    let mut client = broker.connect();
    client.create_topic("t", 1);
    for index in 0..6 {
        assert_eq!(client.produce("t", &vec![b'v'; 900_000]), index);
    }
    let question = old_fetch("t", 6_000_000);
    let mut deaf: Vec<Client> = (0..300).map(|_| broker.connect()).collect();
    for client in &mut deaf {
        client.socket.write_all(&question).unwrap();
    }
    for index in 6..26 {
        assert_eq!(client.produce("t", b"small"), index);
        thread::sleep(Duration::from_millis(200));
    }
    drop(deaf);
    let said = broker.end();
    assert!(!said.contains("memory allocation"), "{said}");
}

/// Fetch v0, which the crate does not write: partition 0 from its start, at once.
fn old_fetch(topic: &str, bytes_max: i32) -> Vec<u8> {
    let numbers = |numbers: &[i32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let name = [&(topic.len() as u16).to_be_bytes(), topic.as_bytes()].concat();
    // Key 1, version 0, correlation id 1, no client id.
    let head = [0, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let body = [&head[..], &numbers(&[-1, 0, 1, 1]), &name, &numbers(&[1, 0, 0, 0, bytes_max])].concat();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// ListOffsets v0 for every offset at which a segment begins, many times.
fn segments_question(topic: &str, rows: usize) -> Vec<u8> {
    let name = [&(topic.len() as u16).to_be_bytes(), topic.as_bytes()].concat();
    // Replica -1, one topic.
    let mut body = [&[0, 2, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..], &[0xff; 4], &[0, 0, 0, 1], &name].concat();
    body.extend((rows as u32).to_be_bytes());
    for _ in 0..rows {
        // Partition 0, time -1, as many as there are.
        body.extend([&[0; 4][..], &[0xff; 8], &i32::MAX.to_be_bytes()].concat());
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// A row of 16 bytes was answered with the offsets of all segments, however many rows there were.
#[test]
fn a_question_for_all_segments_many_times_has_a_bounded_answer() {
    let broker = Broker::start(LIMIT, &["log.roll.ms=1"]);
    let mut client = broker.connect();
    client.create_topic("t", 1);
    for index in 0..2_000 {
        let mut builder = BatchBuilder::new();
        builder.append(1_000 + 10 * index, None, Some(b"v"), []);
        assert_eq!(client.produce_batch("t", builder.build().unwrap().freeze()), index);
    }
    client.socket.write_all(&segments_question("t", 60_000)).unwrap();
    let answer = client.receive_bytes();
    assert!((8 << 20..10 << 20).contains(&answer.len()), "{}", answer.len());
    client.greet();
    client.is_greeted();
    broker.end();
}

/// A batch of 90 KB became 90 MB for each connection that looked for a timestamp in it.
#[test]
fn timestamps_are_looked_for_in_few_large_batches_at_once() {
    const CONNECTIONS: usize = 40;
    let broker = Broker::start(LIMIT, &[]);
    let mut client = broker.connect();
    client.create_topic("t", 1);
    let mut builder = BatchBuilder::new().compression(Codec::Gzip, Level::DEFAULT);
    builder.append(1_000, None, Some(&vec![0; 90_000_000]), []);
    assert_eq!(client.produce_batch("t", builder.build().unwrap().freeze()), 0);

    let partition = ListOffsetsPartition::default().with_timestamp(500);
    let topic = ListOffsetsTopic::default().with_name(topic_name("t")).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let question = frame(ApiKey::ListOffsets, 1, &request);
    let mut asking: Vec<Client> = (0..CONNECTIONS).map(|_| broker.connect()).collect();
    for client in &mut asking {
        client.socket.write_all(&question).unwrap();
    }
    for client in &mut asking {
        let response: ListOffsetsResponse = client.receive(ApiKey::ListOffsets, 1);
        let row = &response.topics[0].partitions[0];
        assert_eq!((row.error_code, row.offset, row.timestamp), (0, 0, 1_000));
    }
    broker.end();
}
