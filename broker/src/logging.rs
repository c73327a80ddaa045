//! Kafka's console log: `[2026-08-22 10:00:00,123] INFO message (logger.name)` on stdout, in local time.
//!
//! The pattern is `[%d] %p %m (%c)%n` of Kafka's log4j2.yaml. A logger's name is the event's target; Kafka's own names
//! stand in the source where tools wait for a line, and a Rust path is written with dots. Levels are inherited along
//! the dots: `KAFKA_LOG4J_ROOT_LOGLEVEL` for the root, `KAFKA_LOG4J_LOGGERS=kafka=INFO,kafka.request.logger=WARN` for
//! what is below it. A call site whose level is shut costs one load.

pub mod lifecycle;
mod loggers;

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    sync::LazyLock,
};

use arc_swap::ArcSwap;
use jiff::{Timestamp, tz::TimeZone};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::Registry,
};

pub use loggers::{alter_loggers, describe_loggers};

/// The levels in force; changed while the broker runs by [`alter_loggers`].
static LEVELS: LazyLock<ArcSwap<Levels>> = LazyLock::new(|| ArcSwap::from_pointee(Levels::from_environment(&[])));

/// Loggers that speak of a library's inner life below this level.
const LIBRARIES: [(&str, LevelFilter); 1] = [("openraft", LevelFilter::ERROR)];

/// What is let through: a level for the root, and for loggers by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Levels {
    root: LevelFilter,
    loggers: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// The levels that an environment asks for; what it spells wrong is passed over, as log4j does.
    pub fn from_environment(environment: &[(String, String)]) -> Self {
        let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let root = value("KAFKA_LOG4J_ROOT_LOGLEVEL").and_then(parse_level).unwrap_or(LevelFilter::INFO);
        let mut loggers: Vec<_> = LIBRARIES.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect();
        for entry in value("KAFKA_LOG4J_LOGGERS").unwrap_or_default().split(',') {
            if let Some((name, level)) = entry.split_once('=')
                && let Some(level) = parse_level(level)
            {
                loggers.retain(|(known, _)| known != name.trim());
                loggers.push((name.trim().to_owned(), level));
            }
        }
        Self { root, loggers }
    }

    /// The level of the nearest logger at or above this one.
    fn of(&self, target: &str) -> LevelFilter {
        let covers = |name: &str| {
            let rest = target.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with("::"))
        };
        self.loggers
            .iter()
            .filter(|(name, _)| covers(name))
            .max_by_key(|(name, _)| name.len())
            .map_or(self.root, |(_, level)| *level)
    }
}

/// log4j's levels; FATAL is our ERROR.
fn parse_level(text: &str) -> Option<LevelFilter> {
    Some(match text.trim().to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "FATAL" | "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Sends every event of this process to stdout from now on. Later calls change nothing.
pub fn install(levels: Levels) {
    LEVELS.store(std::sync::Arc::new(levels));
    let layer = Log4j { time_zone: TimeZone::system() };
    let _ = tracing::subscriber::set_global_default(Registry::default().with(layer));
}

struct Log4j {
    time_zone: TimeZone,
}

impl<S: Subscriber> Layer<S> for Log4j {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && *metadata.level() <= LEVELS.load().of(metadata.target()) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = LEVELS.load();
        levels.loggers.iter().map(|(_, level)| *level).chain([levels.root]).max()
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && *metadata.level() <= LEVELS.load().of(metadata.target())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = line(Timestamp::now(), &self.time_zone, event);
        // Nobody is left to tell when stdout is gone.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

fn line(now: Timestamp, time_zone: &TimeZone, event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut line = String::with_capacity(160);
    let time = now.to_zoned(time_zone.clone());
    let _ = write!(line, "[{}] {} ", time.strftime("%Y-%m-%d %H:%M:%S,%3f"), level(*metadata.level()));
    let mut fields = Fields { message: String::new(), others: String::new() };
    event.record(&mut fields);
    let _ = writeln!(line, "{}{} ({})", fields.message, fields.others, metadata.target().replace("::", "."));
    line
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// The message, and ` key=value` for every other field.
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.others, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => self.message.write_str(value),
            name => write!(self.others, " {name}={value}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn environment(root: &str, loggers: &str) -> Levels {
        Levels::from_environment(&[
            ("KAFKA_LOG4J_ROOT_LOGLEVEL".to_owned(), root.to_owned()),
            ("KAFKA_LOG4J_LOGGERS".to_owned(), loggers.to_owned()),
        ])
    }

    #[test]
    fn levels_are_inherited_along_the_dots() {
        let levels = environment("WARN", "kafka=INFO, kafka.server.Broker=DEBUG,bad,worse=LOUD");
        for (target, expected) in [
            ("kafka.log", LevelFilter::INFO),
            ("kafka.server.Broker", LevelFilter::DEBUG),
            ("kafka.server.BrokerServer", LevelFilter::INFO),
            ("kafkaesque", LevelFilter::WARN),
            ("worse", LevelFilter::WARN),
            ("openraft::engine", LevelFilter::ERROR),
        ] {
            assert_eq!(levels.of(target), expected, "{target}");
        }
        assert_eq!(environment("nonsense", "").of("a"), LevelFilter::INFO);
    }

    struct Capture(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let now = Timestamp::from_millisecond(1_787_392_800_123).unwrap();
            self.0.lock().unwrap().push(line(now, &TimeZone::UTC, event));
        }
    }

    #[test]
    fn a_line_has_log4js_pattern() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Registry::default().with(Capture(Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "kafka.server.KafkaRaftServer", "[KafkaRaftServer nodeId={}] Kafka Server started", 1);
            tracing::warn!(topic = "a", partition = 3, "truncated");
        });
        assert_eq!(
            *lines.lock().unwrap(),
            [
                "[2026-08-22 10:00:00,123] INFO [KafkaRaftServer nodeId=1] Kafka Server started \
                 (kafka.server.KafkaRaftServer)\n",
                "[2026-08-22 10:00:00,123] WARN truncated topic=a partition=3 (milena.logging.tests)\n",
            ]
        );
    }
}
