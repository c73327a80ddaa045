//! Runs the broker until a signal ends it.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    Broker,
    config::{Advertised, Loaded, ServerConfig, Sources, load},
    descriptors,
    logging::{self, Levels, lifecycle},
};

use super::fail;

/// Starts, serves, stops. The exit code is that of Kafka's JVM: 143, 130 or 129 after TERM, INT or HUP, 1 on a failure.
pub(super) fn run(sources: &Sources) -> ExitCode {
    let Loaded { config, warnings } = match load(sources) {
        Ok(loaded) => loaded,
        Err(error) => return fail(&error.to_string()),
    };
    logging::install(Levels::from_environment(&sources.environment));
    for warning in &warnings {
        tracing::warn!(target: "kafka.server.KafkaConfig", "{warning}");
    }
    descriptors::raise_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("milena").build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    let served = runtime.block_on(serve(config));
    // What still runs is a recovery that a signal has made pointless; the next start begins it anew.
    runtime.shutdown_background();
    served.unwrap_or_else(|message| fail(&message))
}

async fn serve(config: ServerConfig) -> Result<ExitCode, String> {
    let node_id = config.node_id;
    let as_reached: Vec<String> = config
        .listeners
        .iter()
        .filter(|listener| listener.advertised == Advertised::AsReached)
        .map(|listener| listener.name.clone())
        .collect();
    let mut signals = Signals::new().map_err(|error| format!("cannot register signal handlers: {error}"))?;
    lifecycle::registered_signal_handlers();
    lifecycle::starting(node_id);
    // Recovery blocks its thread, and signals must be heard meanwhile: they end the process at once, since nothing has
    // been acknowledged yet.
    let starting = tokio::spawn(Broker::start(config));
    let broker = tokio::select! {
        started = starting => started.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?,
        ended = signals.next() => {
            lifecycle::terminating(node_id, ended.name);
            return Ok(ExitCode::from(ended.exit_code));
        }
    };
    lifecycle::unfenced(node_id);
    if !as_reached.is_empty() {
        tracing::info!(
            target: "kafka.server.KafkaConfig",
            "clients of {names} are told the address that they reached; behind a published container port or a NAT that \
             address is wrong: set advertised.listeners={first}://<host that clients know>:<port>",
            names = as_reached.join(", "),
            first = as_reached[0]
        );
    }
    lifecycle::started(node_id, broker.addresses());
    let (code, failure) = tokio::select! {
        ended = signals.next() => {
            lifecycle::terminating(node_id, ended.name);
            (ExitCode::from(ended.exit_code), None)
        }
        reason = broker.failed() => (ExitCode::FAILURE, Some(reason)),
    };
    if let Some(reason) = failure {
        tracing::error!(target: "kafka.server.BrokerServer", "the broker cannot go on and stops: {reason}");
    }
    Box::pin(broker.shutdown()).await;
    lifecycle::shut_down(node_id);
    Ok(code)
}

struct Ended {
    name: &'static str,
    exit_code: u8,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    /// Only held: a file that reaches `ulimit -f` is an error of that write, as a full disk is, and no end of the process.
    _file_size: Signal,
}

/// SIGXFSZ of Linux.
const FILE_SIZE: i32 = 25;

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            _file_size: signal(SignalKind::from_raw(FILE_SIZE))?,
        })
    }

    async fn next(&mut self) -> Ended {
        tokio::select! {
            _ = self.terminate.recv() => Ended { name: "SIGTERM", exit_code: 143 },
            _ = self.interrupt.recv() => Ended { name: "SIGINT", exit_code: 130 },
            _ = self.hangup.recv() => Ended { name: "SIGHUP", exit_code: 129 },
        }
    }
}
