//! Clients of a broker whose disks fail, fill up or rot, on simulated disks: what they are told, and what goes on.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use milena::Broker;
use milena::config::ServerConfig;
use milena_metadata::UNASSIGNED_DIRECTORY;
use milena_protocol::records::BatchBuilder;
use milena_storage::SimDisk;
use milena_storage::disk::Fault;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);
const KAFKA_STORAGE_ERROR: i16 = 56;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const LEADER_NOT_AVAILABLE: i16 = 5;

/// A broker in this process; the disk outlives it.
struct Running {
    runtime: Runtime,
    broker: Broker,
    address: SocketAddr,
}

fn config(log_dirs: &str) -> ServerConfig {
    let properties = [
        ("listeners", "PLAINTEXT://127.0.0.1:0"),
        ("log.dirs", log_dirs),
        ("metadata.log.dir", "/metadata"),
        // Nothing but requests touches the disk while a test waits for its fault.
        ("replica.high.watermark.checkpoint.interval.ms", "1000000"),
        ("log.flush.offset.checkpoint.interval.ms", "1000000"),
        ("log.flush.start.offset.checkpoint.interval.ms", "1000000"),
    ];
    ServerConfig::from_properties(properties).unwrap()
}

fn start(disk: &SimDisk, log_dirs: &str) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let broker = runtime.block_on(Broker::start_on(config(log_dirs), Arc::new(disk.clone()))).unwrap();
    let address = broker.addresses()[0];
    Running { runtime, broker, address }
}

impl Running {
    fn connect(&self) -> Client {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { socket, correlation_id: 0 }
    }

    /// Waits until the controller knows in which log dirs the partitions lie; it is told after the topic's answer.
    fn has_told_where_all_lies(&self) {
        eventually(&false, || {
            let image = self.broker.node().image();
            image.topics.iter().any(|topic| {
                topic.partitions.values().any(|partition| partition.directories.contains(&UNASSIGNED_DIRECTORY))
            })
        });
    }

    fn stop(self) {
        self.runtime.block_on(self.broker.shutdown());
    }

    /// Waits for the broker's own end; says why.
    fn failed(&self) -> String {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.broker.failed()).await }).unwrap()
    }
}

struct Client {
    socket: TcpStream,
    correlation_id: i32,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.append(1_000, None, Some(value), []);
    builder.build().unwrap().freeze()
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

    fn delete_topic(&mut self, name: &str) -> i16 {
        let topic = DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        self.send(ApiKey::DeleteTopics, 6, &request);
        let response: DeleteTopicsResponse = self.receive(ApiKey::DeleteTopics, 6);
        response.responses[0].error_code
    }

    /// Error code and base offset.
    fn produce(&mut self, topic: &str, partition: i32, value: &[u8]) -> (i16, i64) {
        self.produce_in_version(9, topic, partition, value)
    }

    fn produce_in_version(&mut self, version: i16, topic: &str, partition: i32, value: &[u8]) -> (i16, i64) {
        self.send_produce(version, topic, partition, value);
        let response: ProduceResponse = self.receive(ApiKey::Produce, version);
        let row = &response.responses[0].partition_responses[0];
        (row.error_code, row.base_offset)
    }

