//! What clients from before Kafka 2.1 ask, in versions that Kafka 4 refuses, byte by byte over a socket.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use milena::Broker;
use milena::config::ServerConfig;
use milena::handlers::APIS;
use milena_protocol::control_record::{EndTransactionMarker, TransactionResult};
use milena_protocol::records::BatchBuilder;
use milena_protocol::schema::{self, sample};
use milena_protocol::{Codec, Level, guard, legacy};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const LIST_OFFSETS: i16 = 2;
const CREATE_TOPICS: i16 = 19;
const DESCRIBE_CONFIGS: i16 = 32;
/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What an answer may hold of converted records.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Message sets that Kafka's own classes wrote, by the codec and the magic in their names.
fn golden_set(name: &str) -> Bytes {
    let file = include_str!("../../protocol/tests/golden/message_sets.txt");
    let line = file.lines().find(|line| line.split('|').nth(1) == Some(name)).expect("the name is in the file");
    let digits: Vec<u8> =
        line.split('|').nth(2).unwrap().chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

async fn start(dir: &Path) -> Broker {
    let config = ServerConfig::from_properties([
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", dir.to_str().expect("a path of ASCII")),
    ]);
    Broker::start(config.unwrap()).await.unwrap()
}

/// Runs a test's client against a broker of its own.
async fn with_broker<T: Send + 'static>(dir: &Path, test: impl FnOnce(Client) -> T + Send + 'static) -> T {
    let broker = start(dir).await;
    let address = broker.addresses()[0];
    let result = tokio::task::spawn_blocking(move || test(Client::new(address))).await.unwrap();
    broker.shutdown().await;
    result
}

struct Client {
    socket: TcpStream,
    correlation_id: i32,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, correlation_id: 0 }
    }

    fn send(&mut self, key: i16, version: i16, body: &[u8]) {
        self.correlation_id += 1;
        let mut frame = BytesMut::new();
        frame.put_u32(body.len() as u32 + 11);
        frame.put_i16(key);
        frame.put_i16(version);
        frame.put_i32(self.correlation_id);
        frame.put_slice(&[0, 1, b'c']);
        frame.put_slice(body);
        self.socket.write_all(&frame).unwrap();
    }

    /// The answer's body.
    fn receive(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        assert_eq!(frame.get_i32(), self.correlation_id);
        frame
    }

    fn ask(&mut self, key: i16, version: i16, body: &[u8]) -> Bytes {
        self.send(key, version, body);
        let answer = self.receive();
        check_whole(key, version, &answer);
        answer
    }

    fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let mut body = BytesMut::new();
        body.put_i32(1);
        put_string(&mut body, name);
        body.put_i32(partitions);
        body.put_i16(1);
        body.put_i32(0);
        body.put_i32(configs.len() as i32);
        for (key, value) in configs {
            put_string(&mut body, key);
            put_string(&mut body, value);
        }
        body.put_i32(10_000);
        let mut answer = self.ask(CREATE_TOPICS, 0, &body);
        assert_eq!(answer.get_i32(), 1);
        assert_eq!((get_string(&mut answer), answer.get_i16()), (name.to_owned(), 0));
    }

    /// Error code and base offset.
    fn produce(&mut self, version: i16, topic: &str, partition: i32, records: &[u8]) -> (i16, i64) {
        let mut body = BytesMut::new();
        if version >= 3 {
            body.put_i16(-1);
        }
        body.put_i16(-1);
        body.put_i32(5_000);
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(partition);
        body.put_i32(records.len() as i32);
        body.put_slice(records);
        let mut answer = self.ask(PRODUCE, version, &body);
        assert_eq!(answer.get_i32(), 1);
        assert_eq!(get_string(&mut answer), topic);
        assert_eq!((answer.get_i32(), answer.get_i32()), (1, partition));
        (answer.get_i16(), answer.get_i64())
    }

    /// Error code and records of each partition, in the request's order.
    fn fetch(&mut self, version: i16, topic: &str, max_bytes: i32, wanted: &[(i32, i64)]) -> Vec<(i16, Bytes)> {
        self.send_fetch(version, topic, max_bytes, 500, wanted);
        self.receive_fetched(version)
    }

    fn send_fetch(&mut self, version: i16, topic: &str, max_bytes: i32, max_wait_ms: i32, wanted: &[(i32, i64)]) {
        let mut body = BytesMut::new();
        body.put_i32(-1);
        body.put_i32(max_wait_ms);
        body.put_i32(1);
        if version >= 3 {
            body.put_i32(50 << 20);
        }
        if version >= 4 {
            body.put_i8(0);
        }
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(wanted.len() as i32);
        for (partition, offset) in wanted {
            body.put_i32(*partition);
            body.put_i64(*offset);
            body.put_i32(max_bytes);
        }
        self.send(FETCH, version, &body);
    }

    fn receive_fetched(&mut self, version: i16) -> Vec<(i16, Bytes)> {
        let mut answer = self.receive();
        check_whole(FETCH, version, &answer);
        answer.advance(if version >= 1 { 4 } else { 0 });
        assert_eq!(answer.get_i32(), 1);
        get_string(&mut answer);
        (0..answer.get_i32())
            .map(|_| {
                answer.advance(4);
                let error_code = answer.get_i16();
                answer.advance(8);
                if version >= 4 {
                    answer.advance(8);
                    assert_eq!(answer.get_i32(), -1);
                }
                let length = answer.get_i32() as usize;
                (error_code, answer.split_to(length))
            })
            .collect()
    }

    /// Error code and offsets of one partition.
    fn list_offsets(&mut self, topic: &str, timestamp: i64, max_num_offsets: i32) -> (i16, Vec<i64>) {
        let mut body = BytesMut::new();
        body.put_i32(-1);
        body.put_i32(1);
        put_string(&mut body, topic);
        body.put_i32(1);
        body.put_i32(0);
        body.put_i64(timestamp);
        body.put_i32(max_num_offsets);
        let mut answer = self.ask(LIST_OFFSETS, 0, &body);
        assert_eq!(answer.get_i32(), 1);
        get_string(&mut answer);
        assert_eq!((answer.get_i32(), answer.get_i32()), (1, 0));
        (answer.get_i16(), (0..answer.get_i32()).map(|_| answer.get_i64()).collect())
    }
}

