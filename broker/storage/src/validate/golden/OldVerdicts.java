import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.function.Consumer;
import java.util.zip.CRC32;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.server.common.MetadataVersion;
import org.apache.kafka.storage.internals.log.*;

/**
 * Prints old_verdicts.txt: what the code of Apache Kafka 3.9 says to message sets of magic 0 and 1 in a Produce of v0-2.
 * One case is one line of `name|topic type|compacted|compression.type|max.message.bytes|input hex|verdict`, the verdict
 * being `ok output hex`, `nothing` or `error code index,index…`. The steps are those of UnifiedLog.append, in their order.
 */
public class OldVerdicts {
    static final long NOW = 1700000000000L;
    static final TopicPartition T0 = new TopicPartition("t", 0);

    static byte[] utf8(String text) {
        return text == null ? null : text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static byte[] array(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }

    static byte[] edit(byte[] bytes, Consumer<ByteBuffer> edit) {
        byte[] copy = bytes.clone();
        edit.accept(ByteBuffer.wrap(copy));
        return copy;
    }

    static byte[] concat(byte[]... parts) {
        int length = 0;
        for (byte[] part : parts)
            length += part.length;
        ByteBuffer all = ByteBuffer.allocate(length);
        for (byte[] part : parts)
            all.put(part);
        return all.array();
    }

    static byte[] withCrc(byte[] message) {
        CRC32 crc = new CRC32();
        crc.update(message, 16, message.length - 16);
        return edit(message, b -> b.putInt(12, (int) crc.getValue()));
    }

    /** Any message, also one that no builder would write. */
    static byte[] message(long offset, int magic, int attributes, long timestamp, byte[] key, byte[] value) {
        int size = (magic == 0 ? 14 : 22) + (key == null ? 0 : key.length) + (value == null ? 0 : value.length);
        ByteBuffer b = ByteBuffer.allocate(12 + size).putLong(offset).putInt(size).putInt(0).put((byte) magic).put((byte) attributes);
        if (magic != 0)
            b.putLong(timestamp);
        for (byte[] field : new byte[][] {key, value}) {
            b.putInt(field == null ? -1 : field.length);
            if (field != null)
                b.put(field);
        }
        return withCrc(b.array());
    }

    static byte[] message(long offset, int magic, long timestamp, String key, String value) {
        return message(offset, magic, 0, timestamp, utf8(key), utf8(value));
    }

    static byte[] compress(CompressionType codec, int magic, byte[] bytes) {
        try {
            ByteBufferOutputStream out = new ByteBufferOutputStream(64);
            try (OutputStream stream = Compression.of(codec).build().wrapForOutput(out, (byte) magic)) {
                stream.write(bytes);
            }
            ByteBuffer buffer = out.buffer();
            buffer.flip();
            return array(buffer);
        } catch (java.io.IOException e) {
            throw new RuntimeException(e);
        }
    }

    static byte[] wrapper(long offset, int magic, int attributes, CompressionType codec, long timestamp, byte[]... messages) {
        return message(offset, magic, attributes | codec.id, timestamp, null, compress(codec, magic, concat(messages)));
    }

    static String verdict(byte[] input, TimestampType type, boolean compacted, String compression, int maxMessageBytes) {
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(input.clone()));
            CompressionType source = CompressionType.NONE;
            int validBytes = 0;
            for (MutableRecordBatch batch : records.batches()) {
                if (batch.magic() >= 2 && batch.baseOffset() != 0)
                    throw new org.apache.kafka.common.InvalidRecordException("base offset");
                if (batch.sizeInBytes() > maxMessageBytes)
                    throw new RecordTooLargeException("");
                if (!batch.isValid())
                    throw new CorruptRecordException("crc");
                batch.maxTimestamp();
                validBytes += batch.sizeInBytes();
                CompressionType codec = CompressionType.forId(batch.compressionType().id);
                if (codec != CompressionType.NONE)
                    source = codec;
            }
            if (validBytes == 0)
                return "nothing";
            records = MemoryRecords.readableRecords(ByteBuffer.wrap(Arrays.copyOf(input, validBytes)));
            Compression target = switch (compression) {
                case "producer" -> Compression.of(source).build();
                case "uncompressed" -> Compression.NONE;
                default -> Compression.of(compression).build();
            };
            LogValidator validator = new LogValidator(records, T0, new FixedTime(), source, target, compacted, (byte) 2, type,
                Long.MAX_VALUE, 3600000L, 7, AppendOrigin.CLIENT, MetadataVersion.IBP_3_9_IV0);
            LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(
                PrimitiveRef.ofLong(100L), new NoMetrics(), BufferSupplier.NO_CACHING);
            for (RecordBatch batch : result.validatedRecords.batches())
                if (batch.sizeInBytes() > maxMessageBytes)
                    throw new RecordTooLargeException("");
            return "ok " + HexFormat.of().formatHex(array(result.validatedRecords.buffer()));
        } catch (RecordValidationException e) {
            StringJoiner indexes = new StringJoiner(",");
            e.recordErrors().forEach(error -> indexes.add(String.valueOf(error.batchIndex)));
            return "error " + Errors.forException(e.invalidException()).code() + " " + indexes;
        } catch (Throwable e) {
            return "error " + Errors.forException(e).code() + " ";
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

    static void run(String name, byte[] input, TimestampType type, boolean compacted, String compression, int maxMessageBytes) {
        System.out.println(String.join("|", name, type.name, String.valueOf(compacted), compression, String.valueOf(maxMessageBytes),
            HexFormat.of().formatHex(input), verdict(input, type, compacted, compression, maxMessageBytes)));
    }

    static void run(String name, byte[] input) {
        run(name, input, TimestampType.CREATE_TIME, false, "producer", 1048588);
    }

    static void compacted(String name, byte[] input) {
        run(name + ", compacted", input, TimestampType.CREATE_TIME, true, "producer", 1048588);
    }

    static void limited(String name, byte[] input, String compression, int maxMessageBytes) {
        run(name + " of " + maxMessageBytes, input, TimestampType.CREATE_TIME, false, compression, maxMessageBytes);
    }

    public static void main(String[] arguments) throws Exception {
        List<CompressionType> codecs = List.of(CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4);
        String long50 = "fifty".repeat(10);
        for (int magic = 0; magic <= 1; magic++) {
            final int m = magic;
            String v = "magic " + magic + " ";
            byte[][] three = {
                message(0, magic, NOW - 5, "a", "one"), message(1, magic, NOW + 7, null, long50), message(2, magic, NOW, "c", null)
            };
            byte[] plain = concat(three);
            run(v + "plain", plain);
            compacted(v + "plain", plain);
            for (String type : List.of("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"))
                for (TimestampType timestampType : List.of(TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME))
                    run(v + "plain to " + type, plain, timestampType, false, type, 1048588);
            run(v + "plain, cut off", Arrays.copyOf(plain, plain.length - 1));
            run(v + "plain, cut off in the third's header", Arrays.copyOf(plain, three[0].length + three[1].length + 9));
            run(v + "only a cut off one", Arrays.copyOf(three[0], three[0].length - 1));
            run(v + "wild offsets", concat(message(7, magic, NOW, "a", "x"), message(-3, magic, NOW, "a", "x"), message(7, magic, NOW, "a", "x")));
            run(v + "wrong checksum", edit(plain, b -> b.put(15, (byte) (b.get(15) ^ 1))));
            run(v + "wrong checksum in the second", edit(plain, b -> b.put(three[0].length + 15, (byte) (b.get(three[0].length + 15) ^ 1))));
            run(v + "undefined format in the second", edit(plain, b -> b.put(three[0].length + 16, (byte) 3)));
            run(v + "size 13 in the second", edit(plain, b -> b.putInt(three[0].length + 8, 13)));
            run(v + "mixed with the other", concat(three[0], message(1, 1 - magic, NOW, "a", "x")));
            run(v + "mixed with a batch", concat(three[0], array(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer())));
            run(v + "mixed with a batch, harmed", concat(three[0], edit(array(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer()), b -> b.put(20, (byte) (b.get(20) ^ 1)))));
            run(v + "mixed with a compressed batch", concat(three[0], array(MemoryRecords.withRecords(Compression.gzip().build(), new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer())));
            run(v + "behind a batch", concat(array(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer()), three[0]));
            run(v + "key reaches out", withCrc(edit(three[0], b -> b.putInt(m == 0 ? 18 : 26, 99))));
            compacted(v + "key reaches out", withCrc(edit(three[0], b -> b.putInt(m == 0 ? 18 : 26, 99))));
            run(v + "value reaches out behind one from the future", concat(message(0, magic, NOW + 3600001, "a", "x"), withCrc(edit(three[0], b -> b.putInt(m == 0 ? 23 : 31, 99)))));
            run(v + "value reaches out behind one from the future to gzip", concat(message(0, magic, NOW + 3600001, "a", "x"), withCrc(edit(three[0], b -> b.putInt(m == 0 ? 23 : 31, 99)))), TimestampType.CREATE_TIME, false, "gzip", 1048588);
            run(v + "value shorter than the message", withCrc(edit(three[0], b -> b.putInt(m == 0 ? 23 : 31, 1))));
            run(v + "from the future", concat(message(0, magic, NOW + 3600000, "a", "x"), message(1, magic, NOW + 3600001, "a", "x")));
            run(v + "no timestamp", message(0, magic, -1, "a", "x"));
            run(v + "negative timestamp", message(0, magic, -2, "a", "x"));
            run(v + "negative timestamp before one without key", concat(message(0, magic, -2, "a", "x"), message(0, magic, NOW, null, "x")), TimestampType.CREATE_TIME, true, "producer", 1048588);
            run(v + "negative timestamp before one without key to gzip", concat(message(0, magic, -2, "a", "x"), message(0, magic, NOW, null, "x")), TimestampType.CREATE_TIME, true, "gzip", 1048588);
            run(v + "claims log append time", message(0, magic, 8, NOW, utf8("a"), utf8("x")));
            run(v + "claims log append time, log append time", message(0, magic, 8, NOW, utf8("a"), utf8("x")), TimestampType.LOG_APPEND_TIME, false, "producer", 1048588);
            run(v + "claims log append time of -1", message(0, magic, 8, -1, utf8("a"), utf8("x")));
            run(v + "high attribute bits", message(0, magic, 0x70, NOW, utf8("a"), utf8("x")));
            run(v + "codec 5", message(0, magic, 5, NOW, utf8("a"), utf8("x")));
            run(v + "zstd", message(0, magic, 4, NOW, null, utf8("x")));
            limited(v + "each small enough", concat(three[1], three[1]), "producer", three[1].length);
            limited(v + "one too large", concat(three[0], three[1]), "producer", three[1].length - 1);
            limited(v + "too large together only", concat(three[1], three[1]), "producer", three[1].length + 20);
            limited(v + "too large uncompressed only", message(0, magic, NOW, "a", long50.repeat(4)), "gzip", 230);
            limited(v + "exactly as large as allowed", three[0], "producer", 73);
            limited(v + "one larger than allowed", three[0], "producer", 72);
            for (CompressionType codec : codecs) {
                String c = v + codec.name + " ";
                byte[] good = wrapper(2, magic, 0, codec, NOW + 7, three);
                MemoryRecords built = MemoryRecords.withRecords((byte) magic, 40L, Compression.of(codec).build(), TimestampType.CREATE_TIME,
                    new SimpleRecord(NOW, "a".getBytes(), "one".getBytes()), new SimpleRecord(NOW - 1, null, long50.getBytes()));
                run(c + "built", array(built.buffer()));
                run(c + "good", good);
                compacted(c + "good", good);
                for (String type : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd"))
                    for (TimestampType timestampType : List.of(TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME))
                        run(c + "to " + type, good, timestampType, false, type, 1048588);
                run(c + "cut off", Arrays.copyOf(good, good.length - 1));
                run(c + "and a cut off message", concat(good, Arrays.copyOf(three[0], 20)));
                run(c + "wrappers, two", concat(good, good));
                run(c + "wrapper and a message", concat(good, three[0]));
                run(c + "message and a wrapper", concat(three[0], good));
                run(c + "wrapper offset 0", wrapper(0, magic, 0, codec, NOW, three));
                run(c + "wrapper offset 1", wrapper(1, magic, 0, codec, NOW, three));
                run(c + "wrapper offset 99", wrapper(99, magic, 0, codec, NOW, three));
                run(c + "wrapper offset negative", wrapper(-5, magic, 0, codec, NOW, three));
                run(c + "inner offsets all 0", wrapper(2, magic, 0, codec, NOW, message(0, magic, NOW, "a", "x"), message(0, magic, NOW, "b", "x")));
                run(c + "inner offsets with a gap", wrapper(9, magic, 0, codec, NOW, message(3, magic, NOW, "a", "x"), message(9, magic, NOW, "b", "x")));
                run(c + "wrapper timestamp wrong", wrapper(2, magic, 0, codec, 5, three));
                run(c + "wrapper from the future", wrapper(2, magic, 0, codec, NOW + 3600001, three));
                run(c + "inner from the future", wrapper(2, magic, 0, codec, NOW, message(0, magic, NOW + 3600001, "a", "x"), three[1], message(2, magic, NOW + 3600001, "a", "x")));
                compacted(c + "inner from the future and without key", wrapper(2, magic, 0, codec, NOW, message(0, magic, NOW + 3600001, "a", "x"), three[1], message(2, magic, NOW, "a", "x")));
                run(c + "claims log append time", wrapper(2, magic, 8, codec, NOW + 3, three));
                run(c + "claims log append time, log append time", wrapper(2, magic, 8, codec, NOW + 3, three), TimestampType.LOG_APPEND_TIME, false, "producer", 1048588);
                run(c + "claims log append time from the future", wrapper(2, magic, 8, codec, NOW + 3600001, three));
                run(c + "claims log append time of -1", wrapper(2, magic, 8, codec, -1, three));
                run(c + "inner claims log append time", wrapper(0, magic, 0, codec, NOW, message(0, magic, 8, NOW, utf8("a"), utf8("x"))));
                run(c + "no messages", wrapper(0, magic, 0, codec, NOW));
                run(c + "null value", message(0, magic, codec.id, NOW, null, null));
                run(c + "empty value", message(0, magic, codec.id, NOW, null, new byte[0]));
                run(c + "with key", message(2, magic, codec.id, NOW, utf8("key"), compress(codec, magic, plain)));
                run(c + "inner cut off", wrapper(1, magic, 0, codec, NOW, three[0], three[1], Arrays.copyOf(three[2], 20)));
                run(c + "only an inner one that is cut off", wrapper(0, magic, 0, codec, NOW, Arrays.copyOf(three[0], 20)));
                run(c + "inner size 13", wrapper(1, magic, 0, codec, NOW, three[0], edit(three[1], b -> b.putInt(8, 13))));
                run(c + "inner wrong checksum", wrapper(1, magic, 0, codec, NOW, three[0], edit(three[1], b -> b.put(15, (byte) (b.get(15) ^ 1)))));
                run(c + "inner of the other format", wrapper(1, magic, 0, codec, NOW, three[0], message(1, 1 - magic, NOW, "a", "x")));
                run(c + "inner of format 2", wrapper(1, magic, 0, codec, NOW, three[0], message(1, 2, NOW, "a", "x")));
                run(c + "inner of a negative format", wrapper(1, magic, 0, codec, NOW, three[0], message(1, -1, NOW, "a", "x")));
                run(c + "nested", wrapper(2, magic, 0, codec, NOW, good));
                run(c + "nested behind a wrong checksum", wrapper(2, magic, 0, codec, NOW, edit(three[1], b -> b.put(15, (byte) (b.get(15) ^ 1))), good));
                run(c + "inner codec 6", wrapper(1, magic, 0, codec, NOW, message(0, magic, 6, NOW, utf8("a"), utf8("x"))));
                run(c + "inner negative timestamp", wrapper(1, magic, 0, codec, NOW, message(0, magic, -2, "a", "x")));
                run(c + "inner key reaches out", wrapper(0, magic, 0, codec, NOW, withCrc(edit(three[0], b -> b.putInt(m == 0 ? 18 : 26, 99)))));
                compacted(c + "inner key reaches out", wrapper(0, magic, 0, codec, NOW, withCrc(edit(three[0], b -> b.putInt(m == 0 ? 18 : 26, 99)))));
                run(c + "inner value reaches out behind one from the future", wrapper(0, magic, 0, codec, NOW, message(0, magic, NOW + 3600001, "a", "x"), withCrc(edit(three[0], b -> b.putInt(m == 0 ? 23 : 31, 99)))));
                byte[] compressed = compress(codec, magic, plain);
                run(c + "truncated", message(2, magic, codec.id, NOW, null, Arrays.copyOf(compressed, compressed.length / 2)));
                run(c + "a byte less", message(2, magic, codec.id, NOW, null, Arrays.copyOf(compressed, compressed.length - 1)));
                run(c + "broken at the start", message(2, magic, codec.id, NOW, null, edit(compressed, b -> b.putInt(0, 0xdeadbeef))));
                run(c + "compressed as the other format", message(2, magic, codec.id, NOW, null, compress(codec, 1 - magic, plain)));
                limited(c + "smaller than what it becomes", good, "uncompressed", good.length);
            }
            run(v + "snappy without framing", message(2, magic, 2, NOW, null, org.xerial.snappy.Snappy.compress(plain)));
            run(v + "snappy without framing, broken", message(2, magic, 2, NOW, null, edit(org.xerial.snappy.Snappy.compress(plain), b -> b.put(0, (byte) 3))));
            byte[] lz4 = compress(CompressionType.LZ4, magic, plain);
            run(v + "lz4 with any header checksum", message(2, magic, 3, NOW, null, edit(lz4, b -> b.put(6, (byte) 0x42))));
            // One byte after the other is wrong, but the checksum is right.
            byte[] one = message(0, magic, NOW, "a", "xy");
            for (int at = 16; at < one.length; at++)
                for (int value : new int[] {0, 1, 2, 0x80, 0xff}) {
                    final int place = at;
                    byte[] edited = withCrc(edit(one, b -> b.put(place, (byte) value)));
                    compacted(v + "byte " + at + " = " + value, edited);
                    run(v + "inner byte " + at + " = " + value, wrapper(0, magic, 0, CompressionType.SNAPPY, NOW, edited));
                }
        }
        run("nothing", new byte[0]);
        run("a few bytes", new byte[13]);
        byte[] batch = array(MemoryRecords.withRecords(Compression.NONE, new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer());
        run("a batch", batch);
        run("a cut off batch", Arrays.copyOf(batch, batch.length - 1));
        run("two batches", concat(batch, batch));
        run("a batch with zstd", array(MemoryRecords.withRecords(Compression.zstd().build(), new SimpleRecord(NOW, "k".getBytes(), "v".getBytes())).buffer()));
    }
}
