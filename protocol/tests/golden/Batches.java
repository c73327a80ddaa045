import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;

/** Prints batches.txt: `name hex` of batches as Apache Kafka's own client builds them. */
public class Batches {
    static byte[] utf8(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static ByteBuffer wrap(String text) {
        return text == null ? null : ByteBuffer.wrap(utf8(text));
    }

    static void print(String name, MemoryRecords records) {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }

    static MemoryRecords sample(Compression compression, TimestampType type) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(4096), (byte) 2, compression, type, 5L,
            1700000009999L, 1234567890123L, (short) 7, 2147483646, true, false, 42);
        builder.append(1700000000000L, wrap("key"), wrap("value"));
        builder.append(1700000000500L, null, wrap("x".repeat(300)));
        builder.append(1699999999000L, wrap("tombstone"), null, new Header[] {
            new RecordHeader("h", utf8("1")), new RecordHeader("h", utf8("2")), new RecordHeader("", (byte[]) null)});
        builder.append(1700000000400L, wrap(""), wrap(""));
        return builder.build();
    }

    public static void main(String[] arguments) {
        print("none", sample(Compression.NONE, TimestampType.CREATE_TIME));
        print("none-log-append-time", sample(Compression.NONE, TimestampType.LOG_APPEND_TIME));
        print("gzip", sample(Compression.gzip().build(), TimestampType.CREATE_TIME));
        print("snappy", sample(Compression.snappy().build(), TimestampType.CREATE_TIME));
        print("lz4", sample(Compression.lz4().build(), TimestampType.CREATE_TIME));
        print("zstd", sample(Compression.zstd().build(), TimestampType.CREATE_TIME));
        print("commit", MemoryRecords.withEndTransactionMarker(0L, 1700000000000L, -1, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
        print("abort", MemoryRecords.withEndTransactionMarker(0L, 1700000000000L, -1, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 9)));
        print("magic-0", MemoryRecords.withRecords((byte) 0, Compression.NONE, new SimpleRecord(utf8("k"), utf8("v"))));
        print("magic-1", MemoryRecords.withRecords((byte) 1, Compression.NONE, new SimpleRecord(1L, utf8("k"), utf8("v"))));
    }
}
