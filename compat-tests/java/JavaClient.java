import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
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
import org.apache.kafka.common.header.Header;

/** Produces with every codec, with and without idempotence, and with Logstash's settings; consumes with assign. */
public class JavaClient {
    private static final int RECORDS = 30;
    private static final long A_TIME = 1_700_000_000_000L;

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String prefix = arguments[1];
        for (String codec : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            for (boolean idempotent : new boolean[] {false, true}) {
                Properties properties = new Properties();
                properties.put("compression.type", codec);
                properties.put("enable.idempotence", String.valueOf(idempotent));
                properties.put("acks", idempotent ? "all" : "1");
                properties.put("linger.ms", "50");
                String topic = prefix + "-" + codec + "-" + (idempotent ? "idempotent" : "plain");
                produce(bootstrap, topic, properties);
                consume(bootstrap, topic);
            }
        }
        Properties noAcks = new Properties();
        noAcks.put("acks", "0");
        noAcks.put("enable.idempotence", "false");
        produce(bootstrap, prefix + "-acks-0", noAcks);
        consume(bootstrap, prefix + "-acks-0");
        for (String acks : new String[] {"1", "all"}) {
            String topic = prefix + "-logstash-" + acks;
            produce(bootstrap, topic, logstash(acks));
            consume(bootstrap, topic);
        }
    }

    /** What logstash-output-kafka hands to its producer (its create_producer), with the plugin's defaults. */
    private static Properties logstash(String acks) {
        Properties properties = new Properties();
        properties.put("acks", acks);
        properties.put("batch.size", "16384");
        properties.put("buffer.memory", "33554432");
        properties.put("compression.type", "none");
        properties.put("client.dns.lookup", "use_all_dns_ips");
        properties.put("client.id", "logstash");
        properties.put("connections.max.idle.ms", "540000");
        properties.put("linger.ms", "0");
        properties.put("max.request.size", "1048576");
        properties.put("metadata.max.age.ms", "300000");
        properties.put("receive.buffer.bytes", "32768");
        properties.put("reconnect.backoff.ms", "50");
        properties.put("request.timeout.ms", "40000");
        properties.put("retry.backoff.ms", "100");
        properties.put("send.buffer.bytes", "131072");
        properties.put("security.protocol", "PLAINTEXT");
        return properties;
    }

    private static void produce(String bootstrap, String topic, Properties properties) throws Exception {
        properties.put("bootstrap.servers", bootstrap);
        properties.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        properties.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (int i = 0; i < RECORDS; i++) {
                String key = i % 3 == 0 ? null : "key-" + i;
                String value = i % 7 == 0 ? null : "value " + i + " äöü";
                ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, A_TIME + i, key, value);
                record.headers().add("number", String.valueOf(i).getBytes(StandardCharsets.UTF_8));
                record.headers().add("number", null);
                sent.add(producer.send(record));
            }
            producer.flush();
        }
        System.out.println("produced " + topic);
        for (Future<RecordMetadata> future : sent) {
            RecordMetadata metadata = future.get();
            System.out.println("  " + metadata.partition() + " " + metadata.offset() + " " + metadata.timestamp());
        }
    }

    private static void consume(String bootstrap, String topic) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        properties.put("enable.auto.commit", "false");
        properties.put("isolation.level", topic.contains("idempotent") ? "read_committed" : "read_uncommitted");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            List<TopicPartition> assigned = Collections.singletonList(partition);
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
            List<ConsumerRecord<String, String>> records = new ArrayList<>();
            long giveUp = System.currentTimeMillis() + 60_000;
            while (records.size() < RECORDS && System.currentTimeMillis() < giveUp) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(500))) {
                    records.add(record);
                }
            }
            System.out.println("consumed " + topic);
            for (ConsumerRecord<String, String> record : records) {
                StringBuilder headers = new StringBuilder();
                for (Header header : record.headers()) {
                    byte[] value = header.value();
                    headers.append(' ').append(header.key()).append('=')
                        .append(value == null ? "null" : new String(value, StandardCharsets.UTF_8));
                }
                System.out.println("  " + record.offset() + " " + record.timestampType() + " " + record.timestamp() + " "
                    + record.key() + " " + record.value() + headers + " epoch " + record.leaderEpoch().orElse(-1));
            }
            System.out.println("  beginning " + consumer.beginningOffsets(assigned) + " end " + consumer.endOffsets(assigned));
            System.out.println("  by time " + consumer.offsetsForTimes(Collections.singletonMap(partition, A_TIME + 5)));
            System.out.println("  position " + consumer.position(partition));
            for (PartitionInfo info : consumer.partitionsFor(topic)) {
                System.out.println("  partition " + info.partition() + " led by " + info.leader().id());
            }
        }
    }
}
