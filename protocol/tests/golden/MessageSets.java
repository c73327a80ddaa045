import java.nio.ByteBuffer;
import java.util.*;
import java.util.function.Consumer;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.UnsupportedCompressionTypeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.utils.*;

/**
 * Prints message_sets.txt with the classes of Apache Kafka 3.9. A line is either
 * `read|name|set hex|offset,timestamp,key hex,value hex;…` (nulls are `-`), what is in a set of magic 0 or 1, or
 * `down|name|target magic|first offset|batches hex|set hex`, what batches become for an old consumer; the last field
 * is `zstd` if they cannot be converted.
 */
public class MessageSets {
    static final long NOW = 1700000000000L;
    static final String LONG = "a value that is long enough to compress, ".repeat(3);

    static byte[] utf8(String text) {
        return text == null ? null : text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static byte[] array(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }

    static String hex(ByteBuffer buffer) {
        return buffer == null ? "-" : HexFormat.of().formatHex(array(buffer));
    }

    static byte[] concat(byte[]... parts) {
        java.io.ByteArrayOutputStream all = new java.io.ByteArrayOutputStream();
        for (byte[] part : parts)
            all.writeBytes(part);
        return all.toByteArray();
    }

    static byte[] build(int magic, CompressionType codec, TimestampType type, long baseOffset, boolean transactional, Consumer<MemoryRecordsBuilder> fill) {
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(ByteBuffer.allocate(1024), (byte) magic, Compression.of(codec).build(),
            type, baseOffset, type == TimestampType.LOG_APPEND_TIME ? NOW + 50 : -1, transactional ? 4711 : -1,
            (short) (transactional ? 3 : -1), transactional ? 0 : -1, transactional, false, magic == 2 ? 9 : -1, 1024);
        fill.accept(builder);
        return array(builder.build().buffer());
    }

    static void append(MemoryRecordsBuilder builder, long offset, long timestamp, String key, String value, Header... headers) {
        builder.appendWithOffset(offset, timestamp, utf8(key), utf8(value), headers);
    }

    static void three(MemoryRecordsBuilder builder, long baseOffset) {
        append(builder, baseOffset, NOW + 2, "key", "one");
        append(builder, baseOffset + 1, NOW + 9, null, LONG);
        append(builder, baseOffset + 2, NOW, "", null);
    }

    static void read(String name, byte[] set) {
        StringJoiner records = new StringJoiner(";");
        for (org.apache.kafka.common.record.Record record : MemoryRecords.readableRecords(ByteBuffer.wrap(set)).records())
            records.add(record.offset() + "," + record.timestamp() + "," + hex(record.key()) + "," + hex(record.value()));
        System.out.println(String.join("|", "read", name, HexFormat.of().formatHex(set), records.toString()));
    }

    static void down(String name, long firstOffset, byte[] batches) {
        for (int target = 0; target <= 1; target++) {
            String output;
            try {
                MemoryRecords input = MemoryRecords.readableRecords(ByteBuffer.wrap(batches));
                output = hex(((MemoryRecords) input.downConvert((byte) target, firstOffset, Time.SYSTEM).records()).buffer());
            } catch (UnsupportedCompressionTypeException e) {
                output = "zstd";
            }
            System.out.println(String.join("|", "down", name, String.valueOf(target), String.valueOf(firstOffset),
                HexFormat.of().formatHex(batches), output));
        }
    }

    public static void main(String[] arguments) {
        byte[] marker = array(MemoryRecords.withEndTransactionMarker(13, NOW, 9, 4711L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 9)).buffer());
        for (CompressionType codec : CompressionType.values()) {
            for (TimestampType type : List.of(TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME)) {
                String name = codec.name + (type == TimestampType.CREATE_TIME ? "" : " log append time");
                if (codec != CompressionType.ZSTD) {
                    for (int magic = 0; magic <= 1; magic++) {
                        byte[] set = build(magic, codec, type, 10, false, b -> three(b, 10));
                        byte[] next = build(magic, codec, type, 13, false, b -> three(b, 13));
                        read("magic " + magic + " " + name, set);
                        read("magic " + magic + " " + name + ", two", concat(set, next));
                        read("magic " + magic + " " + name + ", cut off", concat(set, Arrays.copyOf(next, next.length - 1)));
                        read("magic " + magic + " " + name + " with gaps", build(magic, codec, type, 10, false, b -> {
                            append(b, 10, NOW, "k", "v");
                            append(b, 17, NOW - 100, "k", "w");
                        }));
                        down("magic " + magic + " " + name, 11, set);
                        down("magic " + magic + " " + name + " from before", 0, concat(set, next));
                    }
                }
                byte[] batch = build(2, codec, type, 10, false, b -> three(b, 10));
                down(name, 10, batch);
                down(name + " from the middle", 11, batch);
                down(name + " cut off", 10, concat(batch, Arrays.copyOf(batch, batch.length - 1)));
                down(name + " with headers", 10, build(2, codec, type, 10, false, b ->
                    append(b, 10, NOW, "k", "v", new RecordHeader("a", utf8("b")), new RecordHeader("a", null))));
                down(name + " with gaps", 12, build(2, codec, type, 10, false, b -> {
                    append(b, 11, NOW, "k", "v");
                    append(b, 14, NOW - 100, "k", "w");
                }));
                down(name + " without timestamps", 10, build(2, codec, type, 10, false, b -> append(b, 10, -1, "k", "v")));
                down(name + " transactional, a marker, another", 10, concat(build(2, codec, type, 10, true, b -> three(b, 10)), marker,
                    build(2, codec, type, 14, false, b -> three(b, 14))));
                down(name + " two, from the second", 14, concat(batch, build(2, codec, type, 13, false, b -> three(b, 13))));
            }
        }
        down("nothing", 0, new byte[0]);
        down("a marker", 13, marker);
        down("two markers", 13, concat(marker, marker));
        down("every format", 10, concat(build(0, CompressionType.NONE, TimestampType.CREATE_TIME, 10, false, b -> three(b, 10)),
            build(1, CompressionType.GZIP, TimestampType.CREATE_TIME, 13, false, b -> three(b, 13)),
            build(2, CompressionType.LZ4, TimestampType.CREATE_TIME, 16, false, b -> three(b, 16))));
    }
}
