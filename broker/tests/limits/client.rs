//! A client over a raw socket, for a test that must know what it sends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse, DescribeConfigsRequest,
    FetchRequest, FetchResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, ProduceRequest,
    ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use milena_protocol::BatchHeader;
use milena_protocol::records::BatchBuilder;

use super::PATIENCE;

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    pub(crate) fn send<T: Encodable>(&mut self, key: ApiKey, version: i16, request: &T) {
        self.socket.write_all(&frame(key, version, request)).unwrap();
    }

    pub(crate) fn receive_bytes(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.socket.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.socket.read_exact(&mut frame).unwrap();
        frame
    }

    pub(crate) fn receive<T: Decodable>(&mut self, key: ApiKey, version: i16) -> T {
        let mut frame = Bytes::from(self.receive_bytes());
        ResponseHeader::decode(&mut frame, key.response_header_version(version)).unwrap();
        T::decode(&mut frame, version).unwrap()
    }

    pub(crate) fn greet(&mut self) {
        self.send(ApiKey::ApiVersions, 0, &ApiVersionsRequest::default());
    }

    pub(crate) fn is_greeted(&mut self) {
        let response: ApiVersionsResponse = self.receive(ApiKey::ApiVersions, 0);
        assert_eq!(response.error_code, 0);
    }

    /// Whether the broker has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.socket.peek(&mut [0; 1]), Ok(0) | Err(_))
    }

    pub(crate) fn create_topic(&mut self, name: &str, partitions: i32) {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
        self.send(ApiKey::CreateTopics, 7, &request);
        let response: CreateTopicsResponse = self.receive(ApiKey::CreateTopics, 7);
        assert_eq!(response.topics[0].error_code, 0);
    }

    /// Appends one record and returns its offset.
    pub(crate) fn produce(&mut self, topic: &str, value: &[u8]) -> i64 {
        let mut builder = BatchBuilder::new();
        builder.append(1_000, None, Some(value), []);
        self.produce_batch(topic, builder.build().unwrap().freeze())
    }

    /// Appends a batch and returns its offset.
    pub(crate) fn produce_batch(&mut self, topic: &str, records: Bytes) -> i64 {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(records));
        let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(30_000).with_topic_data(vec![topic]);
        self.send(ApiKey::Produce, 9, &request);
        let response: ProduceResponse = self.receive(ApiKey::Produce, 9);
        let row = &response.responses[0].partition_responses[0];
        assert_eq!(row.error_code, 0);
        row.base_offset
    }

    /// The batches from an offset on, by their offsets.
    pub(crate) fn fetch(&mut self, topic: &str, offset: i64) -> Vec<(i64, Bytes)> {
        let partition = FetchPartition::default().with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
        let request = FetchRequest::default().with_max_wait_ms(0).with_max_bytes(1 << 20).with_topics(vec![topic]);
        self.send(ApiKey::Fetch, 12, &request);
        let response: FetchResponse = self.receive(ApiKey::Fetch, 12);
        let partition = &response.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let mut records = partition.records.clone().unwrap_or_default();
        let mut batches = Vec::new();
        while let Ok(header) = BatchHeader::parse(&records) {
            if header.size_in_bytes() > records.len() {
                break;
            }
            batches.push((header.base_offset, records.split_to(header.size_in_bytes())));
        }
        batches
    }

    /// Sets a config of the only broker.
    pub(crate) fn alter(&mut self, key: &str, value: &str) -> i16 {
        let config = AlterableConfig::default().with_name(text(key)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text("1"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        self.send(ApiKey::IncrementalAlterConfigs, 1, &request);
        let response: IncrementalAlterConfigsResponse = self.receive(ApiKey::IncrementalAlterConfigs, 1);
        response.responses[0].error_code
    }
}

/// A small question with a large answer: all configs of the broker with their documentation, many times.
pub(crate) fn large_question(times: usize) -> Vec<u8> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource; times])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    frame(ApiKey::DescribeConfigs, 4, &request).to_vec()
}

pub(crate) fn frame<T: Encodable>(key: ApiKey, version: i16, request: &T) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(1);
    let mut frame = BytesMut::from(&[0; 4][..]);
    header.encode(&mut frame, key.request_header_version(version)).unwrap();
    request.encode(&mut frame, version).unwrap();
    let length = u32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