    fn send_produce(&mut self, version: i16, topic: &str, partition: i32, value: &[u8]) {
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch(value)));
        let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(15_000).with_topic_data(vec![topic]);
        self.send(ApiKey::Produce, version, &request);
    }

    /// Error code, and how many bytes came.
    fn fetch(&mut self, topic: &str, partition: i32, offset: i64) -> (i16, usize) {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_wait_ms(0).with_min_bytes(1).with_max_bytes(1 << 20);
        self.send(ApiKey::Fetch, 12, &request.with_topics(vec![topic]));
        let response: FetchResponse = self.receive(ApiKey::Fetch, 12);
        let row = &response.responses[0].partitions[0];
        (row.error_code, row.records.as_ref().map_or(0, Bytes::len))
    }

    fn list_offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> i16 {
        let partition = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        self.send(ApiKey::ListOffsets, 5, &ListOffsetsRequest::default().with_topics(vec![topic]));
        let response: ListOffsetsResponse = self.receive(ApiKey::ListOffsets, 5);
        response.topics[0].partitions[0].error_code
    }

    /// Error code, leader and offline replicas of a partition.
    fn metadata(&mut self, topic: &str, partition: i32) -> (i16, i32, Vec<i32>) {
        let asked = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        self.send(ApiKey::Metadata, 9, &MetadataRequest::default().with_topics(Some(vec![asked])));
        let response: MetadataResponse = self.receive(ApiKey::Metadata, 9);
        let mut rows = response.topics[0].partitions.iter();
        let row = rows.find(|row| row.partition_index == partition).unwrap();
        (row.error_code, row.leader_id.0, row.offline_replicas.iter().map(|id| id.0).collect())
    }

    /// Error codes by log dir, in the order of the configuration.
    fn log_dirs(&mut self) -> Vec<i16> {
        self.send(ApiKey::DescribeLogDirs, 4, &DescribeLogDirsRequest::default().with_topics(None));
        let response: DescribeLogDirsResponse = self.receive(ApiKey::DescribeLogDirs, 4);
        response.results.iter().map(|row| row.error_code).collect()
    }
}

/// Asks until the answer is the one that must come.
fn eventually<T: PartialEq + std::fmt::Debug>(expected: &T, mut ask: impl FnMut() -> T) {
    let started = Instant::now();
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "still {answer:?}, not {expected:?}");
        std::thread::yield_now();
    }
}

/// Producers are refused on a full disk until the expired segments are gone, which nobody needs to wait for.
#[test]
fn a_full_disk_makes_retention_act_at_once() {
    let disk = SimDisk::new(8);
    let broker = start(&disk, "/one");
    let mut client = broker.connect();
    client.create_topic("old", 1, &[]);
    for offset in 0..3 {
        assert_eq!(client.produce("old", 0, b"expired long ago"), (0, offset));
    }
    disk.fail_after(0, Fault::FullOnce);
    assert_eq!(client.produce("old", 0, b"refused").0, KAFKA_STORAGE_ERROR);
    // OFFSET_OUT_OF_RANGE: the expired records are gone, and their files with them.
    eventually(&(1, 0), || client.fetch("old", 0, 0));
    eventually(&false, || disk.files().keys().any(|path| path.to_string_lossy().ends_with(".deleted")));
    assert_eq!(client.produce("old", 0, b"fourth"), (0, 3));
    broker.stop();
}

/// Which log dir holds a partition.
fn dir_of(disk: &SimDisk, partition: &str) -> PathBuf {
    let files = disk.files();
    let log = files.keys().find(|path| path.to_string_lossy().contains(&format!("/{partition}/"))).unwrap();
    log.parent().unwrap().parent().unwrap().to_owned()
}

