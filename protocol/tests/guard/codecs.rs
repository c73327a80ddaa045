//! kafka-protocol's codecs by API key.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use milena_protocol::schema;

use crate::allocations::allocated_by;

/// What the crate does with the requests or responses of one API.
pub(crate) struct Codec {
    pub(crate) api_key: i16,
    pub(crate) is_request: bool,
    pub(crate) versions: VersionRange,
    pub(crate) header_version: fn(i16) -> i16,
    pub(crate) decode: fn(Bytes, i16) -> Decoded,
}

impl Codec {
    pub(crate) fn message(&self) -> &'static schema::Message {
        let find = if self.is_request { schema::request } else { schema::response };
        find(self.api_key).unwrap_or_else(|| panic!("the table lacks key {}", self.api_key))
    }

    pub(crate) fn versions(&self) -> impl Iterator<Item = i16> + use<> {
        self.versions.min..=self.versions.max
    }
}

/// What came of decoding.
pub(crate) struct Decoded {
    /// Bytes read and bytes written again, or the decoder's complaint.
    pub(crate) again: Result<(usize, BytesMut), String>,
    /// Heap taken while decoding.
    pub(crate) allocated: usize,
}

fn decode<T: Decodable + Encodable>(mut body: Bytes, version: i16) -> Decoded {
    let total = body.len();
    let (decoded, allocated) = allocated_by(|| T::decode(&mut body, version));
    let again = decoded.and_then(|message| {
        let mut again = BytesMut::new();
        message.encode(&mut again, version)?;
        Ok((total - body.len(), again))
    });
    Decoded { again: again.map_err(|error| error.to_string()), allocated }
}

fn of<T>(codecs: &mut Vec<Codec>)
where
    T: Request + Decodable + Encodable + Message + HeaderVersion,
    T::Response: Decodable + Encodable + Message + HeaderVersion,
{
    codecs.push(Codec {
        api_key: T::KEY,
        is_request: true,
        versions: T::VERSIONS,
        header_version: T::header_version,
        decode: decode::<T>,
    });
    codecs.push(Codec {
        api_key: T::KEY,
        is_request: false,
        versions: <T::Response as Message>::VERSIONS,
        header_version: T::Response::header_version,
        decode: decode::<T::Response>,
    });
}

macro_rules! codecs {
    ($($request:ident)*) => {{
        let mut codecs = Vec::new();
        $(of::<$request>(&mut codecs);)*
        codecs
    }};
}

/// Every request and response that the crate knows.
pub(crate) fn all() -> Vec<Codec> {
    codecs! {
        ProduceRequest
        FetchRequest
        ListOffsetsRequest
        MetadataRequest
        OffsetCommitRequest
        OffsetFetchRequest
        FindCoordinatorRequest
        JoinGroupRequest
        HeartbeatRequest
        LeaveGroupRequest
        SyncGroupRequest
        DescribeGroupsRequest
        ListGroupsRequest
        SaslHandshakeRequest
        ApiVersionsRequest
        CreateTopicsRequest
        DeleteTopicsRequest
        DeleteRecordsRequest
        InitProducerIdRequest
        OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest
        AddOffsetsToTxnRequest
        EndTxnRequest
        WriteTxnMarkersRequest
        TxnOffsetCommitRequest
        DescribeAclsRequest
        CreateAclsRequest
        DeleteAclsRequest
        DescribeConfigsRequest
        AlterConfigsRequest
        AlterReplicaLogDirsRequest
        DescribeLogDirsRequest
        SaslAuthenticateRequest
        CreatePartitionsRequest
        CreateDelegationTokenRequest
        RenewDelegationTokenRequest
        ExpireDelegationTokenRequest
        DescribeDelegationTokenRequest
        DeleteGroupsRequest
        ElectLeadersRequest
        IncrementalAlterConfigsRequest
        AlterPartitionReassignmentsRequest
        ListPartitionReassignmentsRequest
        OffsetDeleteRequest
        DescribeClientQuotasRequest
        AlterClientQuotasRequest
        DescribeUserScramCredentialsRequest
        AlterUserScramCredentialsRequest
        VoteRequest
        BeginQuorumEpochRequest
        EndQuorumEpochRequest
        DescribeQuorumRequest
        AlterPartitionRequest
        UpdateFeaturesRequest
        EnvelopeRequest
        FetchSnapshotRequest
        DescribeClusterRequest
        DescribeProducersRequest
        BrokerRegistrationRequest
        BrokerHeartbeatRequest
        UnregisterBrokerRequest
        DescribeTransactionsRequest
        ListTransactionsRequest
        AllocateProducerIdsRequest
        ConsumerGroupHeartbeatRequest
        ConsumerGroupDescribeRequest
        ControllerRegistrationRequest
        GetTelemetrySubscriptionsRequest
        PushTelemetryRequest
        AssignReplicasToDirsRequest
        ListConfigResourcesRequest
        DescribeTopicPartitionsRequest
        ShareGroupHeartbeatRequest
        ShareGroupDescribeRequest
        ShareFetchRequest
        ShareAcknowledgeRequest
        AddRaftVoterRequest
        RemoveRaftVoterRequest
        UpdateRaftVoterRequest
        InitializeShareGroupStateRequest
        ReadShareGroupStateRequest
        WriteShareGroupStateRequest
        DeleteShareGroupStateRequest
        ReadShareGroupStateSummaryRequest
        DescribeShareGroupOffsetsRequest
        AlterShareGroupOffsetsRequest
        DeleteShareGroupOffsetsRequest
    }
}
