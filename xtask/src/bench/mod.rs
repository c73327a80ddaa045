//! `cargo xtask bench`: what Milena costs beside Apache Kafka on this machine.
//!
//! One broker on core 1, librdkafka's own client on core 0. What is compared is the broker's CPU time per gigabyte or per
//! request, not megabytes per second: on one core the client is full before a good broker is. First a JVM is started
//! for every workload (fresh), then one is warmed up and both brokers take turns, A B B A, the one that waits being
//! stopped. Each round begins with a calibration, and rounds on a disturbed machine are dropped. `docs/performance.md`
//! tells more.

mod brokers;
mod client;
mod machine;
mod measure;
mod pinned;
mod report;
mod runs;
mod session;
mod still;
mod wire;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use crate::{
    shell::{Outcome, cargo, print_line, run as run_command, say, workspace},
    tools::Tools,
};
use brokers::Program;
use client::Client;
use report::Report;
use runs::Runs;
use session::Session;

const IDLE_ID: &str = "W17";
const START_ID: &str = "W18";

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these workloads, by their ids (`W1,W8`).
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often both brokers take their turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// A few seconds for each workload, to see that everything works: the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Without Apache Kafka.
    #[arg(long)]
    milena_only: bool,
}

/// Runs the benchmark, prints the table and writes `target/bench/<time>.json`.
pub(crate) fn run(options: &Options) -> Outcome<bool> {
    let ids = || workload::ALL.iter().map(|workload| workload.id).chain([IDLE_ID, START_ID]);
    if let Some(unknown) = options.only.iter().find(|only| !ids().any(|id| id == *only)) {
        return Err(format!("no workload {unknown}; there are {}", ids().collect::<Vec<_>>().join(", ")).into());
    }
    let started = Instant::now();
    let mut session = prepare(options)?;
    machine::warn_if_busy();
    session.run()?;
    publish(&session, started.elapsed())?;
    Ok(true)
}

fn prepare(options: &Options) -> Outcome<Session<'_>> {
    let dir = workspace().join("target/bench");
    fs::create_dir_all(&dir)?;
    let client = Client::build(&dir)?;
    let milena = Program::milena(&milena_binary()?)?;
    let kafka = if options.milena_only { None } else { Some(Program::kafka(Tools::at_default().dir())?) };
    pinned::move_to_client_core()?;
    let runs = Runs { client, dir, quick: options.quick, report: Report::default() };
    Ok(Session { options, milena, kafka, runs, calibrations: Vec::new(), warmed_by_gigabytes: 0.0 })
}

/// The binary that `MILENA_BIN` names, or the release build of this tree.
fn milena_binary() -> Outcome<PathBuf> {
    if let Some(binary) = std::env::var_os("MILENA_BIN") {
        return Ok(binary.into());
    }
    run_command(&mut cargo(["build", "--release", "--package", "milena"]))?;
    Ok(workspace().join("target/release/milena"))
}

fn publish(session: &Session<'_>, took: Duration) -> Outcome {
    let java = match &session.kafka {
        Some(Program::Kafka { java, .. }) => Some(java.as_path()),
        _ => None,
    };
    let mut conditions = machine::conditions(java);
    conditions.insert("librdkafka".to_owned(), json!(session.runs.client.version()));
    conditions.insert("quick".to_owned(), json!(session.runs.quick));
    conditions.insert("jvm_warmed_by_gigabytes".to_owned(), json!(session.warmed_by_gigabytes));
    let calibrations = session.calibrations.iter().map(|calibration| {
        json!({
            "append_seconds_per_gigabyte": calibration.append_seconds_per_gigabyte,
            "loop_seconds": calibration.loop_seconds,
        })
    });
    conditions.insert("calibrations".to_owned(), calibrations.collect());
    section("results: median [min..max] of the rounds");
    for (key, value) in &conditions {
        print_line(&format!("{key}: {value}"));
    }
    print_line("");
    for line in session.runs.report.table() {
        print_line(&line);
    }
    print_line("");
    let file = session.runs.dir.join(format!("{}.json", unix_seconds()?));
    fs::write(&file, serde_json::to_vec_pretty(&session.runs.report.json(conditions))?)?;
    say(&format!("took {} s; {}", took.as_secs(), shown(&file)));
    Ok(())
}

fn unix_seconds() -> Outcome<u64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())
}

fn shown(file: &Path) -> String {
    file.strip_prefix(workspace()).unwrap_or(file).display().to_string()
}

fn section(name: &str) {
    print_line("");
    print_line(&format!("===== {name}"));
}
