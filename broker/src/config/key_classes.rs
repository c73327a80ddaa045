//! Which keys this broker honours, which it accepts without effect and why, and which it must not start with.
//!
//! Kafka's plug-ins are Java classes: a file that names one gets a refusal. What promises security is refused until it
//! is served. A key that is set to its default is honoured by doing nothing, and gets no warning.

use std::collections::BTreeMap;

use super::{ConfigError, broker_keys::broker_key, settings::is_listener_limit, values::Values};

const DEFAULT_PRINCIPAL_BUILDER: &str = "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder";

/// Java classes that a file may name; the values listed are the ones that mean what happens anyway.
const PLUG_INS: [(&str, &[&str]); 12] = [
    ("create.topic.policy.class.name", &[]),
    ("alter.config.policy.class.name", &[]),
    ("client.quota.callback.class", &[]),
    ("principal.builder.class", &[DEFAULT_PRINCIPAL_BUILDER]),
    ("sasl.server.callback.handler.class", &[]),
    ("sasl.client.callback.handler.class", &[]),
    ("sasl.login.callback.handler.class", &[]),
    ("sasl.login.class", &[]),
    ("ssl.engine.factory.class", &[]),
    (
        "replica.selector.class",
        &["org.apache.kafka.common.replica.LeaderSelector", "org.apache.kafka.common.replica.RackAwareReplicaSelector"],
    ),
    (
        "remote.log.metadata.manager.class.name",
        &["org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager"],
    ),
    ("remote.log.storage.manager.class.name", &[]),
];

/// Keys without effect, by the reason that is given. A name ending in `.` stands for all keys that start with it.
const WITHOUT_EFFECT: [(&str, &[&str]); 14] = [
    (
        "this broker sizes its own threads and queues",
        &[
            "num.network.threads",
            "num.io.threads",
            "background.threads",
            "num.replica.alter.log.dirs.threads",
            "queued.max.requests",
            "fetch.purgatory.purge.interval.requests",
            "producer.purgatory.purge.interval.requests",
            "delete.records.purgatory.purge.interval.requests",
            "early.start.listeners",
            "log.preallocate",
            "server.max.startup.time.ms",
        ],
    ),
    (
        "consumer groups are not served yet",
        &[
            "group.",
            "offset.metadata.max.bytes",
            "offsets.retention.minutes",
            "offsets.retention.check.interval.ms",
            "offsets.commit.timeout.ms",
            "offsets.load.buffer.size",
        ],
    ),
    ("transactions are not served yet", &["transaction.", "transactional.id.expiration.ms", "add.partitions.to.txn."]),
    ("share groups are not served yet", &["share.coordinator.", "group.share."]),
    ("logs are not compacted yet", &["log.cleaner."]),
    (
        "this node stands alone, nothing is replicated yet",
        &[
            "replica.fetch.",
            "replica.socket.",
            "replica.lag.time.max.ms",
            "replica.selector.class",
            "num.replica.fetchers",
            "auto.leader.rebalance.enable",
            "leader.imbalance.check.interval.seconds",
            "controlled.shutdown.enable",
            "controller.quorum.",
            "controller.socket.timeout.ms",
            "socket.connection.setup.",
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "log.dir.failure.timeout.ms",
            "request.timeout.ms",
            "initial.broker.registration.timeout.ms",
            "inter.broker.",
        ],
    ),
    (
        "the metadata log is this broker's own",
        &["metadata.log.segment.", "metadata.log.max.", "metadata.max.", "internal.metadata.", "unstable."],
    ),
    ("quotas are not served yet", &["replication.quota.", "controller.quota.", "alter.log.dirs.replication.quota."]),
    (
        "metrics are not reported through Java classes",
        &["metric.reporters", "metrics.", "kafka.metrics.", "telemetry.", "controller.performance."],
    ),
    ("tiered storage is not served", &["remote.", "follower.fetch.last.tiered.offset.enable"]),
    (
        "no listener uses TLS or SASL",
        &[
            "ssl.",
            "sasl.",
            "security.providers",
            "connections.max.reauth.ms",
            "connection.failed.authentication.delay.ms",
            "delegation.token.",
        ],
    ),
    ("there is no authorizer yet", &["super.users", "allow.everyone.if.no.acl.found"]),
    ("only connection limits of a single listener are served yet", &["listener.name."]),
    (
        "Kafka 4 removed them",
        &[
            "zookeeper.",
            "inter.broker.protocol.version",
            "log.message.format.version",
            "log.message.timestamp.difference.max.ms",
            "log.message.downconversion.enable",
            "offsets.commit.required.acks",
            "password.encoder.",
            "control.plane.listener.name",
            "leader.imbalance.per.broker.percentage",
            "controlled.shutdown.max.retries",
            "controlled.shutdown.retry.backoff.ms",
            "auto.include.jmx.reporter",
            "eligible.leader.replicas.enable",
            "broker.id.generation.enable",
            "reserved.broker.max.id",
            "max.reserved.broker.id",
        ],
    ),
];

