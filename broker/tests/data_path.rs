//! The data path of the real binary over a raw socket: what only a restart, a failing disk or a rude client shows.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, FetchRequest,
    FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use milena_protocol::records::BatchBuilder;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a client here has patience: far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker with its log dirs, which outlive it.
struct Node {
    dir: TempDir,
    log_dirs: Vec<PathBuf>,
    overrides: Vec<&'static str>,
}

impl Node {
    fn new(log_dirs: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log_dirs = (0..log_dirs).map(|index| dir.path().join(format!("logs-{index}"))).collect();
        Self { dir, log_dirs, overrides: Vec::new() }
    }

    fn command(&self) -> Command {
        let log_dirs: Vec<_> = self.log_dirs.iter().map(|path| path.display().to_string()).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_milena"));
        command
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", log_dirs.join(","))])
            .args(self.overrides.iter().flat_map(|line| ["--override", line]))
            .current_dir(self.dir.path())
            .env_clear();
        command
    }

    /// What a start says that must be refused.
    fn refused(&self) -> String {
        let output = self.command().output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    fn start(&self) -> Running {
        let mut child = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "the broker ended");
            if let Some((_, rest)) = line.split_once("kcat -b ") {
                break rest.split_once(' ').unwrap().0.replace("localhost", "127.0.0.1");
            }
        };
        Running { child, stdout, address }
    }

    /// Directories of a partition, whole names, in all log dirs.
    fn directories(&self, prefix: &str) -> Vec<PathBuf> {
        let entries = self.log_dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
        found.sort();
        found
    }
}

struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: String,
}

impl Running {
    fn connect(&self) -> Client {
        let socket = TcpStream::connect(&self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { socket, correlation_id: 0 }
    }

    fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.ended();
    }

    /// Waits until the broker has ended; answers how and what it said meanwhile.
    fn ended(&mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves no broker behind; one that ended is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    socket: TcpStream,
    correlation_id: i32,
}

impl Client {
    fn send<T: Encodable>(&mut self, key: ApiKey, version: i16, request: &T) {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id);
        let mut frame = BytesMut::from(&[0; 4][..]);
        header.encode(&mut frame, key.request_header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        let length = u32::try_from(frame.len() - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.socket.write_all(&frame).unwrap();
    }

    fn receive<T: Decodable>(&mut self, key: ApiKey, version: i16) -> T {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut frame).unwrap();
        let mut frame = Bytes::from(frame);
        ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
        T::decode(&mut frame, version).unwrap()
    }

    fn create_topic(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = |(key, value): &(&str, &str)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        self.send(ApiKey::CreateTopics, 7, &request);
        let response: CreateTopicsResponse = self.receive(ApiKey::CreateTopics, 7);
        assert_eq!(response.topics[0].error_code, 0);
    }

    fn delete_topic(&mut self, name: &str) {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        self.send(ApiKey::DeleteTopics, 6, &request);
        let response: DeleteTopicsResponse = self.receive(ApiKey::DeleteTopics, 6);
        assert_eq!(response.responses[0].error_code, 0);
    }

    /// Error code and base offset.
    fn produce(&mut self, topic: &str, partition: i32, records: Bytes) -> (i16, i64) {
        self.send_produce(topic, partition, records);
        self.receive_produced()
    }

    fn send_produce(&mut self, topic: &str, partition: i32, records: Bytes) {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
        let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
        self.send(ApiKey::Produce, 9, &request);
    }

    /// Asks for the first partition, and waits for a byte.
    fn send_fetch(&mut self, topic: &str, max_wait_ms: i32) {
        let partition = FetchPartition::default().with_partition_max_bytes(1_000);
        let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_wait_ms(max_wait_ms).with_min_bytes(1).with_max_bytes(1_000);
        self.send(ApiKey::Fetch, 12, &request.with_topics(vec![topic]));
    }

