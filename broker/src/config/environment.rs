//! `KAFKA_*` variables as keys, the way the official image maps them (`KafkaDockerWrapper.getServerConfigsFromEnv`).
//!
//! `KAFKA_` goes, the rest is lower-cased, then in this order `_` becomes `.`, `...` becomes `-`, `..` becomes `_`.
//! Left out are the variables that the image leaves out, and a few more that never were keys: what `kafka-run-class.sh`
//! reads, and what Kubernetes sets in every pod beside a service named `kafka` (`KAFKA_PORT=tcp://…`).

/// Variables of Kafka's scripts and images that are no keys.
const NO_KEYS: [&str; 20] = [
    "KAFKA_VERSION",
    "KAFKA_HEAP_OPTS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_OPTS",
    "KAFKA_JMX_OPTS",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_PORT",
    "KAFKA_CLUSTER_ID",
    "KAFKA_HOME",
    "KAFKA_USER",
    "KAFKA_DEBUG",
    "KAFKA_LOG4J_CMD_OPTS",
    "KAFKA_MODE",
    "JAVA_DEBUG_PORT",
    "KAFKA_CREATE_TOPICS",
];

/// The key of a variable; `None` if it is not one.
fn key(name: &str, value: &str) -> Option<String> {
    let rest = name.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    let of_a_kubernetes_service =
        rest.starts_with("SERVICE_") || rest.starts_with("PORT") && value.starts_with("tcp://") || {
            // KAFKA_PORT_9092_TCP_ADDR and its kin carry no URL.
            rest.strip_prefix("PORT_").is_some_and(|rest| rest.contains("_TCP"))
        };
    if NO_KEYS.contains(&name) || of_a_kubernetes_service {
        return None;
    }
    Some(rest.to_lowercase().replace('_', ".").replace("...", "-").replace("..", "_"))
}

/// The keys that an environment sets, in its order.
pub(super) fn keys(environment: &[(String, String)]) -> impl Iterator<Item = (String, String)> {
    environment.iter().filter_map(|(name, value)| Some((key(name, value)?, value.clone())))
}

/// `CLUSTER_ID`, unless empty.
pub(super) fn cluster_id(environment: &[(String, String)]) -> Option<String> {
    environment
        .iter()
        .find(|(name, value)| name == "CLUSTER_ID" && !value.trim().is_empty())
        .map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(key(name, "value").as_deref(), expected, "{name}");
    }

    #[test]
    fn underscores_are_replaced_in_the_images_order() {
        check("KAFKA_LOG_DIRS", Some("log.dirs"));
        check("KAFKA_NODE_ID", Some("node.id"));
        check("KAFKA_A__B", Some("a_b"));
        check("KAFKA_A___B", Some("a-b"));
        check(
            "KAFKA_LISTENER_NAME_SECURE_SCRAM___SHA___256_SASL_JAAS_CONFIG",
            Some("listener.name.secure.scram-sha-256.sasl.jaas.config"),
        );
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        for name in NO_KEYS {
            check(name, None);
        }
        check("KAFKA_", None);
        check("LOG_DIRS", None);
        check("KAFKA_SERVICE_HOST", None);
        check("KAFKA_PORT_9092_TCP_ADDR", None);
        assert_eq!(key("KAFKA_PORT", "tcp://10.0.0.1:9092"), None);
        check("KAFKA_PORT", Some("port"));
    }
}