/// Keys that an earlier warning has spoken about (`legacy`), or that are honoured though Kafka's table lacks them.
const SPOKEN_FOR: [&str; 6] = [
    "host.name",
    "port",
    "advertised.host.name",
    "advertised.port",
    "delegation.token.master.key",
    "zookeeper.connect",
];

/// Keys that are honoured though a prefix above covers them.
const HONOURED: [&str; 3] =
    ["inter.broker.listener.name", "controller.quorum.voters", "controller.quorum.bootstrap.servers"];

/// Refuses what must not start; returns one warning for each reason, with the keys it is about.
pub(super) fn check(
    set: &BTreeMap<String, String>,
    shipped: &BTreeMap<String, String>,
    values: &Values,
) -> Result<Vec<String>, ConfigError> {
    refuse(set, values)?;
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    for (name, value) in set {
        if SPOKEN_FOR.contains(&name.as_str()) || HONOURED.contains(&name.as_str()) || is_listener_limit(name) {
            continue;
        }
        if shipped.get(name) == Some(value) {
            continue;
        }
        if broker_key(name).is_some_and(|key| key.definition.default == Some(value.trim())) {
            continue;
        }
        match reason(name) {
            Some(reason) => by_reason.entry(reason).or_default().push(name),
            None if broker_key(name).is_none() => unknown.push(name.as_str()),
            None => {}
        }
    }
    let mut warnings: Vec<String> = by_reason
        .iter()
        .map(|(reason, keys)| format!("accepted without effect, since {reason}: {}", keys.join(", ")))
        .collect();
    if !unknown.is_empty() {
        warnings.push(format!("ignored, since Kafka has no such broker configuration: {}", unknown.join(", ")));
    }
    Ok(warnings)
}

/// Why a key has no effect; the longest name that matches decides.
fn reason(name: &str) -> Option<&'static str> {
    WITHOUT_EFFECT
        .iter()
        .flat_map(|(reason, patterns)| patterns.iter().map(move |pattern| (*reason, *pattern)))
        .filter(|(_, pattern)| if pattern.ends_with('.') { name.starts_with(pattern) } else { name == *pattern })
        .max_by_key(|(_, pattern)| pattern.len())
        .map(|(reason, _)| reason)
}

fn refuse(set: &BTreeMap<String, String>, values: &Values) -> Result<(), ConfigError> {
    let refused = |key: &str, value: &str, reason: &str| {
        Err(ConfigError::NotSupported { key: key.to_owned(), value: value.to_owned(), reason: reason.to_owned() })
    };
    for (key, harmless) in PLUG_INS {
        if let Some(class) = set.get(key).map(|class| class.trim()).filter(|class| !class.is_empty())
            && !harmless.contains(&class)
        {
            return refused(key, class, "a plug-in written in Java cannot run in this broker; remove the key");
        }
    }
    let authorizer = values.text("authorizer.class.name");
    if !authorizer.is_empty() {
        return refused(
            "authorizer.class.name",
            authorizer,
            "this release has no authorizer; it does not start rather than let everybody in",
        );
    }
    if values.boolean("remote.log.storage.system.enable") {
        return refused("remote.log.storage.system.enable", "true", "tiered storage is not served");
    }
    let roles = values.list("process.roles");
    if roles.len() < 2 {
        return refused(
            "process.roles",
            &roles.join(","),
            "this release runs one node, which is broker and controller; set process.roles=broker,controller",
        );
    }
    let voters = values.list("controller.quorum.voters");
    let node_id = values.int("node.id");
    let votes = |voter: &String| voter.split('@').next().and_then(|id| id.trim().parse().ok()) == Some(node_id);
    if !voters.is_empty() && !voters.iter().any(votes) {
        let ids: Vec<&str> = voters.iter().filter_map(|voter| voter.split('@').next()).collect();
        return Err(ConfigError::Requirement(format!(
            "If process.roles contains the 'controller' role, the node id {node_id} must be included in the set of \
             voters controller.quorum.voters=Set({})",
            ids.join(", ")
        )));
    }
    if voters.len() > 1 {
        return refused(
            "controller.quorum.voters",
            &voters.join(","),
            "this release runs one node; a quorum of several would stay without its other members",
        );
    }
    if let Some((key, value)) =
        set.iter().find(|(_, value)| value.contains("${") && !values.list("config.providers").is_empty())
    {
        return refused(key, value, "config.providers are not served, so the reference would not be replaced");
    }
    Ok(())
}