    fn receive_produced(&mut self) -> (i16, i64) {
        let response: ProduceResponse = self.receive(ApiKey::Produce, 9);
        let row = &response.responses[0].partition_responses[0];
        (row.error_code, row.base_offset)
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn batch(value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(1_000, None, Some(&vec![b'x'; value_bytes]), []);
    builder.build().unwrap().freeze()
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// After kill -9 the records are there, but only in the page cache: the recovery point stood before them. A producer
/// whose answer was lost sends its batch again; the log knows it as a duplicate, the acknowledgement waited for a sync
/// that covers it, and nobody asked for one: REQUEST_TIMED_OUT, again and again, until somebody else appended.
#[test]
fn a_duplicate_that_is_not_on_stable_storage_yet_asks_for_its_sync() {
    let node = Node::new(1);
    let mut builder = BatchBuilder::new().producer(7, 0, 0);
    builder.append(1_000, None, Some(b"once"), []);
    let records = builder.build().unwrap().freeze();

    let broker = node.start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[("flush.messages", "1")]);
    assert_eq!(client.produce("t", 0, records.clone()), (0, 0));
    broker.end(Signal::KILL);

    let broker = node.start();
    assert_eq!(broker.connect().produce("t", 0, records), (0, 0));
}

/// A crash between the record that deletes a topic and the renaming of its directories left them behind, and a topic
/// of the same name could never be used again: its log found another topic's id in the way and stayed offline.
#[test]
fn the_directory_of_a_deleted_topic_makes_room_for_a_new_topic_of_that_name() {
    let node = Node::new(1);
    let left_behind = node.dir.path().join("left-behind");

    let broker = node.start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, batch(10)), (0, 0));
    assert_eq!(client.produce("t", 0, batch(10)), (0, 1));
    copy_dir(&node.directories("t-0")[0], &left_behind);
    client.delete_topic("t");
    broker.end(Signal::KILL);
    let in_the_way = node.log_dirs[0].join("t-0");
    std::fs::rename(&left_behind, &in_the_way).unwrap();

    let broker = node.start();
    assert!(in_the_way.exists(), "what belongs to no topic is left alone");
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, batch(10)), (0, 0));
    let stray = node.directories("t-0.").into_iter().find(|path| path.to_string_lossy().ends_with("-stray")).unwrap();
    assert!(stray.join("00000000000000000000.log").metadata().unwrap().len() > 100, "the old records are kept");
    broker.end(Signal::KILL);

    let broker = node.start();
    assert_eq!(broker.connect().produce("t", 0, batch(10)), (0, 1));
}

/// The checkpoints still list a deleted topic until they are written again. After a crash in between, a new topic of
/// that name began at the log start of the old one.
#[test]
fn a_new_topic_begins_at_zero_whatever_the_checkpoints_say_of_an_old_one() {
    let node = Node::new(1);
    let broker = node.start();
    broker.end(Signal::TERM);
    for name in ["log-start-offset-checkpoint", "recovery-point-offset-checkpoint", "replication-offset-checkpoint"] {
        std::fs::write(node.log_dirs[0].join(name), "0\n1\nt 0 50\n").unwrap();
    }
    let broker = node.start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, batch(10)), (0, 0));
}

/// With its last log dir gone a broker answered KAFKA_STORAGE_ERROR for ever, where Kafka stops and lets its
/// supervisor act. Before that the partitions of the other log dirs are served.
#[test]
fn a_broker_stops_with_its_last_log_dir() {
    let node = Node::new(2);
    let mut broker = node.start();
    let mut client = broker.connect();
    client.create_topic("t", 2, &[("segment.bytes", "1048576")]);
    // A full segment and no directory for the next one: the log dir fails. The one of the metadata log goes last, or the
    // broker would end with it.
    let is_in_first = |partition: i32| !node.directories(&format!("t-{partition}"))[0].starts_with(&node.log_dirs[1]);
    let partitions = if is_in_first(0) { [1, 0] } else { [0, 1] };
    for (index, partition) in partitions.into_iter().enumerate() {
        assert_eq!(client.produce("t", partition, batch(600_000)), (0, 0));
        for directory in node.directories(&format!("t-{partition}")) {
            std::fs::remove_dir_all(directory).unwrap();
        }
        // The second time the broker may end before its answer leaves: nobody waits for it.
        client.send_produce("t", partition, batch(600_000));
        if index == 0 {
            assert_eq!(client.receive_produced().0, 56);
        }
    }
    let (status, said) = broker.ended();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("all log dirs"), "{said}");
}

/// `connections.max.idle.ms` was read and forgotten: peers that had gone without a word were kept for ever, and one that
/// left during a long poll for as long as it had asked to wait, up to 24 days.
#[test]
fn idle_connections_are_closed_and_so_are_those_that_wait_for_ever() {
    let node = Node { overrides: vec!["connections.max.idle.ms=400"], ..Node::new(1) };
    let broker = node.start();
    let mut idle = broker.connect();
    let mut waits = broker.connect();
    waits.create_topic("t", 1, &[]);
    waits.send_fetch("t", i32::MAX);
    for client in [&mut idle, &mut waits] {
        assert_eq!(client.socket.read(&mut [0; 1]).unwrap(), 0, "the broker closes");
    }
}

