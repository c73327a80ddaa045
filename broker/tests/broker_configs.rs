//! Broker configs while the broker runs: how they are described, altered, and take effect. The answers in `data` are
//! those of Apache Kafka 4.3.1.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use milena::config::{
    AlterOperation, Alteration, BrokerScope, ConfigEntry, InvalidAlteration, LiveConfig, ServerConfig, describe_broker,
    describe_default_broker, validate_broker_alter,
};
use milena_metadata::{
    ConfigResourceType, ConfigType, MetadataImage, Record, record::ConfigRecord, topic_config::ConfigSource,
};

fn keys(text: &str) -> Vec<(String, String)> {
    text.split(" | ")
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (key, value) = line.split_once('=').expect("key=value");
            (key.trim().to_owned(), value.to_owned())
        })
        .collect()
}

/// A broker with the static keys behind `data/describe_broker.txt`.
fn described_config() -> ServerConfig {
    ServerConfig::from_properties(keys(
        "process.roles=broker,controller | node.id=1 | controller.quorum.voters=1@localhost:39093 | \
         listeners=PLAINTEXT://:39092,CONTROLLER://:39093 | advertised.listeners=PLAINTEXT://localhost:39092 | \
         controller.listener.names=CONTROLLER | log.dirs=/tmp/kafka-data | log.retention.hours=100 | \
         log.roll.hours=50 | offsets.topic.replication.factor=1 | transaction.state.log.replication.factor=1 | \
         transaction.state.log.min.isr=1 | super.users=User:x | some.unknown=1 | sasl.jaas.config=secretstuff | \
         ssl.keystore.password=pw",
    ))
    .unwrap()
}

/// An image with these dynamic configs: (resource name, keys).
fn image(configs: &[(&str, &str)]) -> MetadataImage {
    let records: Vec<Record> = configs
        .iter()
        .flat_map(|(resource, text)| keys(text).into_iter().map(move |(key, value)| (*resource, key, value)))
        .map(|(resource, key, value)| {
            Record::Config(ConfigRecord {
                resource_type: ConfigResourceType::Broker.id(),
                resource_name: resource.into(),
                name: key.into(),
                value: Some(value.into()),
            })
        })
        .collect();
    MetadataImage::from_records(&records, 1, 1)
}

fn shown(resource: &str, entry: &ConfigEntry) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let source = |source: ConfigSource| match source {
        ConfigSource::DynamicBrokerConfig => "DYNAMIC_BROKER_CONFIG",
        ConfigSource::DynamicDefaultBrokerConfig => "DYNAMIC_DEFAULT_BROKER_CONFIG",
        ConfigSource::StaticBrokerConfig => "STATIC_BROKER_CONFIG",
        ConfigSource::DefaultConfig => "DEFAULT_CONFIG",
        other => panic!("a broker's config has no source {other:?}"),
    };
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|synonym| format!("{{{}={} {}}}", synonym.name, text(&synonym.value), source(synonym.source)))
        .collect();
    format!(
        "D{resource}\t{}\t{}\t{}\t{}\t{}\t{}\t[{}]",
        entry.name,
        text(&entry.value),
        source(entry.source),
        entry.read_only,
        entry.sensitive,
        entry.kind.map_or("UNKNOWN", ConfigType::name),
        synonyms.join(" ")
    )
}

#[test]
fn broker_configs_are_described_as_kafka_does() {
    let config = described_config();
    let image = image(&[
        (
            "1",
            "message.max.bytes=2000001 | listener.name.plaintext.ssl.keystore.location=/x | \
             listener.name.plaintext.max.connections=5 | num.io.threads=16 | log.retention.ms=1000 | \
             log.cleanup.policy=compact | listeners=PLAINTEXT://:39092,CONTROLLER://:39093 | \
             max.connections.per.ip.overrides=nosuchhost.invalid:5 | leader.replication.throttled.rate=100 | \
             log.message.timestamp.type=LogAppendTime | unclean.leader.election.enable=true | \
             log.flush.interval.ms=500 | super.users=User:z | listener.name.foo.num.partitions=1 | \
             sasl.jaas.config=x | listener.name.plaintext.plain.sasl.jaas.config=x | remote.fetch.max.wait.ms=1000 | \
             group.share.assignment.interval.ms=500 | transaction.partition.verification.enable=false | \
             max.connections.per.ip=0",
        ),
        (
            "",
            "listener.name.plaintext.max.connections=5 | log.retention.ms=2000 | \
             leader.replication.throttled.rate=100 | min.insync.replicas=1",
        ),
    ]);
    let own = describe_broker(&image, 1, &config.static_config);
    let default = describe_default_broker(&image);
    assert_eq!(own.len(), 347);
    let ours: Vec<String> =
        own.iter().map(|entry| shown("1", entry)).chain(default.iter().map(|entry| shown("", entry))).collect();
    let kafkas: Vec<&str> =
        include_str!("data/describe_broker.txt").lines().filter(|line| !line.starts_with('#')).collect();
    for (ours, kafkas) in ours.iter().zip(&kafkas) {
        assert_eq!(ours, kafkas);
    }
    assert_eq!(ours.len(), kafkas.len());
}