/// The schema walks the answer exactly to its end.
fn check_whole(key: i16, version: i16, answer: &[u8]) {
    assert_eq!(guard::check_response(key, version, answer), Ok(()), "key {key} v{version}");
    assert!(guard::check_response(key, version, &answer[..answer.len() - 1]).is_err(), "key {key} v{version}");
}

fn put_string(body: &mut BytesMut, text: &str) {
    body.put_i16(text.len() as i16);
    body.put_slice(text.as_bytes());
}

fn get_string(body: &mut Bytes) -> String {
    let length = body.get_i16() as usize;
    String::from_utf8(body.split_to(length).to_vec()).unwrap()
}

/// Offset, magic and value of plain messages.
fn messages(mut set: &[u8]) -> Vec<(i64, u8, Vec<u8>)> {
    let mut found = Vec::new();
    while !set.is_empty() {
        let offset = set.get_i64();
        let size = set.get_i32() as usize;
        let (mut message, rest) = set.split_at(size);
        set = rest;
        message.advance(4);
        let magic = message.get_u8();
        assert_eq!(message.get_u8() & 7, 0, "not compressed");
        message.advance(if magic == 1 { 8 } else { 0 });
        let key = message.get_i32();
        message.advance(usize::try_from(key).unwrap_or(0));
        let value = message.get_i32();
        found.push((offset, magic, message[..usize::try_from(value).unwrap_or(0)].to_vec()));
    }
    found
}

