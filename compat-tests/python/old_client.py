"""kafka-python pinned to a broker of 0.10 (and of 0.9): produces with every codec, consumes that and what newer clients wrote."""

import sys

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

RECORDS = 30
RECORDS_OF_TODAY = 40
A_TIME = 1_700_000_000_000
bootstrap, prefix, *today = sys.argv[1:]


def produce(topic, codec, acks, api_version):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        api_version=api_version,
        compression_type=None if codec == "none" else codec,
        acks=acks,
        linger_ms=50,
        retries=5,
    )
    sent = []
    for number in range(RECORDS):
        key = None if number % 3 == 0 else b"key-%d" % number
        value = None if number % 7 == 0 and key else b"value %d, again and again and again" % number
        sent.append(producer.send(topic, key=key, value=value, partition=0, timestamp_ms=A_TIME + number))
    producer.flush()
    print("produced", topic)
    for future in sent:
        metadata = future.get(timeout=30)
        print(" ", metadata.partition, metadata.offset if acks != 0 else "-")
    producer.close()


def consume(topic, expected, api_version):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        api_version=api_version,
        group_id=None,
        enable_auto_commit=False,
        # What nobody of that time can decompress never comes.
        consumer_timeout_ms=3_000 if "zstd" in topic else 60_000,
    )
    partition = TopicPartition(topic, 0)
    print("consumed", topic)
    try:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        seen = 0
        while seen < expected:
            record = next(consumer)
            seen += 1
            print(" ", record.offset, record.timestamp_type, record.timestamp, record.key, record.value)
        print("  position", consumer.position(partition))
        print("  beginning", consumer.beginning_offsets([partition])[partition], "end", consumer.end_offsets([partition])[partition])
        print("  partitions", sorted(consumer.partitions_for_topic(topic)))
    except Exception as error:
        print(" ", type(error).__name__)
    finally:
        consumer.close()


for codec in ["none", "gzip", "snappy", "lz4"]:
    produce(f"{prefix}-{codec}", codec, 1, (0, 10))
    consume(f"{prefix}-{codec}", RECORDS, (0, 10))
produce(f"{prefix}-acks-all", "lz4", "all", (0, 10))
produce(f"{prefix}-acks-0", "none", 0, (0, 10))
consume(f"{prefix}-acks-0", RECORDS, (0, 10))
# Message sets of magic 0, and lz4 with the header checksum of that time.
for codec in ["none", "lz4"]:
    produce(f"{prefix}-0-9-{codec}", codec, 1, (0, 9))
    consume(f"{prefix}-0-9-{codec}", RECORDS, (0, 9))
for topic in today:
    consume(topic, RECORDS_OF_TODAY, (0, 10))
