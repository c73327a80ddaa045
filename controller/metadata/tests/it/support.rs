//! A cluster in memory: decide, apply, next.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::messages::broker_registration_request::{Feature, Listener};
use kafka_protocol::messages::{BrokerHeartbeatRequest, BrokerId, BrokerRegistrationRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use milena_metadata::decide::bootstrap_records;
use milena_metadata::image::SUPPORTED_FEATURES;
use milena_metadata::{Context, Decision, MetadataDelta, MetadataImage, Operation, Record, Response, decide};
use uuid::Uuid;

pub(crate) fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub(crate) fn topic_name(value: &str) -> TopicName {
    TopicName(text(value))
}

pub(crate) fn directory(broker_id: i32) -> Uuid {
    Uuid::from_u128(0x1000 + broker_id as u128)
}

/// A controller without a log: what is decided is applied at once.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) image: MetadataImage,
    pub(crate) static_config: BTreeMap<String, String>,
    pub(crate) seed: u64,
}

impl Cluster {
    /// Bootstrapped, no broker yet.
    pub(crate) fn empty() -> Self {
        let static_config = BTreeMap::new();
        let records = bootstrap_records(&static_config);
        let image = MetadataImage::empty().apply(&records, records.len() as i64 - 1, 1).0;
        Cluster { image, static_config, seed: 7 }
    }

    /// Brokers 1 to `count`, unfenced.
    pub(crate) fn with_brokers(count: i32) -> Self {
        let mut cluster = Cluster::empty();
        for id in 1..=count {
            cluster.start_broker(id, u128::from(id.unsigned_abs()), -1);
        }
        cluster
    }

    pub(crate) fn decide(&self, operation: Operation) -> Decision {
        let context = Context {
            image: &self.image,
            now: 0,
            next_offset: self.image.offset + 1,
            node_id: 1,
            static_config: &self.static_config,
            seed: self.seed,
        };
        decide(&context, operation)
    }

    /// Decides and applies.
    pub(crate) fn run(&mut self, operation: Operation) -> Decision {
        let decision = self.decide(operation);
        self.apply(&decision.records);
        decision
    }

    pub(crate) fn apply(&mut self, records: &[Record]) -> MetadataDelta {
        let offset = self.image.offset + (records.len() as i64).max(1);
        let (image, delta) = self.image.apply(records, offset, 1);
        self.image = image;
        self.seed += 1;
        delta
    }

    pub(crate) fn registration(id: i32, incarnation: u128, previous_epoch: i64) -> BrokerRegistrationRequest {
        let feature = |(name, min, max): &(&str, i16, i16)| {
            Feature::default().with_name(text(name)).with_min_supported_version(*min).with_max_supported_version(*max)
        };
        BrokerRegistrationRequest::default()
            .with_broker_id(BrokerId(id))
            .with_cluster_id(text("cluster"))
            .with_incarnation_id(Uuid::from_u128(incarnation))
            .with_listeners(vec![
                Listener::default()
                    .with_name(text("PLAINTEXT"))
                    .with_host(text("localhost"))
                    .with_port(9092)
                    .with_security_protocol(0),
            ])
            .with_features(SUPPORTED_FEATURES.iter().map(feature).collect())
            .with_log_dirs(vec![directory(id)])
            .with_previous_broker_epoch(previous_epoch)
    }

    /// Registers and unfences; gives the records of both.
    pub(crate) fn start_broker(&mut self, id: i32, incarnation: u128, previous_epoch: i64) -> Vec<Record> {
        let request = Cluster::registration(id, incarnation, previous_epoch);
        let registered = self.run(Operation::RegisterBroker { version: 4, request });
        assert!(matches!(&registered.response, Response::RegisterBroker(response) if response.error_code == 0));
        let mut records = registered.records;
        records.extend(self.heartbeat(id, false, false).records);
        records
    }

    /// The heartbeats of a controlled shutdown, until the broker may stop.
    pub(crate) fn stop_broker(&mut self, id: i32) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            let decision = self.heartbeat(id, false, true);
            records.extend(decision.records);
            let Response::BrokerHeartbeat(response) = decision.response else { panic!("not a heartbeat") };
            if response.should_shut_down {
                return records;
            }
        }
    }

    pub(crate) fn heartbeat(&mut self, id: i32, want_fence: bool, want_shut_down: bool) -> Decision {
        let epoch = self.image.brokers.get(id).map_or(-1, |broker| broker.epoch);
        let request = BrokerHeartbeatRequest::default()
            .with_broker_id(BrokerId(id))
            .with_broker_epoch(epoch)
            .with_current_metadata_offset(self.image.offset)
            .with_want_fence(want_fence)
            .with_want_shut_down(want_shut_down);
        self.run(Operation::BrokerHeartbeat { version: 1, request })
    }

    pub(crate) fn topic(&self, name: &str) -> Arc<milena_metadata::TopicImage> {
        Arc::clone(self.image.topics.by_name(name).unwrap_or_else(|| panic!("no topic {name}")))
    }
}
