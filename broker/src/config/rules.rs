//! Rules that hold between keys: `KafkaConfig.validateValues` of 4.3.1, in its words.

use std::collections::{BTreeMap, BTreeSet};

use super::{ConfigError, values::Values};

/// Log roll time in ms: `log.roll.ms`, else `log.roll.hours`.
pub(super) fn log_roll_ms(values: &Values) -> i64 {
    values.optional_long("log.roll.ms").unwrap_or_else(|| 3_600_000 * values.long("log.roll.hours"))
}

/// Jitter of the roll time in ms: `log.roll.jitter.ms`, else `log.roll.jitter.hours`.
pub(super) fn log_roll_jitter_ms(values: &Values) -> i64 {
    values.optional_long("log.roll.jitter.ms").unwrap_or_else(|| 3_600_000 * values.long("log.roll.jitter.hours"))
}

/// Retention in ms: `log.retention.ms`, else `.minutes`, else `.hours`; anything negative is -1.
pub(super) fn log_retention_ms(values: &Values) -> i64 {
    let milliseconds = values.optional_long("log.retention.ms").unwrap_or_else(|| {
        values
            .optional_long("log.retention.minutes")
            .map_or_else(|| 3_600_000 * values.long("log.retention.hours"), |minutes| 60_000 * minutes)
    });
    milliseconds.max(-1)
}

/// Checks what no single key can tell.
pub(super) fn check(values: &Values, set: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let require = |holds: bool, text: &str| if holds { Ok(()) } else { Err(ConfigError::Requirement(text.to_owned())) };
    if values.int("node.id") < 0 {
        return Err(ConfigError::invalid_value("node.id", &set["node.id"], "Value must be at least 0"));
    }
    require(log_roll_ms(values) >= 1, "log.roll.ms must be greater than or equal to 1")?;
    require(log_roll_jitter_ms(values) >= 0, "log.roll.jitter.ms must be greater than or equal to 0")?;
    require(log_retention_ms(values) != 0, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1")?;
    let cleaners = values.long("log.cleaner.threads").max(1);
    require(
        values.long("log.cleaner.dedupe.buffer.size") / cleaners > 1024 * 1024,
        "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.",
    )?;
    let fetch_wait = values.long("replica.fetch.wait.max.ms");
    require(
        fetch_wait <= values.long("replica.socket.timeout.ms"),
        "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
         timeouts",
    )?;
    require(
        fetch_wait <= values.long("replica.lag.time.max.ms"),
        "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
         changes in ISR",
    )?;
    let queued = values.long("queued.max.request.bytes");
    require(
        queued <= 0 || queued >= values.long("socket.request.max.bytes"),
        "queued.max.request.bytes must be larger or equal to socket.request.max.bytes",
    )?;
    require(
        values.long("max.connections.per.ip") != 0 || !values.text("max.connections.per.ip.overrides").is_empty(),
        "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.",
    )?;
    let codec = values.long("offsets.topic.compression.codec");
    require((0..=4).contains(&codec), &format!("Unknown compression type id: {codec}"))?;
    cordoned_log_dirs(values)?;
    consumer_groups(values)
}

fn cordoned_log_dirs(values: &Values) -> Result<(), ConfigError> {
    let cordoned = values.list("cordoned.log.dirs");
    if cordoned.iter().any(|dir| dir == "*") {
        return if cordoned.len() == 1 {
            Ok(())
        } else {
            Err(ConfigError::Requirement(
                "When cordoned.log.dirs is set to *, it must not contain other values".to_owned(),
            ))
        };
    }
    let known: BTreeSet<&String> =
        values.optional_list("log.dirs").unwrap_or_else(|| values.list("log.dir")).iter().collect();
    let missing: Vec<&str> = cordoned.iter().filter(|dir| !known.contains(dir)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(ConfigError::Requirement(format!(
        "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {}",
        missing.join(", ")
    )))
}

/// `GroupCoordinatorConfig` and `ShareGroupConfig`: a group's value lies between its bounds.
fn consumer_groups(values: &Values) -> Result<(), ConfigError> {
    for (value, min, max) in [
        (
            "group.consumer.session.timeout.ms",
            "group.consumer.min.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ),
        (
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ),
        (
            "group.consumer.assignment.interval.ms",
            "group.consumer.min.assignment.interval.ms",
            "group.consumer.max.assignment.interval.ms",
        ),
        ("group.share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
        (
            "group.share.heartbeat.interval.ms",
            "group.share.min.heartbeat.interval.ms",
            "group.share.max.heartbeat.interval.ms",
        ),
        (
            "group.share.assignment.interval.ms",
            "group.share.min.assignment.interval.ms",
            "group.share.max.assignment.interval.ms",
        ),
        (
            "group.streams.session.timeout.ms",
            "group.streams.min.session.timeout.ms",
            "group.streams.max.session.timeout.ms",
        ),
        (
            "group.streams.heartbeat.interval.ms",
            "group.streams.min.heartbeat.interval.ms",
            "group.streams.max.heartbeat.interval.ms",
        ),
        (
            "group.streams.assignment.interval.ms",
            "group.streams.min.assignment.interval.ms",
            "group.streams.max.assignment.interval.ms",
        ),
    ] {
        let between = [
            (max, values.long(max) >= values.long(min), "greater", min),
            (value, values.long(value) >= values.long(min), "greater", min),
            (value, values.long(value) <= values.long(max), "less", max),
        ];
        if let Some((key, _, how, bound)) = between.into_iter().find(|(_, holds, _, _)| !holds) {
            return Err(ConfigError::Invalid(format!("{key} must be {how} than or equal to {bound}")));
        }
    }
    Ok(())
}
