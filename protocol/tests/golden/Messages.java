import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.*;

/** Prints messages.txt: `name hex` of message bodies as Apache Kafka's own classes write them. */
public class Messages {
    static void print(String name, Message message, int version) {
        ByteBufferAccessor body = MessageUtil.toByteBufferAccessor(message, (short) version);
        byte[] bytes = new byte[body.buffer().remaining()];
        body.buffer().get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }

    public static void main(String[] arguments) {
        DescribeLogDirsResponseData.DescribeLogDirsTopic topic = new DescribeLogDirsResponseData.DescribeLogDirsTopic()
            .setName("t").setPartitions(List.of(new DescribeLogDirsResponseData.DescribeLogDirsPartition()
                .setPartitionIndex(3).setPartitionSize(77).setOffsetLag(2).setIsFutureKey(true)));
        DescribeLogDirsResponseData dirs = new DescribeLogDirsResponseData().setThrottleTimeMs(1).setErrorCode((short) 31)
            .setResults(List.of(
                new DescribeLogDirsResponseData.DescribeLogDirsResult().setLogDir("/data").setTopics(List.of(topic))
                    .setTotalBytes(10).setUsableBytes(5).setIsCordoned(true),
                new DescribeLogDirsResponseData.DescribeLogDirsResult().setErrorCode((short) 56).setLogDir("/lost")));
        print("describe-log-dirs-5", dirs, 5);
        print("write-txn-markers-2", new WriteTxnMarkersRequestData().setMarkers(List.of(
            new WriteTxnMarkersRequestData.WritableTxnMarker().setProducerId(4711).setProducerEpoch((short) 3)
                .setTransactionResult(true).setCoordinatorEpoch(9).setTransactionVersion((byte) 2)
                .setTopics(List.of(new WriteTxnMarkersRequestData.WritableTxnMarkerTopic().setName("t")
                    .setPartitionIndexes(List.of(0, 5)))))), 2);
        print("list-offsets-11", new ListOffsetsRequestData().setReplicaId(-1).setIsolationLevel((byte) 1).setTimeoutMs(7)
            .setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName("t").setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(2).setTimestamp(-6))))), 11);
    }
}
