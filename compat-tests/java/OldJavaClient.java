import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;

/**
 * Clients of 0.9 to 1.1: produces with every codec of theirs, consumes that and what newer clients wrote. What a release
 * lacks (timestamps before 0.10, headers before 0.11) is looked for by name, so that one source fits all of them.
 */
public class OldJavaClient {
    private static final int RECORDS = 30;
    private static final long A_TIME = 1_700_000_000_000L;
    /** What the scenario wrote into each topic of today. */
    private static final int RECORDS_OF_TODAY = 40;

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String prefix = arguments[1];
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4"}) {
            for (String acks : new String[] {"1", "all"}) {
                String topic = prefix + "-" + codec + "-" + acks;
                produce(bootstrap, topic, settings("compression.type", codec, "acks", acks));
                consume(bootstrap, topic, RECORDS);
            }
        }
        produce(bootstrap, prefix + "-acks-0", settings("acks", "0"));
        consume(bootstrap, prefix + "-acks-0", RECORDS);
        if (isKnown("ENABLE_IDEMPOTENCE_CONFIG")) {
            Properties idempotent = settings("acks", "all", "enable.idempotence", "true", "compression.type", "lz4");
            idempotent.put("max.in.flight.requests.per.connection", "1");
            produce(bootstrap, prefix + "-idempotent", idempotent);
            consume(bootstrap, prefix + "-idempotent", RECORDS);
        }
        for (String topic : Arrays.asList(arguments).subList(2, arguments.length)) {
            consume(bootstrap, topic, RECORDS_OF_TODAY);
        }
    }

    private static Properties settings(String... pairs) {
        Properties properties = new Properties();
        properties.put("linger.ms", "50");
        properties.put("retries", "5");
        for (int i = 0; i < pairs.length; i += 2) {
            properties.put(pairs[i], pairs[i + 1]);
        }
        return properties;
    }

    private static boolean isKnown(String setting) {
        try {
            org.apache.kafka.clients.producer.ProducerConfig.class.getField(setting);
            return true;
        } catch (NoSuchFieldException e) {
            return false;
        }
    }

    private static void produce(String bootstrap, String topic, Properties properties) throws Exception {
        properties.put("bootstrap.servers", bootstrap);
        properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (int i = 0; i < RECORDS; i++) {
                String key = i % 3 == 0 ? null : "key-" + i;
                String value = i % 7 == 0 ? null : "value " + i + " äöü, again and again and again";
                sent.add(producer.send(record(topic, A_TIME + i, key, value)));
            }
            producer.flush();
        }
        System.out.println("produced " + topic);
        for (Future<RecordMetadata> future : sent) {
            RecordMetadata metadata = future.get();
            System.out.println("  " + metadata.partition() + " " + metadata.offset() + " " + call(metadata, "timestamp"));
        }
    }

    @SuppressWarnings("unchecked")
    private static ProducerRecord<String, String> record(String topic, long time, String key, String value) throws Exception {
        for (Constructor<?> constructor : ProducerRecord.class.getConstructors()) {
            Class<?>[] types = constructor.getParameterTypes();
            if (types.length == 5 && types[2] == Long.class) {
                ProducerRecord<String, String> record =
                    (ProducerRecord<String, String>) constructor.newInstance(topic, 0, time, key, value);
                Object headers = call(record, "headers");
                if (!"-".equals(headers)) {
                    headers.getClass().getMethod("add", String.class, byte[].class)
                        .invoke(headers, "number", value == null ? null : "1".getBytes(StandardCharsets.UTF_8));
                }
                return record;
            }
        }
        return new ProducerRecord<>(topic, 0, key, value);
    }

    private static void consume(String bootstrap, String topic, int expected) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", "never-joined");
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("enable.auto.commit", "false");
        TopicPartition partition = new TopicPartition(topic, 0);
        List<TopicPartition> assigned = Collections.singletonList(partition);
        System.out.println("consumed " + topic);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            consumer.assign(assigned);
            Method toBeginning = method(consumer, "seekToBeginning", 1);
            if (toBeginning.isVarArgs()) {
                // 0.9 asks for committed offsets before it asks where the beginning is.
                consumer.seek(partition, 0);
            } else {
                toBeginning.invoke(consumer, assigned);
            }
            int seen = 0;
            // What nobody of that time can decompress never comes.
            long giveUp = System.currentTimeMillis() + (topic.contains("zstd") ? 3_000 : 60_000);
            while (seen < expected && System.currentTimeMillis() < giveUp) {
                for (ConsumerRecord<String, String> record : consumer.poll(500)) {
                    seen++;
                    System.out.println("  " + record.offset() + " " + call(record, "timestampType") + " "
                        + call(record, "timestamp") + " " + record.key() + " " + record.value() + " " + headers(record));
                }
            }
            System.out.println("  position " + consumer.position(partition));
            if (!toBeginning.isVarArgs()) {
                Object end = method(consumer, "seekToEnd", 1).invoke(consumer, assigned);
                System.out.println("  end " + consumer.position(partition));
            }
            if (hasMethod(consumer, "endOffsets", 1)) {
                System.out.println("  beginning " + method(consumer, "beginningOffsets", 1).invoke(consumer, assigned)
                    + " end " + method(consumer, "endOffsets", 1).invoke(consumer, assigned) + " by time "
                    + method(consumer, "offsetsForTimes", 1).invoke(consumer, Collections.singletonMap(partition, A_TIME + 5)));
            }
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                System.out.println("  partition " + info.partition() + " led by " + info.leader().id() + " replicas "
                    + info.replicas().length + " in sync " + info.inSyncReplicas().length);
            }
        } catch (Exception e) {
            Throwable cause = e instanceof java.lang.reflect.InvocationTargetException ? e.getCause() : e;
            System.out.println("  " + cause.getClass().getName() + ": " + cause.getMessage());
        }
    }

    private static String headers(ConsumerRecord<String, String> record) throws Exception {
        Object headers = call(record, "headers");
        if ("-".equals(headers)) {
            return "";
        }
        StringBuilder text = new StringBuilder();
        for (Object header : (Iterable<?>) headers) {
            Object key = call(header, "key");
            byte[] value = (byte[]) call(header, "value");
            text.append(key).append('=').append(value == null ? "null" : new String(value, StandardCharsets.UTF_8)).append(' ');
        }
        return text.toString();
    }

    /** What a method without parameters returns, or "-" in a release without it. */
    private static Object call(Object target, String name) throws Exception {
        return hasMethod(target, name, 0) ? method(target, name, 0).invoke(target) : "-";
    }

    private static boolean hasMethod(Object target, String name, int parameters) {
        return method(target, name, parameters) != null;
    }

    private static Method method(Object target, String name, int parameters) {
        for (Method method : target.getClass().getMethods()) {
            if (method.getName().equals(name) && method.getParameterTypes().length == parameters) {
                method.setAccessible(true);
                return method;
            }
        }
        return null;
    }
}
