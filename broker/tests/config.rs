//! What a configuration becomes, and in which words it is refused. The texts are those of Apache Kafka 4.3.1's
//! `KafkaConfig`, without the "requirement failed: " that a reader of a terminal has no use for.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

use std::path::PathBuf;

use milena::config::{Advertised, Bind, Endpoint, Loaded, ServerConfig, Sources, load};

/// A combined node as Kafka's own file describes it; a case adds to it or replaces.
const BASE: &str = "process.roles=broker,controller | node.id=1 | controller.listener.names=CONTROLLER | \
                    listeners=PLAINTEXT://:9092,CONTROLLER://:9093 | controller.quorum.voters=1@localhost:9093";

fn keys(text: &str) -> Vec<(String, String)> {
    text.split(" | ")
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (key, value) = line.split_once('=').expect("key=value");
            (key.trim().to_owned(), value.to_owned())
        })
        .collect()
}

fn with_base(text: &str) -> Result<ServerConfig, String> {
    let mut all = keys(BASE);
    all.extend(keys(text));
    ServerConfig::from_properties(all).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    match with_base(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(message) => assert_eq!(message, expected, "{text}"),
    }
}

#[track_caller]
fn accepted(text: &str) -> ServerConfig {
    with_base(text).unwrap_or_else(|message| panic!("{text}: {message}"))
}

fn endpoint(host: &str, port: u16) -> Advertised {
    Advertised::Endpoint(Endpoint { host: host.to_owned(), port })
}

/// (name, bind, port, advertised) of every client listener.
fn listeners(config: &ServerConfig) -> Vec<(&str, Bind, u16, Advertised)> {
    config
        .listeners
        .iter()
        .map(|listener| (listener.name.as_str(), listener.bind.clone(), listener.port, listener.advertised.clone()))
        .collect()
}

fn sources(environment: &str, overrides: &str) -> Sources {
    Sources { file: None, environment: keys(environment), overrides: keys(overrides) }
}

fn with_file(text: &str, environment: &str) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, text).unwrap();
    load(&Sources { file: Some(file), environment: keys(environment), overrides: Vec::new() })
        .map_err(|error| error.to_string())
}

