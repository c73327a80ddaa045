import java.nio.ByteBuffer;
import java.util.*;
import java.util.function.Consumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.storage.internals.log.*;

/**
 * Prints verdicts.txt: what Apache Kafka's own code says to produced batches. One case is one line of
 * `name|topic type|compacted|compression.type|origin|input hex|verdict`, the verdict being `ok output hex` or
 * `error code message; index text; …`. The steps are those of KafkaApis and UnifiedLog.append, in their order.
 */
public class Verdicts {
    static final long NOW = 1700000000000L;
    static final TopicPartition T0 = new TopicPartition("t", 0);
    static final byte V2 = 2;

    static byte[] utf8(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static ByteBuffer wrap(String text) {
        return text == null ? null : ByteBuffer.wrap(utf8(text));
    }

    record Rec(long timestamp, String key, String value, int offset) { }

    static byte[] bytes(MemoryRecords records) {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static byte[] batch(Compression compression, long producerId, int sequence, Rec... records) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), V2, compression,
            TimestampType.CREATE_TIME, 0L, -1L, producerId, producerId < 0 ? (short) -1 : (short) 3, sequence, false, false, -1);
        for (Rec record : records)
            builder.appendWithOffset(record.offset, record.timestamp, wrap(record.key), wrap(record.value));
        return bytes(builder.build());
    }

    static byte[] simple(Compression compression) {
        return batch(compression, -1, -1, new Rec(NOW - 5, "a", "one", 0), new Rec(NOW + 7, "b", "two", 1),
            new Rec(NOW - 9, "c", "three".repeat(8), 2));
    }

    /** Change bytes and put the checksum right. */
    static byte[] edit(byte[] batch, Consumer<ByteBuffer> change) {
        byte[] copy = batch.clone();
        change.accept(ByteBuffer.wrap(copy));
        ByteBuffer.wrap(copy).putInt(17, (int) Crc32C.compute(copy, 21, copy.length - 21));
        return copy;
    }

    /** The batch with its compressed records replaced. */
    static byte[] payload(byte[] batch, byte[] records) {
        byte[] copy = Arrays.copyOf(batch, 61 + records.length);
        System.arraycopy(records, 0, copy, 61, records.length);
        return edit(copy, buffer -> buffer.putInt(8, copy.length - 12));
    }

    static byte[] cut(byte[] batch, int bytes) {
        return payload(batch, Arrays.copyOfRange(batch, 61, batch.length - bytes));
    }

    static byte[] more(byte[] batch, int... extra) {
        byte[] records = Arrays.copyOfRange(batch, 61, batch.length + extra.length);
        for (int i = 0; i < extra.length; i++)
            records[records.length - extra.length + i] = (byte) extra[i];
        return payload(batch, records);
    }

    static byte[] concat(byte[] first, byte[] second) {
        byte[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }

    static Compression target(String name, Compression source) {
        return switch (name) {
            case "producer" -> source;
            case "uncompressed" -> Compression.NONE;
            default -> Compression.of(name).build();
        };
    }

    static String verdict(byte[] input, TimestampType type, boolean compacted, String compression, AppendOrigin origin) {
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(input.clone()));
            if (origin == AppendOrigin.CLIENT)
                ProduceRequest.validateRecords((short) 9, records);
            CompressionType source = CompressionType.NONE;
            for (MutableRecordBatch batch : records.batches()) {
                if (origin == AppendOrigin.CLIENT && batch.baseOffset() != 0)
                    throw new org.apache.kafka.common.InvalidRecordException("base offset");
                if (!batch.isValid())
                    throw new CorruptRecordException("crc");
                source = CompressionType.forId(batch.compressionType().id);
            }
            records = MemoryRecords.readableRecords(ByteBuffer.wrap(Arrays.copyOf(input, records.validBytes())));
            LogValidator validator = new LogValidator(records, T0, new FixedTime(), source,
                target(compression, Compression.of(source).build()), compacted, V2, type, Long.MAX_VALUE, 3600000L, 7, origin);
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
                PrimitiveRef.ofLong(100L), new NoMetrics(), RequestLocal.withThreadConfinedCaching().bufferSupplier());
            return "ok " + HexFormat.of().formatHex(bytes(result.validatedRecords()));
        } catch (RecordValidationException e) {
            StringBuilder text = new StringBuilder("error " + Errors.forException(e.invalidException()).code() + " "
                + e.invalidException().getMessage());
            e.recordErrors().forEach(error -> text.append("; ").append(error.batchIndex).append(' ').append(error.message));
            return text.toString();
        } catch (Throwable e) {
            return "error " + Errors.forException(e).code();
        }
    }

    static class FixedTime implements Time {
        public long milliseconds() { return NOW; }
        public long hiResClockMs() { return NOW; }
        public long nanoseconds() { return 0; }
        public void sleep(long ms) { }
        public void waitObject(Object o, java.util.function.Supplier<Boolean> c, long d) { }
    }

    static class NoMetrics implements LogValidator.MetricsRecorder {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    }

    static void run(String name, byte[] input, TimestampType type, boolean compacted, String compression, AppendOrigin origin) {
        System.out.println(String.join("|", name, type.name, String.valueOf(compacted), compression, origin.name(),
            HexFormat.of().formatHex(input), verdict(input, type, compacted, compression, origin)));
    }

    static void run(String name, byte[] input) {
        run(name, input, TimestampType.CREATE_TIME, false, "producer", AppendOrigin.CLIENT);
    }

    public static void main(String[] arguments) {
        Map<String, Compression> codecs = new LinkedHashMap<>();
        codecs.put("none", Compression.NONE);
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd"))
            codecs.put(codec, Compression.of(codec).build());

        codecs.forEach((codec, compression) -> {
            byte[] good = simple(compression);
            run(codec + " good", good);
            run(codec + " log append time", good, TimestampType.LOG_APPEND_TIME, false, "producer", AppendOrigin.CLIENT);
            for (String type : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
                run(codec + " to " + type, good, TimestampType.CREATE_TIME, false, type, AppendOrigin.CLIENT);
                run(codec + " to " + type + " log append time", good, TimestampType.LOG_APPEND_TIME, false, type, AppendOrigin.CLIENT);
            }
            run(codec + " max timestamp too large", edit(good, b -> b.putLong(35, NOW + 99)));
            run(codec + " max timestamp too small", edit(good, b -> b.putLong(35, 1)));
            run(codec + " no timestamps", batch(compression, -1, -1, new Rec(-1, "a", "x", 0), new Rec(-1, "b", "x", 1)));
            run(codec + " negative base timestamp", edit(good, b -> b.putLong(27, -1000000)));
            run(codec + " future", batch(compression, -1, -1, new Rec(NOW + 3600001, "a", "x", 0), new Rec(NOW, "b", "x", 1), new Rec(NOW + 3600000, "c", "x", 2), new Rec(NOW + 9999999, "d", "x", 3)));
            run(codec + " future, log append time", batch(compression, -1, -1, new Rec(NOW + 3600001, "a", "x", 0)), TimestampType.LOG_APPEND_TIME, false, "producer", AppendOrigin.CLIENT);
            byte[] keyless = batch(compression, -1, -1, new Rec(NOW, null, "x", 0), new Rec(NOW, "k", "x", 1), new Rec(NOW, null, "y", 2), new Rec(NOW, null, "y", 3), new Rec(NOW, null, null, 4));
            run(codec + " without key", keyless);
            run(codec + " without key, compacted", keyless, TimestampType.CREATE_TIME, true, "producer", AppendOrigin.CLIENT);
            run(codec + " without key and future, compacted", batch(compression, -1, -1, new Rec(NOW, null, "x", 0), new Rec(NOW + 3600001, "k", "x", 1), new Rec(NOW + 3600001, null, "x", 2)), TimestampType.CREATE_TIME, true, "producer", AppendOrigin.CLIENT);
            run(codec + " offsets out of order", edit(batch(compression, -1, -1, new Rec(NOW, "a", "x", 0), new Rec(NOW, "b", "x", 2)), b -> b.putInt(23, 1)));
            run(codec + " offsets from 1", edit(batch(compression, -1, -1, new Rec(NOW, "a", "x", 1), new Rec(NOW, "b", "x", 2)), b -> b.putInt(23, 1)));
            run(codec + " last offset delta too large", edit(good, b -> b.putInt(23, 3)));
            run(codec + " last offset delta negative", edit(good, b -> b.putInt(23, -1)));
            run(codec + " count zero", edit(good, b -> b.putInt(57, 0)));
            run(codec + " count negative", edit(good, b -> b.putInt(57, -1)));
            run(codec + " one record more declared", edit(good, b -> b.putInt(57, 4).putInt(23, 3)));
            run(codec + " one record less declared", edit(good, b -> b.putInt(57, 2).putInt(23, 1)));
            run(codec + " a byte more", more(good, 0));
            run(codec + " five bytes more", more(good, 1, 2, 3, 4, 5));
            run(codec + " a byte less", cut(good, 1));
            run(codec + " nine bytes less", cut(good, 9));
            run(codec + " half", cut(good, (good.length - 61) / 2));
            run(codec + " no records bytes", cut(good, good.length - 61));
            run(codec + " broken in the middle", edit(good, b -> b.putInt(61 + (good.length - 61) / 2, 0xdeadbeef)));
            run(codec + " broken at the start", edit(good, b -> b.putInt(61, 0xdeadbeef)));
            run(codec + " producer epoch without id", edit(good, b -> b.putShort(51, (short) 4).putInt(53, 4)));
            run(codec + " idempotent", batch(compression, 9, 4, new Rec(NOW, "a", "x", 0)));
            run(codec + " idempotent to gzip", batch(compression, 9, 4, new Rec(NOW, "a", "x", 0)), TimestampType.CREATE_TIME, false, "gzip", AppendOrigin.CLIENT);
            run(codec + " idempotent without sequence", edit(batch(compression, 9, 0, new Rec(NOW, "a", "x", 0)), b -> b.putInt(53, -1)));
            run(codec + " control", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 0x20))));
            run(codec + " high attribute bits", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 0x7fc0))));
            run(codec + " high attribute bits, max timestamp wrong", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 0x7fc0)).putLong(35, 1)));
            run(codec + " claims log append time", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 8)).putLong(35, NOW + 3)));
            run(codec + " claims log append time to zstd", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 8)).putLong(35, NOW + 3)), TimestampType.CREATE_TIME, false, "zstd", AppendOrigin.CLIENT);
            run(codec + " claims log append time of -1", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 8)).putLong(35, -1)));
            run(codec + " claims log append time, log append time", edit(good, b -> b.putShort(21, (short) (b.getShort(21) | 8))), TimestampType.LOG_APPEND_TIME, false, "producer", AppendOrigin.CLIENT);
            run(codec + " base offset", edit(good, b -> b.putLong(0, 1)));
            run(codec + " wrong codec id", edit(good, b -> b.putShort(21, (short) 5)));
        });
        byte[] good = simple(Compression.NONE);
        run("nothing", new byte[0]);
        run("a cut off batch", Arrays.copyOf(good, good.length - 1));
        run("two batches", concat(good, good));
        run("a batch and a half", concat(good, Arrays.copyOf(good, 70)));
        run("a batch and bytes", concat(good, new byte[] {1, 2, 3}));
        run("a batch and a header of an undefined format", concat(good, edit(good, b -> b.put(16, (byte) 3))));
        run("a batch and an impossible size", concat(good, edit(good, b -> b.putInt(8, 3))));
        run("wrong checksum", simpleBroken());
        run("undefined format", edit(good, b -> b.put(16, (byte) 3)));
        run("negative format", edit(good, b -> b.put(16, (byte) -1)));
        run("format 1", edit(good, b -> b.put(16, (byte) 1)));
        run("format 0", edit(good, b -> b.put(16, (byte) 0)));
        run("size 13", edit(good, b -> b.putInt(8, 13)));
        run("size 40", Arrays.copyOf(edit(good, b -> b.putInt(8, 40)), 52));
        run("negative size", edit(good, b -> b.putInt(8, -1)));
        byte[] marker = bytes(MemoryRecords.withEndTransactionMarker(0L, NOW, -1, 4711L, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 9)));
        run("marker from a client", marker);
        run("marker from the coordinator", marker, TimestampType.CREATE_TIME, true, "zstd", AppendOrigin.COORDINATOR);
        run("marker, log append time", marker, TimestampType.LOG_APPEND_TIME, false, "producer", AppendOrigin.COORDINATOR);
        // One field of a record after the other is wrong.
        byte[] one = batch(Compression.NONE, -1, -1, new Rec(NOW, "a", "x", 0));
        for (int at = 61; at < one.length; at++)
            for (int value : new int[] {0, 1, 2, 0x7f, 0x80, 0xff}) {
                final int place = at;
                run("byte " + at + " = " + value, edit(one, b -> b.put(place, (byte) value)));
            }
    }

    static byte[] simpleBroken() {
        byte[] batch = simple(Compression.NONE);
        batch[17] ^= 1;
        return batch;
    }
}