/// While a topic was being deleted its partitions were gone and the metadata still named them: that is how a partition
/// on a failed disk looks, and consumers were told KAFKA_STORAGE_ERROR.
#[test]
fn a_fetch_that_waits_for_a_topic_being_deleted_is_not_told_of_a_failed_disk() {
    let node = Node::new(1);
    let broker = node.start();
    let (mut consumer, mut admin) = (broker.connect(), broker.connect());
    admin.create_topic("t", 200, &[]);
    consumer.send_fetch("t", 20_000);
    admin.delete_topic("t");
    let response: FetchResponse = consumer.receive(ApiKey::Fetch, 12);
    let code = response.responses[0].partitions[0].error_code;
    assert!([3, 6].contains(&code), "{code}");
}

/// A log that could not be opened after a crash was forgotten: an empty one was made in its place in another log dir as
/// soon as the broker was unfenced, the next clean stop vouched for the whole log dir, and the start after it took the
/// crash's torn tail for what a clean stop had left. Its log start offset was lost, too.
#[test]
fn a_log_that_could_not_be_opened_is_recovered_by_a_later_start() {
    let node = Node::new(2);
    let broker = node.start();
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, batch(10)), (0, 0));
    assert_eq!(client.produce("t", 0, batch(10)), (0, 1));
    broker.end(Signal::KILL);
    let dir = node.log_dirs[0].clone();
    std::fs::write(dir.join("log-start-offset-checkpoint"), "0\n1\nt 0 1\n").unwrap();
    // A torn tail, and something in the way.
    let log = dir.join("t-0/00000000000000000000.log");
    let whole = log.metadata().unwrap().len();
    let torn = &batch(100)[..90];
    std::fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(torn).unwrap();
    let (epochs, kept) = (dir.join("t-0/leader-epoch-checkpoint"), dir.join("kept"));
    std::fs::rename(&epochs, &kept).unwrap();
    std::fs::create_dir(&epochs).unwrap();

    let broker = node.start();
    assert_eq!(broker.connect().produce("t", 0, batch(10)).0, 56);
    broker.end(Signal::TERM);
    assert_eq!(node.directories("t-0").len(), 1, "no empty log in the other log dir");
    assert!(!dir.join(".kafka_cleanshutdown").exists());
    assert_eq!(std::fs::read_to_string(dir.join("log-start-offset-checkpoint")).unwrap(), "0\n1\nt 0 1\n");
    std::fs::remove_dir(&epochs).unwrap();
    std::fs::rename(&kept, &epochs).unwrap();

    let broker = node.start();
    assert_eq!(log.metadata().unwrap().len(), whole, "the tail is cut");
    assert_eq!(broker.connect().produce("t", 0, batch(10)), (0, 2));
}

/// Log dirs in another order, or without the first, made an empty cluster beside the data: the topic was unknown, and a
/// producer created it again.
#[test]
fn log_dirs_whose_metadata_lies_elsewhere_are_refused_untouched() {
    let mut node = Node::new(2);
    let broker = node.start();
    broker.connect().create_topic("kept", 2, &[]);
    broker.end(Signal::TERM);
    node.log_dirs.reverse();
    let files = || -> Vec<_> {
        let entries = node.log_dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let before = files();
    assert!(node.refused().contains("holds this node's metadata log"));
    assert_eq!(files(), before);

    node.log_dirs.pop();
    assert!(node.refused().contains("no log dir holds the metadata log"));
    assert!(!node.log_dirs[0].join("milena-metadata").exists());
}

/// One of two copies was used, and nothing said which.
#[test]
fn copies_of_a_partition_or_of_a_log_dir_are_refused() {
    let mut node = Node::new(2);
    let broker = node.start();
    broker.connect().create_topic("once", 1, &[]);
    broker.end(Signal::TERM);
    let partition = node.directories("once-0").remove(0);
    let other = node.log_dirs.iter().find(|dir| !partition.starts_with(dir)).unwrap().join("once-0");
    copy_dir(&partition, &other);
    assert!(node.refused().contains("once-0 lies in"));
    std::fs::remove_dir_all(&other).unwrap();

    let copy = node.dir.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(node.log_dirs[1].join("meta.properties"), copy.join("meta.properties")).unwrap();
    node.log_dirs.push(copy);
    assert!(node.refused().contains("have the same directory.id"));
    node.log_dirs.pop();
    node.start().end(Signal::TERM);
}
