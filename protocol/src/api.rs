//! Which versions of which APIs Apache Kafka 4.3.1 serves on a broker's listener, and the headers they need.
//!
//! This is Kafka's table, not ours: what this broker serves is decided by its own handlers and bounded by this.
//! Source: `common/message/*Request.json` of kafka-clients 4.3.1 and `org.apache.kafka.common.protocol.ApiKeys`.
//! InitProducerId stops at 5: its version 6 is marked unstable and not advertised.

use std::ops::RangeInclusive;

/// A version no API reaches.
const NEVER: i16 = i16::MAX;

/// ApiVersions, whose answer is readable whatever its version.
pub const API_VERSIONS: i16 = 18;

/// One API of Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its number in a request's header.
    pub key: i16,
    /// Its name in Kafka's documentation.
    pub name: &'static str,
    /// Lowest version that Kafka 4.3.1 serves.
    pub min: i16,
    /// Highest version that Kafka 4.3.1 advertises.
    pub max: i16,
    /// First version with compact strings and tagged fields.
    pub flexible_from: i16,
}

const fn api(key: i16, name: &'static str, min: i16, max: i16, flexible_from: i16) -> Api {
    Api { key, name, min, max, flexible_from }
}

/// Every API on a broker's listener, by key.
pub const APIS: [Api; 77] = [
    api(0, "Produce", 3, 13, 9),
    api(1, "Fetch", 4, 18, 12),
    api(2, "ListOffsets", 1, 11, 6),
    api(3, "Metadata", 0, 13, 9),
    api(8, "OffsetCommit", 2, 10, 8),
    api(9, "OffsetFetch", 1, 10, 6),
    api(10, "FindCoordinator", 0, 6, 3),
    api(11, "JoinGroup", 0, 9, 6),
    api(12, "Heartbeat", 0, 4, 4),
    api(13, "LeaveGroup", 0, 5, 4),
    api(14, "SyncGroup", 0, 5, 4),
    api(15, "DescribeGroups", 0, 6, 5),
    api(16, "ListGroups", 0, 5, 3),
    api(17, "SaslHandshake", 0, 1, NEVER),
    api(18, "ApiVersions", 0, 4, 3),
    api(19, "CreateTopics", 2, 7, 5),
    api(20, "DeleteTopics", 1, 6, 4),
    api(21, "DeleteRecords", 0, 2, 2),
    api(22, "InitProducerId", 0, 5, 2),
    api(23, "OffsetForLeaderEpoch", 2, 4, 4),
    api(24, "AddPartitionsToTxn", 0, 5, 3),
    api(25, "AddOffsetsToTxn", 0, 4, 3),
    api(26, "EndTxn", 0, 5, 3),
    api(27, "WriteTxnMarkers", 1, 2, 1),
    api(28, "TxnOffsetCommit", 0, 5, 3),
    api(29, "DescribeAcls", 1, 3, 2),
    api(30, "CreateAcls", 1, 3, 2),
    api(31, "DeleteAcls", 1, 3, 2),
    api(32, "DescribeConfigs", 1, 4, 4),
    api(33, "AlterConfigs", 0, 2, 2),
    api(34, "AlterReplicaLogDirs", 1, 2, 2),
    api(35, "DescribeLogDirs", 1, 5, 2),
    api(36, "SaslAuthenticate", 0, 2, 2),
    api(37, "CreatePartitions", 0, 3, 2),
    api(38, "CreateDelegationToken", 1, 3, 2),
    api(39, "RenewDelegationToken", 1, 2, 2),
    api(40, "ExpireDelegationToken", 1, 2, 2),
    api(41, "DescribeDelegationToken", 1, 3, 2),
    api(42, "DeleteGroups", 0, 2, 2),
    api(43, "ElectLeaders", 0, 2, 2),
    api(44, "IncrementalAlterConfigs", 0, 1, 1),
    api(45, "AlterPartitionReassignments", 0, 1, 0),
    api(46, "ListPartitionReassignments", 0, 0, 0),
    api(47, "OffsetDelete", 0, 0, NEVER),
    api(48, "DescribeClientQuotas", 0, 1, 1),
    api(49, "AlterClientQuotas", 0, 1, 1),
    api(50, "DescribeUserScramCredentials", 0, 0, 0),
    api(51, "AlterUserScramCredentials", 0, 0, 0),
    api(55, "DescribeQuorum", 0, 2, 0),
    api(57, "UpdateFeatures", 0, 2, 0),
    api(60, "DescribeCluster", 0, 2, 0),
    api(61, "DescribeProducers", 0, 0, 0),
    api(64, "UnregisterBroker", 0, 0, 0),
    api(65, "DescribeTransactions", 0, 0, 0),
    api(66, "ListTransactions", 0, 2, 0),
    api(68, "ConsumerGroupHeartbeat", 0, 1, 0),
    api(69, "ConsumerGroupDescribe", 0, 1, 0),
    api(71, "GetTelemetrySubscriptions", 0, 0, 0),
    api(72, "PushTelemetry", 0, 0, 0),
    api(74, "ListConfigResources", 0, 1, 0),
    api(75, "DescribeTopicPartitions", 0, 0, 0),
    api(76, "ShareGroupHeartbeat", 1, 1, 0),
    api(77, "ShareGroupDescribe", 1, 1, 0),
    api(78, "ShareFetch", 1, 2, 0),
    api(79, "ShareAcknowledge", 1, 2, 0),
    api(80, "AddRaftVoter", 0, 1, 0),
    api(81, "RemoveRaftVoter", 0, 0, 0),
    api(83, "InitializeShareGroupState", 0, 0, 0),
    api(84, "ReadShareGroupState", 0, 0, 0),
    api(85, "WriteShareGroupState", 0, 1, 0),
    api(86, "DeleteShareGroupState", 0, 0, 0),
    api(87, "ReadShareGroupStateSummary", 0, 1, 0),
    api(88, "StreamsGroupHeartbeat", 0, 0, 0),
    api(89, "StreamsGroupDescribe", 0, 0, 0),
    api(90, "DescribeShareGroupOffsets", 0, 1, 0),
    api(91, "AlterShareGroupOffsets", 0, 0, 0),
    api(92, "DeleteShareGroupOffsets", 0, 0, 0),
];