/// A producer whose sync failed was told NOT_LEADER_OR_FOLLOWER, and the metadata went on naming a leader.
#[test]
fn a_failed_sync_takes_one_log_dir_offline_for_everybody() {
    let disk = SimDisk::new(1);
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    client.create_topic("t", 2, &[("flush.messages", "1")]);
    for partition in [0, 1] {
        assert_eq!(client.produce("t", partition, b"first"), (0, 0));
    }
    broker.has_told_where_all_lies();
    // The write succeeds, the sync after it does not.
    disk.fail_after(1, Fault::Broken);
    assert_eq!(client.produce("t", 0, b"lost").0, KAFKA_STORAGE_ERROR);
    assert_eq!(client.produce("t", 0, b"late").0, KAFKA_STORAGE_ERROR);
    assert_eq!(client.fetch("t", 0, 0).0, KAFKA_STORAGE_ERROR);
    assert_eq!(client.list_offset("t", 0, -1), KAFKA_STORAGE_ERROR);
    let failed = dir_of(&disk, "t-0");
    let codes = ["/one", "/two"].map(|dir| if Path::new(dir) == failed { KAFKA_STORAGE_ERROR } else { 0 });
    assert_eq!(client.log_dirs(), codes);
    eventually(&(LEADER_NOT_AVAILABLE, -1, vec![1]), || client.metadata("t", 0));

    assert_eq!(client.produce("t", 1, b"second"), (0, 1));
    assert_eq!(client.metadata("t", 1), (0, 1, vec![]));
    assert_eq!(client.log_dirs(), codes, "a failed log dir stays offline");
    client.create_topic("new", 3, &[]);
    assert_eq!(client.produce("new", 2, b"x"), (0, 0));
    broker.stop();

    // The disk was mended: everything acknowledged is there.
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    eventually(&0, || client.fetch("t", 0, 0).0);
    assert_eq!(client.fetch("t", 1, 1).0, 0);
    assert_eq!(client.metadata("t", 0).1, 1);
    broker.stop();
}

#[test]
fn a_read_that_the_device_refuses_takes_its_log_dir_offline() {
    let disk = SimDisk::new(2);
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    for partition in [0, 1] {
        assert_eq!(client.produce("t", partition, b"first"), (0, 0));
    }
    disk.fail_read_after(0);
    assert_eq!(client.fetch("t", 0, 0), (KAFKA_STORAGE_ERROR, 0));
    assert_eq!(client.produce("t", 0, b"late").0, KAFKA_STORAGE_ERROR);
    assert!(client.fetch("t", 1, 0).1 > 0);
    broker.stop();
}

#[test]
fn a_broker_ends_with_its_last_log_dir() {
    let disk = SimDisk::new(3);
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    broker.has_told_where_all_lies();
    disk.fail_after(0, Fault::Broken);
    assert_eq!(client.produce("t", 0, b"x").0, KAFKA_STORAGE_ERROR);
    eventually(&-1, || client.metadata("t", 0).1);
    disk.fail_after(0, Fault::Broken);
    client.send_produce(9, "t", 1, b"x");
    assert_eq!(broker.failed(), "all log dirs have failed");
    broker.stop();
}

/// Producers are refused, everything else goes on, and so do they as soon as there is room.
#[test]
fn a_full_disk_refuses_producers_and_recovers_by_itself() {
    let disk = SimDisk::new(4);
    let broker = start(&disk, "/one");
    let mut client = broker.connect();
    // The records are old: retention, which a full disk asks for at once, would rightly remove them.
    client.create_topic("t", 1, &[("flush.messages", "1"), ("retention.ms", "-1")]);
    assert_eq!(client.produce("t", 0, b"first"), (0, 0));
    disk.fail_after(0, Fault::Full);
    for _ in 0..3 {
        assert_eq!(client.produce("t", 0, b"refused").0, KAFKA_STORAGE_ERROR);
    }
    assert_eq!(client.produce_in_version(3, "t", 0, b"refused").0, NOT_LEADER_OR_FOLLOWER, "they try that again");
    let (code, bytes) = client.fetch("t", 0, 0);
    assert_eq!((code, bytes > 0), (0, true));
    assert_eq!(client.log_dirs(), [0], "a full disk is not a broken one");
    assert_eq!(client.metadata("t", 0), (0, 1, vec![]));
    disk.heal();
    assert_eq!(client.produce("t", 0, b"second"), (0, 1));
    broker.stop();

    let broker = start(&disk, "/one");
    let mut client = broker.connect();
    assert_eq!(client.fetch("t", 0, 0).0, 0);
    assert_eq!(client.produce("t", 0, b"third"), (0, 2));
    broker.stop();
}