fn batch(codec: Codec, values: &[&[u8]]) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT);
    for value in values {
        let headers = [milena_protocol::records::Header { key: b"header", value: Some(b"lost") }];
        builder.append(1_000, Some(b"key"), Some(value), headers);
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_old_version_of_every_api_is_answered_whole() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        let old =
            APIS.iter().flat_map(|api| (api.min..legacy::floor(api.key).unwrap()).map(|version| (api.key, version)));
        let mut asked = 0;
        for (key, version) in old {
            let message = schema::request(key).unwrap();
            for seed in 0..10 {
                let mut body = sample::message(message, version, seed).bytes;
                match key {
                    // Neither silence nor days.
                    PRODUCE => body[..6].copy_from_slice(&[0xff, 0xff, 0, 0, 1, 0]),
                    FETCH => body[4..8].copy_from_slice(&[0, 0, 0, 5]),
                    _ => {}
                }
                client.ask(key, version, &body);
                asked += 1;
            }
        }
        assert!(asked >= 150, "{asked}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_sets_are_stored_as_batches_and_read_in_each_readers_format() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 1, &[]);
        let (zero, one) = (golden_set("magic 0 none"), golden_set("magic 1 none"));
        let count = messages(&zero).len() as i64;
        assert_eq!(client.produce(0, "t", 0, &zero), (0, 0));
        assert_eq!(client.produce(1, "t", 0, &one), (0, count));
        assert_eq!(client.produce(2, "t", 0, &batch(Codec::None, &[b"a batch", b"of two"])), (0, 2 * count));
        let end = 2 * count + 2;
        for (version, magic) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
            // A piece of the log is converted as far as it fits into as many bytes.
            let mut found = Vec::new();
            while found.len() < end as usize {
                let rows = client.fetch(version, "t", 1 << 20, &[(0, found.len() as i64)]);
                assert!(rows[0].0 == 0 && !rows[0].1.is_empty(), "v{version}");
                found.extend(messages(&rows[0].1));
            }
            assert!(found.iter().all(|message| message.1 == magic), "v{version}");
            assert_eq!(found.iter().map(|message| message.0).collect::<Vec<_>>(), (0..end).collect::<Vec<_>>());
            assert_eq!(found.last().unwrap().2, b"of two");
            // From the middle of a batch on.
            let [(0, set)] = &client.fetch(version, "t", 1 << 20, &[(0, end - 1)])[..] else { panic!("one row") };
            assert_eq!(messages(set), [(end - 1, magic, b"of two".to_vec())]);
        }
        let [(0, batches)] = &client.fetch(4, "t", 1 << 20, &[(0, 0)])[..] else { panic!("one row") };
        assert!(milena_protocol::record_batch::batches(batches).all(|batch| batch.is_ok()));
        // From v3 on only batches are taken, as Kafka does.
        assert_eq!(client.produce(3, "t", 0, &one), (87, -1));
        assert_eq!(client.produce(2, "t", 0, &[]), (0, -1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_below_the_first_message_does_not_stop_an_old_consumer() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 1, &[]);
        let value = [b'x'; 1000];
        client.produce(2, "t", 0, &batch(Codec::None, &[&value, &value, &value]));
        for version in 0..=2 {
            let set = &client.fetch(version, "t", 10, &[(0, 0)])[0].1;
            assert_eq!(messages(set).len(), 1, "v{version}");
            let set = &client.fetch(version, "t", 2100, &[(0, 0)])[0].1;
            assert_eq!(messages(set).len(), 2, "v{version}");
        }
        // v3 has a limit for all partitions, and the first batch comes whole.
        assert_eq!(messages(&client.fetch(3, "t", 10, &[(0, 0)])[0].1).len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_bounded_and_every_partition_has_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 3, &[("max.message.bytes", "10000000")]);
        let value = vec![b'x'; 1 << 20];
        for partition in 0..3 {
            for _ in 0..6 {
                assert_eq!(client.produce(2, "t", partition, &batch(Codec::None, &[&value])).0, 0);
            }
        }
        let mut seen = [0; 3];
        for _ in 0..3 {
            let rows = client.fetch(2, "t", 100 << 20, &[(0, 0), (1, 0), (2, 0)]);
            let bytes: usize = rows.iter().map(|row| row.1.len()).sum();
            assert!(bytes > 0 && bytes <= ANSWER_BYTES_MAX, "{bytes}");
            for (seen, row) in seen.iter_mut().zip(&rows) {
                *seen += row.1.len();
            }
        }
        assert!(seen.iter().all(|bytes| *bytes > 0), "{seen:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zstd_is_refused_where_a_consumer_cannot_read_it() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("stored", 1, &[]);
        client.create_topic("configured", 1, &[("compression.type", "zstd")]);
        client.produce(2, "stored", 0, &batch(Codec::None, &[b"before"]));
        client.produce(2, "stored", 0, &batch(Codec::Zstd, &[b"within"]));
        for version in 0..=3 {
            let [(0, set)] = &client.fetch(version, "stored", 1 << 20, &[(0, 0)])[..] else { panic!("v{version}") };
            assert_eq!(messages(set).len(), 1);
            assert_eq!(client.fetch(version, "stored", 1 << 20, &[(0, 1)]), [(76, Bytes::new())]);
            assert_eq!(client.fetch(version, "configured", 1 << 20, &[(0, 0)]), [(76, Bytes::new())]);
        }
        assert_eq!(client.fetch(4, "stored", 1 << 20, &[(0, 1)])[0].0, 0);
    })
    .await;
}