#[test]
fn alterations_of_a_broker_are_checked_as_kafka_does() {
    use AlterOperation::{Append, Set, Subtract};
    use BrokerScope::{ClusterDefault, ThisBroker};
    let config = described_config();
    let image = image(&[]);
    let alter = |scope, operation, text: &str| {
        let altered = keys(text);
        let alterations: Vec<Alteration<'_>> =
            altered.iter().map(|(name, value)| Alteration { name, operation, value: Some(value) }).collect();
        validate_broker_alter(&config, &image, scope, &alterations)
    };
    let refused = |scope, text: &str, message: &str| {
        assert_eq!(alter(scope, Set, text), Err(InvalidAlteration::InvalidRequest(message.to_owned())), "{text}");
    };
    let dynamic = |text: &str, message: &str| {
        let message = format!(
            "Invalid value org.apache.kafka.common.config.ConfigException: {message} for configuration Invalid dynamic \
             configuration"
        );
        refused(ThisBroker, text, &message);
    };
    refused(ThisBroker, "num.partitions=3", "Cannot update these configs dynamically: [num.partitions]");
    refused(
        ThisBroker,
        "num.partitions=3 | auto.create.topics.enable=false",
        "Cannot update these configs dynamically: [num.partitions, auto.create.topics.enable]",
    );
    refused(
        ThisBroker,
        "ssl.keystore.location=/x",
        "These security configs can be dynamically updated only per-listener using the listener prefix: \
         [ssl.keystore.location]",
    );
    for (text, keys) in
        [("listeners=PLAINTEXT://:39092", "[listeners]"), ("cordoned.log.dirs=*", "[cordoned.log.dirs]")]
    {
        let message =
            format!("Cannot update these configs at default cluster level, broker id must be specified: {keys}");
        refused(ClusterDefault, text, &message);
    }
    refused(
        ThisBroker,
        "message.max.bytes=abc",
        "Invalid value abc for configuration message.max.bytes: Not a number of type INT",
    );
    refused(
        ThisBroker,
        "log.retention.ms=0",
        "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1",
    );
    refused(
        ThisBroker,
        "leader.replication.throttled.rate=abc",
        "Invalid value abc for configuration leader.replication.throttled.rate: Not a number of type LONG",
    );
    refused(
        ThisBroker,
        "principal.builder.class=foo",
        "Invalid value foo for configuration principal.builder.class: Class foo could not be found.",
    );
    refused(
        ThisBroker,
        "group.consumer.assignment.interval.ms=99999",
        "group.consumer.assignment.interval.ms must be less than or equal to \
         group.consumer.max.assignment.interval.ms",
    );
    refused(
        ThisBroker,
        "listeners=PLAINTEXT://:39094",
        "requirement failed: controller.listener.names must contain at least one value appearing in the 'listeners' \
         configuration when running the KRaft controller role",
    );
    dynamic(
        "num.io.threads=17",
        "Dynamic thread count update validation failed for num.io.threads=17, value should not be greater than double \
         the current value 8",
    );
    dynamic(
        "num.io.threads=3",
        "Dynamic thread count update validation failed for num.io.threads=3, value should be at least half the current \
         value 8",
    );
    dynamic("max.connections=0", "Invalid max.connections 0");
    dynamic("listener.name.plaintext.max.connection.creation.rate=0", "Invalid max.connection.creation.rate 0");
    dynamic("log.cleaner.threads=3", "Log cleaner threads cannot be increased to more than double the current value 1");
    dynamic(
        "metric.reporters=foo.Bar",
        "Validation of dynamic config update of Set(metric.reporters) failed with class class \
         kafka.server.DynamicMetricsReporters",
    );
    assert_eq!(
        alter(ThisBroker, Append, "message.max.bytes=5"),
        Err(InvalidAlteration::InvalidConfig(
            "Config value append is not allowed for config key: message.max.bytes".to_owned()
        ))
    );
    for (scope, operation, text) in [
        (ClusterDefault, Set, "message.max.bytes=2000000"),
        (ThisBroker, Set, "foo.bar=1"),
        (ThisBroker, Set, "super.users=User:z"),
        (ThisBroker, Set, "num.io.threads=16"),
        (ThisBroker, Set, "listeners=PLAINTEXT://:39092,CONTROLLER://:39093"),
        (ThisBroker, Set, "listener.name.plaintext.ssl.keystore.location=/x"),
        (ClusterDefault, Set, "listener.name.plaintext.max.connections=5"),
        (ThisBroker, Append, "log.cleanup.policy=compact"),
        (ThisBroker, Subtract, "log.cleanup.policy=delete"),
    ] {
        assert_eq!(alter(scope, operation, text), Ok(()), "{text}");
    }
}

#[test]
fn dynamic_values_take_effect_at_once_and_go_back_when_deleted() {
    let config = described_config();
    let live = LiveConfig::new(&config);
    assert_eq!(live.settings().max_connections, i32::MAX);
    live.on_image(&image(&[("", "max.connections=7 | num.partitions=9")]));
    assert_eq!(live.settings().max_connections, 7);
    assert_eq!(live.settings().num_partitions, 1, "a read-only key stays what the file says");
    live.on_image(&image(&[("", "max.connections=7"), ("1", "max.connections=8"), ("2", "max.connections=9")]));
    assert_eq!(live.settings().max_connections, 8);
    live.on_image(&image(&[]));
    assert_eq!(live.settings().max_connections, i32::MAX);
    live.on_image(&image(&[("", "listener.name.plaintext.max.connections=5"), ("1", "max.connections=9")]));
    assert_eq!(live.settings().listener_limits["PLAINTEXT"].max_connections, Some(5));
    assert_eq!(live.settings().max_connections, 9);
}