/// A byte that rotted while the broker was down sits in the page cache like any other when it is read, and was sent.
#[test]
fn a_damaged_batch_is_never_sent_and_takes_its_partition_offline_alone() {
    let disk = SimDisk::new(5);
    let broker = start(&disk, "/one");
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    for value in [b"first ", b"second", b"third "] {
        for partition in [0, 1] {
            assert_eq!(client.produce("t", partition, value).0, 0);
        }
    }
    broker.stop();
    let log = Path::new("/one/t-0/00000000000000000000.log");
    let sound = disk.bytes(log).unwrap();
    // A flipped bit of a value; a base offset, which no checksum covers; a length that reaches beyond the end.
    for (position, bit) in [(sound.len() / 3 + 66, 1), (sound.len() / 3 + 7, 4), (sound.len() * 2 / 3 + 9, 1)] {
        let mut bytes = sound.clone();
        bytes[position] ^= bit;
        disk.set_bytes(log, &bytes);
        let broker = start(&disk, "/one");
        let mut client = broker.connect();
        assert_eq!(client.fetch("t", 0, 0), (KAFKA_STORAGE_ERROR, 0), "byte {position}");
        assert_eq!(client.produce("t", 0, b"late").0, KAFKA_STORAGE_ERROR);
        assert_eq!(client.log_dirs(), [0]);
        assert!(client.fetch("t", 1, 0).1 > 0);
        assert_eq!(client.produce("t", 1, b"more").0, 0);
        broker.stop();
    }
    disk.set_bytes(log, &sound);
    let broker = start(&disk, "/one");
    let mut client = broker.connect();
    assert!(client.fetch("t", 0, 0).1 > 0, "once it is mended it serves");
    assert_eq!(client.produce("t", 0, b"fourth"), (0, 3));
    broker.stop();
}

/// One unusable log dir of several kept the whole broker from starting.
#[test]
fn an_unusable_log_dir_leaves_the_others_serving() {
    let disk = SimDisk::new(6);
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    for partition in [0, 1] {
        assert_eq!(client.produce("t", partition, b"first"), (0, 0));
    }
    let (here, there) = if dir_of(&disk, "t-0") == Path::new("/one") { (0, 1) } else { (1, 0) };
    broker.has_told_where_all_lies();
    broker.stop();
    let meta = Path::new("/two/meta.properties");
    let sound = disk.bytes(meta).unwrap();
    disk.set_bytes(meta, b"version=77\n");

    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    assert_eq!(client.log_dirs(), [0, KAFKA_STORAGE_ERROR]);
    assert_eq!(client.produce("t", here, b"second"), (0, 1));
    assert_eq!(client.produce("t", there, b"second").0, KAFKA_STORAGE_ERROR);
    assert_eq!(client.metadata("t", there).1, -1);
    assert!(!disk.files().keys().any(|path| path.starts_with(format!("/one/t-{there}"))), "no empty log beside it");
    broker.stop();
    disk.set_bytes(meta, &sound);

    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    for partition in [here, there] {
        assert_eq!(client.produce("t", partition, b"more").0, 0);
        assert!(client.fetch("t", partition, 0).1 > 0);
    }
    assert_eq!(client.delete_topic("t"), 0);
    broker.stop();
}

/// The data of a partition whose `partition.metadata` was lost counted as nobody's: an empty log was made beside it.
#[test]
fn a_partition_without_its_metadata_file_is_known_by_its_name() {
    let disk = SimDisk::new(7);
    let broker = start(&disk, "/one,/two");
    let mut client = broker.connect();
    client.create_topic("t", 1, &[]);
    assert_eq!(client.produce("t", 0, b"first"), (0, 0));
    broker.stop();
    let file = dir_of(&disk, "t-0").join("t-0/partition.metadata");
    disk.set_bytes(&file, b"");
    let broker = start(&disk, "/one,/two");
    assert_eq!(broker.connect().produce("t", 0, b"second"), (0, 1));
    broker.stop();
}
