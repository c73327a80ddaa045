import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;
import org.apache.kafka.common.record.MemoryRecords;

/**
 * Prints old_messages.txt: `message-version hex` of bodies as the classes of Apache Kafka 3.9.1 write them, in the
 * versions that 4.0 removed and in the lowest one that it kept. What only one of them can say is left at its default.
 */
public class OldMessages {
    static void print(Message message, int... versions) {
        for (int version : versions) {
            java.nio.ByteBuffer body = MessageUtil.toByteBuffer(message, (short) version);
            byte[] bytes = new byte[body.remaining()];
            body.get(bytes);
            String name = message.getClass().getSimpleName().replaceAll("Data$", "");
            System.out.println(name + "-" + version + " " + HexFormat.of().formatHex(bytes));
        }
    }

    static MemoryRecords records(String bytes) {
        return MemoryRecords.readableRecords(java.nio.ByteBuffer.wrap(bytes.getBytes()));
    }

    public static void main(String[] arguments) {
        ProduceRequestData.TopicProduceDataCollection produced = new ProduceRequestData.TopicProduceDataCollection();
        produced.add(new ProduceRequestData.TopicProduceData().setName("syslog").setPartitionData(List.of(
            new ProduceRequestData.PartitionProduceData().setIndex(3).setRecords(records("not looked at here")),
            new ProduceRequestData.PartitionProduceData().setIndex(4).setRecords(null))));
        print(new ProduceRequestData().setAcks((short) -1).setTimeoutMs(1500).setTopicData(produced), 0, 1, 2, 3);
        ProduceResponseData.TopicProduceResponseCollection answered = new ProduceResponseData.TopicProduceResponseCollection();
        answered.add(new ProduceResponseData.TopicProduceResponse().setName("syslog").setPartitionResponses(List.of(
            new ProduceResponseData.PartitionProduceResponse().setIndex(3).setErrorCode((short) 6).setBaseOffset(-1)
                .setLogAppendTimeMs(1234567890123L),
            new ProduceResponseData.PartitionProduceResponse().setIndex(4).setBaseOffset(77))));
        print(new ProduceResponseData().setThrottleTimeMs(9).setResponses(answered), 0, 1, 2, 3);

        print(new FetchRequestData().setReplicaId(-1).setMaxWaitMs(500).setMinBytes(1).setTopics(List.of(
            new FetchRequestData.FetchTopic().setTopic("syslog").setPartitions(List.of(
                new FetchRequestData.FetchPartition().setPartition(3).setFetchOffset(1L << 40)
                    .setPartitionMaxBytes(1 << 20))))), 0, 1, 2, 3, 4);
        print(new FetchResponseData().setThrottleTimeMs(9).setResponses(List.of(
            new FetchResponseData.FetchableTopicResponse().setTopic("syslog").setPartitions(List.of(
                new FetchResponseData.PartitionData().setPartitionIndex(3).setHighWatermark(99)
                    .setAbortedTransactions(null).setRecords(records("not looked at here")))))), 0, 1, 2, 3, 4);

        print(new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
            new ListOffsetsRequestData.ListOffsetsTopic().setName("t").setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(2).setTimestamp(-1))))), 0, 1);
        print(new ListOffsetsResponseData().setTopics(List.of(
            new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("t").setPartitions(List.of(
                new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(3)
                    .setErrorCode((short) 6))))), 0, 1);

        print(new OffsetCommitRequestData().setGroupId("group").setTopics(List.of(
            new OffsetCommitRequestData.OffsetCommitRequestTopic().setName("t").setPartitions(List.of(
                new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(1).setCommittedOffset(55)
                    .setCommittedMetadata("meta"),
                new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(2).setCommittedOffset(56)
                    .setCommittedMetadata(null))))), 0, 1, 2);
        print(new OffsetCommitResponseData().setTopics(List.of(
            new OffsetCommitResponseData.OffsetCommitResponseTopic().setName("t").setPartitions(List.of(
                new OffsetCommitResponseData.OffsetCommitResponsePartition().setPartitionIndex(1)
                    .setErrorCode((short) 16))))), 0, 1, 2);
        print(new OffsetFetchRequestData().setGroupId("group").setTopics(List.of(
            new OffsetFetchRequestData.OffsetFetchRequestTopic().setName("t").setPartitionIndexes(List.of(0, 7)))), 0, 1);
        print(new OffsetFetchResponseData().setTopics(List.of(
            new OffsetFetchResponseData.OffsetFetchResponseTopic().setName("t").setPartitions(List.of(
                new OffsetFetchResponseData.OffsetFetchResponsePartition().setPartitionIndex(7).setCommittedOffset(-1)
                    .setMetadata("").setErrorCode((short) 3))))), 0, 1);

        CreateTopicsRequestData.CreatableTopicCollection topics = new CreateTopicsRequestData.CreatableTopicCollection();
        CreateTopicsRequestData.CreatableTopicConfigCollection configs = new CreateTopicsRequestData.CreatableTopicConfigCollection();
        configs.add(new CreateTopicsRequestData.CreatableTopicConfig().setName("retention.ms").setValue("1000"));
        configs.add(new CreateTopicsRequestData.CreatableTopicConfig().setName("cleanup.policy").setValue(null));
        CreateTopicsRequestData.CreatableReplicaAssignmentCollection assignments = new CreateTopicsRequestData.CreatableReplicaAssignmentCollection();
        assignments.add(new CreateTopicsRequestData.CreatableReplicaAssignment().setPartitionIndex(0).setBrokerIds(List.of(1, 2)));
        topics.add(new CreateTopicsRequestData.CreatableTopic().setName("a").setNumPartitions(2)
            .setReplicationFactor((short) 1).setConfigs(configs));
        topics.add(new CreateTopicsRequestData.CreatableTopic().setName("b").setNumPartitions(-1)
            .setReplicationFactor((short) -1).setAssignments(assignments));
        print(new CreateTopicsRequestData().setTopics(topics).setTimeoutMs(5000), 0, 1, 2);
        CreateTopicsResponseData.CreatableTopicResultCollection created = new CreateTopicsResponseData.CreatableTopicResultCollection();
        created.add(new CreateTopicsResponseData.CreatableTopicResult().setName("a"));
        created.add(new CreateTopicsResponseData.CreatableTopicResult().setName("b").setErrorCode((short) 36)
            .setErrorMessage("Topic 'b' already exists."));
        print(new CreateTopicsResponseData().setThrottleTimeMs(3).setTopics(created), 0, 1, 2);
        print(new DeleteTopicsRequestData().setTopicNames(List.of("a", "b")).setTimeoutMs(5000), 0, 1);
        DeleteTopicsResponseData.DeletableTopicResultCollection deleted = new DeleteTopicsResponseData.DeletableTopicResultCollection();
        deleted.add(new DeleteTopicsResponseData.DeletableTopicResult().setName("a").setErrorCode((short) 3));
        print(new DeleteTopicsResponseData().setThrottleTimeMs(3).setResponses(deleted), 0, 1);

        OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection epochs = new OffsetForLeaderEpochRequestData.OffsetForLeaderTopicCollection();
        epochs.add(new OffsetForLeaderEpochRequestData.OffsetForLeaderTopic().setTopic("t").setPartitions(List.of(
            new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(1).setLeaderEpoch(5),
            new OffsetForLeaderEpochRequestData.OffsetForLeaderPartition().setPartition(2).setLeaderEpoch(6))));
        print(new OffsetForLeaderEpochRequestData().setTopics(epochs), 0, 1, 2);
        OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResultCollection ends = new OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResultCollection();
        ends.add(new OffsetForLeaderEpochResponseData.OffsetForLeaderTopicResult().setTopic("t").setPartitions(List.of(
            new OffsetForLeaderEpochResponseData.EpochEndOffset().setPartition(1).setLeaderEpoch(4).setEndOffset(900))));
        print(new OffsetForLeaderEpochResponseData().setThrottleTimeMs(3).setTopics(ends), 0, 1, 2);

        print(new WriteTxnMarkersRequestData().setMarkers(List.of(
            new WriteTxnMarkersRequestData.WritableTxnMarker().setProducerId(4711).setProducerEpoch((short) 3)
                .setTransactionResult(true).setCoordinatorEpoch(9).setTopics(List.of(
                    new WriteTxnMarkersRequestData.WritableTxnMarkerTopic().setName("t").setPartitionIndexes(List.of(0, 5)))))), 0, 1);
        print(new WriteTxnMarkersResponseData().setMarkers(List.of(
            new WriteTxnMarkersResponseData.WritableTxnMarkerResult().setProducerId(4711).setTopics(List.of(
                new WriteTxnMarkersResponseData.WritableTxnMarkerTopicResult().setName("t").setPartitions(List.of(
                    new WriteTxnMarkersResponseData.WritableTxnMarkerPartitionResult().setPartitionIndex(5)
                        .setErrorCode((short) 47))))))), 0, 1);

        print(new DescribeAclsRequestData().setResourceTypeFilter((byte) 2).setResourceNameFilter("t")
            .setPrincipalFilter(null).setHostFilter("*").setOperation((byte) 3).setPermissionType((byte) 1), 0, 1);
        print(new DescribeAclsResponseData().setThrottleTimeMs(3).setErrorCode((short) 54).setErrorMessage("none")
            .setResources(List.of(new DescribeAclsResponseData.DescribeAclsResource().setResourceType((byte) 2)
                .setResourceName("t").setAcls(List.of(new DescribeAclsResponseData.AclDescription()
                    .setPrincipal("User:a").setHost("*").setOperation((byte) 3).setPermissionType((byte) 3))))), 0, 1);
        print(new CreateAclsRequestData().setCreations(List.of(new CreateAclsRequestData.AclCreation()
            .setResourceType((byte) 2).setResourceName("t").setPrincipal("User:a").setHost("*").setOperation((byte) 3)
            .setPermissionType((byte) 3))), 0, 1);
        print(new CreateAclsResponseData().setThrottleTimeMs(3).setResults(List.of(
            new CreateAclsResponseData.AclCreationResult().setErrorCode((short) 54).setErrorMessage(null))), 0, 1);
        print(new DeleteAclsRequestData().setFilters(List.of(new DeleteAclsRequestData.DeleteAclsFilter()
            .setResourceTypeFilter((byte) 2).setResourceNameFilter("t").setPrincipalFilter(null).setHostFilter(null)
            .setOperation((byte) 1).setPermissionType((byte) 1))), 0, 1);
        print(new DeleteAclsResponseData().setThrottleTimeMs(3).setFilterResults(List.of(
            new DeleteAclsResponseData.DeleteAclsFilterResult().setErrorMessage("none").setMatchingAcls(List.of(
                new DeleteAclsResponseData.DeleteAclsMatchingAcl().setErrorMessage(null).setResourceType((byte) 2)
                    .setResourceName("t").setPrincipal("User:a").setHost("*").setOperation((byte) 3)
                    .setPermissionType((byte) 3))))), 0, 1);

        print(new DescribeConfigsRequestData().setResources(List.of(
            new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) 2).setResourceName("t")
                .setConfigurationKeys(List.of("retention.ms")),
            new DescribeConfigsRequestData.DescribeConfigsResource().setResourceType((byte) 4).setResourceName("1")
                .setConfigurationKeys(null))), 0, 1);
        print(new DescribeConfigsResponseData().setThrottleTimeMs(3).setResults(List.of(
            new DescribeConfigsResponseData.DescribeConfigsResult().setErrorMessage("").setResourceType((byte) 2)
                .setResourceName("t").setConfigs(List.of(
                    new DescribeConfigsResponseData.DescribeConfigsResourceResult().setName("retention.ms")
                        .setValue("1000").setConfigSource((byte) 1),
                    new DescribeConfigsResponseData.DescribeConfigsResourceResult().setName("cleanup.policy")
                        .setValue(null).setReadOnly(true).setIsSensitive(true).setConfigSource((byte) 5).setSynonyms(List.of(
                            new DescribeConfigsResponseData.DescribeConfigsSynonym().setName("log.cleanup.policy")
                                .setValue("delete").setSource((byte) 5))))))), 0, 1);

        AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopicCollection moved = new AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopicCollection();
        moved.add(new AlterReplicaLogDirsRequestData.AlterReplicaLogDirTopic().setName("t").setPartitions(List.of(1, 2)));
        AlterReplicaLogDirsRequestData.AlterReplicaLogDirCollection dirs = new AlterReplicaLogDirsRequestData.AlterReplicaLogDirCollection();
        dirs.add(new AlterReplicaLogDirsRequestData.AlterReplicaLogDir().setPath("/data").setTopics(moved));
        print(new AlterReplicaLogDirsRequestData().setDirs(dirs), 0, 1);
        print(new AlterReplicaLogDirsResponseData().setThrottleTimeMs(3).setResults(List.of(
            new AlterReplicaLogDirsResponseData.AlterReplicaLogDirTopicResult().setTopicName("t").setPartitions(List.of(
                new AlterReplicaLogDirsResponseData.AlterReplicaLogDirPartitionResult().setPartitionIndex(2)
                    .setErrorCode((short) 57))))), 0, 1);
        DescribeLogDirsRequestData.DescribableLogDirTopicCollection described = new DescribeLogDirsRequestData.DescribableLogDirTopicCollection();
        described.add(new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic("t").setPartitions(List.of(1, 2)));
        print(new DescribeLogDirsRequestData().setTopics(described), 0, 1);
        print(new DescribeLogDirsResponseData().setThrottleTimeMs(3).setResults(List.of(
            new DescribeLogDirsResponseData.DescribeLogDirsResult().setErrorCode((short) 56).setLogDir("/lost"),
            new DescribeLogDirsResponseData.DescribeLogDirsResult().setLogDir("/data").setTopics(List.of(
                new DescribeLogDirsResponseData.DescribeLogDirsTopic().setName("t").setPartitions(List.of(
                    new DescribeLogDirsResponseData.DescribeLogDirsPartition().setPartitionIndex(1).setPartitionSize(77)
                        .setOffsetLag(2).setIsFutureKey(true))))))), 0, 1);

        print(new CreateDelegationTokenRequestData().setMaxLifetimeMs(1000).setRenewers(List.of(
            new CreateDelegationTokenRequestData.CreatableRenewers().setPrincipalType("User").setPrincipalName("a"))), 0, 1);
        print(new CreateDelegationTokenResponseData().setPrincipalType("User").setPrincipalName("a").setIssueTimestampMs(1)
            .setExpiryTimestampMs(2).setMaxTimestampMs(3).setTokenId("id").setHmac(new byte[] {1, 2, 3}).setThrottleTimeMs(4), 0, 1);
        print(new RenewDelegationTokenRequestData().setHmac(new byte[] {1, 2, 3}).setRenewPeriodMs(7), 0, 1);
        print(new RenewDelegationTokenResponseData().setErrorCode((short) 62).setExpiryTimestampMs(8).setThrottleTimeMs(9), 0, 1);
        print(new ExpireDelegationTokenRequestData().setHmac(new byte[] {1, 2, 3}).setExpiryTimePeriodMs(7), 0, 1);
        print(new ExpireDelegationTokenResponseData().setErrorCode((short) 62).setExpiryTimestampMs(8).setThrottleTimeMs(9), 0, 1);
        print(new DescribeDelegationTokenRequestData().setOwners(List.of(
            new DescribeDelegationTokenRequestData.DescribeDelegationTokenOwner().setPrincipalType("User").setPrincipalName("a"))), 0, 1);
        print(new DescribeDelegationTokenResponseData().setThrottleTimeMs(9).setTokens(List.of(
            new DescribeDelegationTokenResponseData.DescribedDelegationToken().setPrincipalType("User").setPrincipalName("a")
                .setIssueTimestamp(1).setExpiryTimestamp(2).setMaxTimestamp(3).setTokenId("id").setHmac(new byte[] {1})
                .setRenewers(List.of(new DescribeDelegationTokenResponseData.DescribedDelegationTokenRenewer()
                    .setPrincipalType("User").setPrincipalName("b"))))), 0, 1);

        // What only the old version can say.
        System.out.print("list-offsets-");
        print(new ListOffsetsRequestData().setReplicaId(-1).setTopics(List.of(
            new ListOffsetsRequestData.ListOffsetsTopic().setName("t").setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(2).setTimestamp(-1)
                    .setMaxNumOffsets(10))))), 0);
        System.out.print("list-offsets-");
        print(new ListOffsetsResponseData().setTopics(List.of(
            new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("t").setPartitions(List.of(
                new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(2)
                    .setOldStyleOffsets(List.of(77L, 5L, 0L)),
                new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(3)
                    .setErrorCode((short) 6))))), 0);
        System.out.print("commit-times-");
        print(new OffsetCommitRequestData().setGroupId("group").setGenerationIdOrMemberEpoch(4).setMemberId("m").setTopics(List.of(
            new OffsetCommitRequestData.OffsetCommitRequestTopic().setName("t").setPartitions(List.of(
                new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(1).setCommittedOffset(55)
                    .setCommitTimestamp(123456789).setCommittedMetadata("meta"))))), 1);
    }
}