#[test]
fn refuses_bad_values_in_kafkas_words() {
    let invalid = |key: &str, value: &str, reason: &str| {
        refused(&format!("{key}={value}"), &format!("Invalid value {value} for configuration {key}: {reason}"));
    };
    invalid("num.partitions", "abc", "Not a number of type INT");
    invalid("num.partitions", "", "Not a number of type INT");
    invalid("num.partitions", "99999999999", "Not a number of type INT");
    invalid("num.partitions", "0", "Value must be at least 1");
    invalid("node.id", "-3", "Value must be at least 0");
    invalid("auto.create.topics.enable", "yes", "Expected value to be either true or false");
    invalid("log.cleanup.policy", "foo", "String must be one of: compact, delete");
    invalid("compression.type", "foo", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer");
    invalid("compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1");
    invalid("compression.zstd.level", "99", "Value must be no more than 22");
    invalid("log.cleaner.min.cleanable.ratio", "2.0", "Value must be no more than 1");
    invalid("transaction.state.log.replication.factor", "70000", "Not a number of type SHORT");
    invalid("log.cleaner.io.max.bytes.per.second", "x", "Not a number of type DOUBLE");
    invalid("log.flush.interval.ms", "x", "Not a number of type LONG");
    invalid("log.segment.bytes", "100", "Value must be at least 1048576");
    invalid("fetch.max.bytes", "1", "Value must be at least 1024");
    invalid("process.roles", "zebra", "String must be one of: broker, controller");
    invalid(
        "group.consumer.migration.policy",
        "x",
        "String must be one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL",
    );
    refused("log.dirs=", "Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value");
    refused(
        "process.roles=",
        "Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]",
    );
    refused("offsets.topic.compression.codec=7", "Unknown compression type id: 7");
}

#[test]
fn refuses_what_two_keys_together_forbid() {
    refused("broker.id=2", "You must set `node.id` to the same value as `broker.id`.");
    refused("log.retention.ms=0", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    refused("log.retention.hours=0", "log.retention.ms must be unlimited (-1) or, greater than or equal to 1");
    refused(
        "max.connections.per.ip=0",
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    );
    refused(
        "queued.max.request.bytes=5",
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    );
    refused(
        "replica.lag.time.max.ms=100",
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR",
    );
    refused(
        "log.cleaner.dedupe.buffer.size=100",
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    );
    refused(
        "group.consumer.session.timeout.ms=1",
        "group.consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
    );
    refused(
        "cordoned.log.dirs=/zz",
        "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /zz",
    );
    refused(
        "controller.quorum.voters=2@localhost:9093",
        "If process.roles contains the 'controller' role, the node id 1 must be included in the set of voters \
         controller.quorum.voters=Set(2)",
    );
    refused(
        "controller.quorum.voters=1@localhost",
        "Failed to parse host name from entry 1@localhost for the configuration controller.quorum.voters. Each entry \
         should be in the form `{id}@{host}:{port}`.",
    );
}

#[test]
fn refuses_listeners_as_kafka_does() {
    refused(
        "advertised.listeners=PLAINTEXT://0.0.0.0:9092",
        "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.",
    );
    let creating = |listeners: &str, reason: &str| {
        let list = format!("[{}]", listeners.replace(',', ", "));
        let reason = reason.replace("LIST", &list);
        refused(
            &format!(
                "listeners={listeners} | \
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,B:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            &format!("Error creating broker listeners from '{list}': {reason}"),
        );
    };
    creating("PLAINTEXT://:9092,CONTROLLER://:9092", "Each listener must have a different port, listeners: LIST");
    creating(
        "PLAINTEXT://:9092,PLAINTEXT://:9094,CONTROLLER://:9093",
        "Each listener must have a different name, listeners: LIST",
    );
    creating(
        "PLAINTEXT://127.0.0.1:9092,B://127.0.0.2:9092,CONTROLLER://:9093",
        "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: LIST, \
         port: 9092",
    );
    creating("INTERNAL://:9092,CONTROLLER://:9093", "No security protocol defined for listener INTERNAL");
    creating("PLAINTEXT:9092", "Unable to parse PLAINTEXT:9092 to a broker endpoint");
    refused(
        "listeners=PLAINTEXT://:9092",
        "controller.listener.names must contain at least one value appearing in the 'listeners' configuration when \
         running the KRaft controller role",
    );
    refused(
        "controller.listener.names=CONTROLLER,FOO",
        "controller.listener.names must only contain values appearing in the 'listeners' configuration when running \
         the KRaft controller role",
    );
    refused(
        "listeners=CONTROLLER://:9093",
        "There must be at least one broker advertised listener. Perhaps all listeners appear in \
         controller.listener.names?",
    );
    let named = "listeners=INTERNAL://:9092,EXTERNAL://:9094,CONTROLLER://:9093 | \
                 listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT";
    refused(
        named,
        "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based \
         on currently configured listeners are INTERNAL,EXTERNAL",
    );
    refused(
        &format!("{named} | inter.broker.listener.name=OTHER"),
        "Listener with name OTHER defined in inter.broker.listener.name not found in listener.security.protocol.map.",
    );
    refused(
        "inter.broker.listener.name=PLAINTEXT | security.inter.broker.protocol=PLAINTEXT",
        "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
    );
    refused(
        "listener.security.protocol.map=OTHER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT | \
         advertised.listeners=PLAINTEXT://b:19092,OTHER://c:1",
        "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
         PLAINTEXT,OTHER. The valid options based on the current configuration are PLAINTEXT,CONTROLLER",
    );
    refused(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXTX,CONTROLLER:PLAINTEXT",
        "Invalid security protocol `PLAINTEXTX` defined in listener.security.protocol.map",
    );
}

#[test]
fn never_starts_open_where_security_was_asked_for() {
    for text in [
        "listeners=SSL://:9092,CONTROLLER://:9093 | listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT | \
         security.inter.broker.protocol=SSL",
        "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "principal.builder.class=com.example.Builder",
        "sasl.server.callback.handler.class=com.example.Handler",
        "create.topic.policy.class.name=com.example.Policy",
        "client.quota.callback.class=com.example.Quota",
        "remote.log.storage.system.enable=true",
        "process.roles=broker",
        "controller.quorum.voters=1@a:9093,2@b:9093,3@c:9093",
        "config.providers=env | broker.rack=${env:RACK}",
    ] {
        let message = with_base(text).expect_err(text);
        assert!(message.contains(" is not supported: ") && !message.contains('\n'), "{text}: {message}");
    }
}

#[test]
fn several_plaintext_listeners_keep_their_names_and_addresses() {
    let config = accepted(
        "listeners=internal://127.0.0.1:9092,EXTERNAL://:9094,V6://[::1]:9095,CONTROLLER://:9093 | \
         listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:plaintext,V6:PLAINTEXT,CONTROLLER:PLAINTEXT | \
         inter.broker.listener.name=INTERNAL | \
         advertised.listeners=INTERNAL://a:9092,EXTERNAL://kafka.example.com:19094,V6://[::1]:9095",
    );
    assert_eq!(
        listeners(&config),
        [
            ("INTERNAL", Bind::Host("127.0.0.1".to_owned()), 9092, endpoint("a", 9092)),
            ("EXTERNAL", Bind::Wildcard, 9094, endpoint("kafka.example.com", 19094)),
            ("V6", Bind::Host("::1".to_owned()), 9095, endpoint("::1", 9095)),
        ]
    );
    assert_eq!(config.inter_broker_listener_name, "INTERNAL");
    assert_eq!(config.controller_listeners.len(), 1);
}

#[test]
fn an_unadvertised_wildcard_is_advertised_as_the_client_reached_it() {
    for host in ["", "0.0.0.0", "[::]"] {
        let config = accepted(&format!("listeners=PLAINTEXT://{host}:9092,CONTROLLER://:9093"));
        assert_eq!(config.listeners[0].advertised, Advertised::AsReached, "{host}");
    }
    let named = accepted("listeners=PLAINTEXT://h:9092,CONTROLLER://:9093");
    assert_eq!(named.listeners[0].advertised, endpoint("h", 9092));
}

#[test]
fn empty_list_items_are_dropped() {
    let config = accepted("advertised.listeners=PLAINTEXT://h:1, | log.dirs=/a,, /b ,/a");
    assert_eq!(config.listeners[0].advertised, endpoint("h", 1));
    assert_eq!(config.log_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
}

#[test]
fn without_any_configuration_the_shipped_values_hold_on_loopback() {
    let Loaded { config, warnings } = load(&sources("", "")).unwrap();
    assert_eq!(listeners(&config), [("PLAINTEXT", Bind::Loopback, 9092, endpoint("localhost", 9092))]);
    assert_eq!(config.node_id, 1);
    assert_eq!(config.log_dirs, [PathBuf::from("./milena-data")]);
    assert_eq!(config.settings.offsets_topic_replication_factor, 1);
    assert_eq!(config.settings.transaction_state_log_min_isr, 1);
    assert_eq!(config.settings.min_insync_replicas, 1);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn the_environment_lies_over_the_shipped_values_and_overrides_over_both() {
    let environment = "KAFKA_NUM_PARTITIONS=3 | KAFKA_LOG_DIR=/x | CLUSTER_ID=abc | KAFKA_HEAP_OPTS=-Xmx1g";
    let config = load(&sources(environment, "num.partitions=5")).unwrap().config;
    assert_eq!(config.settings.num_partitions, 5);
    assert_eq!(config.log_dirs, [PathBuf::from("/x")]);
    assert_eq!(config.cluster_id.as_deref(), Some("abc"));
    assert_eq!(config.settings.offsets_topic_replication_factor, 1);
    assert_eq!(config.listeners[0].bind, Bind::Loopback);
}

#[test]
fn listeners_from_the_environment_leave_loopback() {
    let config = load(&sources("KAFKA_LISTENERS=PLAINTEXT://:19092", "")).unwrap().config;
    assert_eq!(listeners(&config), [("PLAINTEXT", Bind::Wildcard, 19092, Advertised::AsReached)]);
    let advertised = "KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://example.com:9092 | KAFKA_HOST_NAME=0.0.0.0";
    let config = load(&sources(advertised, "")).unwrap().config;
    assert_eq!(listeners(&config), [("PLAINTEXT", Bind::Loopback, 9092, endpoint("example.com", 9092))]);
}

#[test]
fn a_file_means_what_kafka_makes_of_it() {
    let text = "process.roles=broker,controller\nnode.id=7\nlisteners=PLAINTEXT://:9092\n";
    let Loaded { config, .. } = with_file(text, "KAFKA_NUM_PARTITIONS=2").unwrap();
    assert_eq!(config.node_id, 7);
    assert_eq!(config.settings.num_partitions, 2);
    assert_eq!(config.settings.offsets_topic_replication_factor, 3);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.listeners[0].bind, Bind::Wildcard);
}

/// `config/server.properties` of Kafka 4.3.1 without its comments.
const SHIPPED: &str = "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=2
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
#log.flush.interval.messages=10000
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn kafkas_own_file_starts_as_it_is() {
    let Loaded { config, .. } = with_file(SHIPPED, "").unwrap();
    assert_eq!(listeners(&config), [("PLAINTEXT", Bind::Wildcard, 9092, endpoint("localhost", 9092))]);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kraft-combined-logs")]);
}

#[test]
fn a_receive_buffer_that_nobody_chose_is_the_systems() {
    let receive_buffer = |text: &str| with_base(text).unwrap().settings.socket_receive_buffer_bytes;
    assert_eq!(receive_buffer(""), -1);
    assert_eq!(receive_buffer("socket.receive.buffer.bytes=102400"), -1);
    assert_eq!(receive_buffer("socket.receive.buffer.bytes=-1"), -1);
    assert_eq!(receive_buffer("socket.receive.buffer.bytes=65536"), 65_536);
}

#[test]
fn a_file_of_the_zookeeper_era_starts_combined_with_warnings() {
    let text = "broker.id=4\nport=19092\nhost.name=127.0.0.1\nadvertised.host.name=kafka.example.com\n\
                zookeeper.connect=zk:2181\nzookeeper.connection.timeout.ms=6000\nlog.dirs=/tmp/kafka-logs\n\
                log.message.format.version=2.8\nmy.own.key=1\n";
    let Loaded { config, warnings } = with_file(text, "").unwrap();
    assert_eq!(config.node_id, 4);
    assert!(config.process_roles.broker && config.process_roles.controller);
    assert_eq!(
        listeners(&config),
        [("PLAINTEXT", Bind::Host("127.0.0.1".to_owned()), 19092, endpoint("kafka.example.com", 19092))]
    );
    for key in [
        "zookeeper.connect",
        "zookeeper.connection.timeout.ms",
        "port",
        "advertised.host.name",
        "log.message.format.version",
        "my.own.key",
    ] {
        let names = |warning: &&String| warning.split([' ', ',', ':', ';']).any(|word| word == key);
        assert_eq!(warnings.iter().filter(names).count(), 1, "{key} in {warnings:#?}");
    }
}

#[test]
fn the_environment_of_testcontainers_is_a_configuration() {
    let environment = "KAFKA_LISTENERS=PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094 | \
                       KAFKA_LISTENER_SECURITY_PROTOCOL_MAP=BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT | \
                       KAFKA_INTER_BROKER_LISTENER_NAME=BROKER | KAFKA_PROCESS_ROLES=broker,controller | \
                       KAFKA_CONTROLLER_LISTENER_NAMES=CONTROLLER | KAFKA_NODE_ID=1 | \
                       KAFKA_CONTROLLER_QUORUM_VOTERS=1@localhost:9094 | KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS=1 | \
                       KAFKA_LOG_FLUSH_INTERVAL_MESSAGES=9223372036854775807 | KAFKA_JMX_PORT=9101 | \
                       KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS=0 | CLUSTER_ID=4L6g3nShT-eMCtK--X86sw | \
                       KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:32768,BROKER://172.17.0.2:9093,";
    let Loaded { config, warnings } = load(&sources(environment, "")).unwrap();
    let any = || Bind::Host("0.0.0.0".to_owned());
    assert_eq!(
        listeners(&config),
        [
            ("PLAINTEXT", any(), 9092, endpoint("localhost", 32768)),
            ("BROKER", any(), 9093, endpoint("172.17.0.2", 9093)),
        ]
    );
    assert_eq!(config.settings.offsets_topic_num_partitions, 1);
    assert_eq!(
        warnings,
        ["accepted without effect, since consumer groups are not served yet: group.initial.rebalance.delay.ms"]
    );
}

#[test]
fn users_of_an_authorizer_that_is_not_there_are_named_with_that_reason() {
    let loaded = with_file("log.dirs=/x\nsuper.users=User:admin\nssl.client.auth=required", "").unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "accepted without effect, since no listener uses TLS or SASL: ssl.client.auth",
            "accepted without effect, since there is no authorizer yet: super.users",
        ]
    );
}

#[test]
fn a_missing_or_broken_file_is_one_line() {
    let missing = load(&Sources { file: Some("/does/not/exist".into()), ..Sources::default() }).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "cannot read the configuration file /does/not/exist: No such file or directory (os error 2)"
    );
    let broken = with_file("a=1\nb=\\u12", "").unwrap_err();
    assert!(broken.ends_with("malformed \\uxxxx encoding in line 2"), "{broken}");
}