/// The API with this key, if a broker's listener has one.
pub fn find(key: i16) -> Option<&'static Api> {
    APIS.binary_search_by_key(&key, |api| api.key).ok().and_then(|index| APIS.get(index))
}

/// The versions of an API that Kafka 4.3.1 serves; `None` for a key it does not know on this listener.
pub fn valid_versions(key: i16) -> Option<RangeInclusive<i16>> {
    find(key).map(|api| api.min..=api.max)
}

/// The highest version of an API that Kafka 4.3.1 advertises.
pub fn latest_version(key: i16) -> Option<i16> {
    find(key).map(|api| api.max)
}

/// Whether an API has compact strings and tagged fields in this version.
pub fn is_flexible(key: i16, version: i16) -> bool {
    find(key).is_some_and(|api| version >= api.flexible_from)
}

/// The version of the header before a request: 2 with tagged fields, else 1.
pub fn request_header_version(key: i16, version: i16) -> i16 {
    if is_flexible(key, version) { 2 } else { 1 }
}

/// The version of the header before a response: 1 with tagged fields, else 0. ApiVersions always answers with 0, so
/// that a client which asks for a version too new can read the answer (KIP-511).
pub fn response_header_version(key: i16, version: i16) -> i16 {
    i16::from(key != API_VERSIONS && is_flexible(key, version))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiKey;

    use super::*;

    #[test]
    fn lists_apis_in_the_order_of_their_keys() {
        assert!(APIS.is_sorted_by(|before, after| before.key < after.key));
    }

    #[test]
    fn agrees_with_kafka_protocol_on_every_header() {
        for api in &APIS {
            // 88 and 89 came after the crate was made.
            let Ok(theirs) = ApiKey::try_from(api.key) else {
                assert!(matches!(api.key, 88 | 89), "{api:?}");
                continue;
            };
            for version in api.min..=api.max {
                assert_eq!(theirs.request_header_version(version), request_header_version(api.key, version), "{api:?}");
                assert_eq!(
                    theirs.response_header_version(version),
                    response_header_version(api.key, version),
                    "{api:?}"
                );
            }
        }
    }

    #[test]
    fn knows_no_version_of_a_controllers_api() {
        assert_eq!(valid_versions(52), None);
        assert_eq!(valid_versions(4), None);
        assert_eq!(valid_versions(-1), None);
        assert_eq!(valid_versions(2), Some(1..=11));
        assert_eq!(latest_version(22), Some(5));
    }
}