/// Control batches have no form in the old formats. Whoever is sent nothing for them asks again from the same offset:
/// Kafka 3.9 sends half a batch, upon which Java's consumer fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_consumer_is_led_over_control_batches_and_waits_behind_them() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 1, &[]);
        assert_eq!(client.produce(2, "t", 0, &batch(Codec::None, &[b"first"])), (0, 0));
    })
    .await;

    let mut log =
        std::fs::OpenOptions::new().append(true).open(dir.path().join("t-0/00000000000000000000.log")).unwrap();
    let marker = EndTransactionMarker { result: TransactionResult::Commit, coordinator_epoch: 0 };
    let mut appended = |mut batch: BytesMut, offset: i64| {
        milena_protocol::record_batch::set_base_offset(&mut batch, offset);
        log.write_all(&batch).unwrap();
    };
    (1..200).for_each(|offset| appended(marker.batch(7, 0, 1_000), offset));
    appended(batch(Codec::None, &[b"between"]), 200);
    (201..205).for_each(|offset| appended(marker.batch(7, 0, 1_000), offset));
    std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();

    with_broker(dir.path(), |mut client| {
        let address = client.socket.peer_addr().unwrap();
        for version in 0..=3 {
            let [(0, set)] = &client.fetch(version, "t", 100, &[(0, 1)])[..] else { panic!("v{version}") };
            assert_eq!(messages(set).iter().map(|message| message.0).collect::<Vec<_>>(), [200], "v{version}");
            // Only control batches are left: the answer comes empty, but not before its time.
            assert_eq!(client.fetch(version, "t", 100, &[(0, 201)]), [(0, Bytes::new())]);
        }
        let mut waiting = Client::new(address);
        waiting.send_fetch(1, "t", 100, 15_000, &[(0, 201)]);
        assert_eq!(client.produce(2, "t", 0, &batch(Codec::None, &[b"last"])), (0, 205));
        let rows = waiting.receive_fetched(1);
        assert_eq!(messages(&rows[0].1), [(205, 0, b"last".to_vec())]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_listed_as_the_first_consumers_ask_for_them() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 1, &[("segment.bytes", "1048576")]);
        assert_eq!(client.list_offsets("t", -1, 5), (0, vec![0]));
        let value = vec![b'x'; 600 * 1024];
        for _ in 0..4 {
            client.produce(2, "t", 0, &batch(Codec::None, &[&value]));
        }
        assert_eq!(client.list_offsets("t", -1, 1), (0, vec![4]));
        assert_eq!(client.list_offsets("t", -1, 3), (0, vec![4, 3, 2]));
        assert_eq!(client.list_offsets("t", -1, 100), (0, vec![4, 3, 2, 1, 0]));
        assert_eq!(client.list_offsets("t", -2, 100), (0, vec![0]));
        assert_eq!(client.list_offsets("t", i64::MAX, 2), (0, vec![4, 3]));
        assert_eq!(client.list_offsets("t", 1_000, 100), (0, vec![]));
        assert_eq!(client.list_offsets("t", -1, 0), (0, vec![]));
        assert_eq!(client.list_offsets("t", -1, -1), (-1, vec![]));
        assert_eq!(client.list_offsets("t", -3, 1), (35, vec![]));
        assert_eq!(client.list_offsets("nowhere", -1, 1), (3, vec![]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_admin_clients_are_told_what_kafka_told_them() {
    let dir = tempfile::tempdir().unwrap();
    with_broker(dir.path(), |mut client| {
        client.create_topic("t", 1, &[("retention.ms", "1000")]);
        let mut body = BytesMut::new();
        body.put_i32(1);
        body.put_i8(2);
        put_string(&mut body, "t");
        body.put_i32(1);
        put_string(&mut body, "retention.ms");
        let mut answer = client.ask(DESCRIBE_CONFIGS, 0, &body);
        answer.advance(4);
        assert_eq!((answer.get_i32(), answer.get_i16()), (1, 0));
        assert_eq!(
            (get_string(&mut answer), answer.get_i8(), get_string(&mut answer)),
            (String::new(), 2, "t".to_owned())
        );
        assert_eq!(answer.get_i32(), 1);
        assert_eq!((get_string(&mut answer), get_string(&mut answer)), ("retention.ms".to_owned(), "1000".to_owned()));
        // Neither read-only nor sensitive; nor a default, which Kafka 3.9 never says of anything.
        assert_eq!(answer, [0, 0, 0][..]);
    })
    .await;
}
