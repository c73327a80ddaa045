//! Compatibility tests: each scenario runs against Milena and against the real Apache Kafka, and what the two
//! answer must be equal, except for what `compat-tests/deviations` names with its reason.

mod checker;
mod cluster;
mod compare;
mod context;
mod crash;
mod debug_json;
mod deviations;
mod faults;
mod java;
mod load;
mod planted;
mod raw;
mod runner;
mod scenarios;

use std::{error::Error, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    cluster::{Kind, Release, Tools},
    deviations::Deviations,
    runner::{Plan, Sides},
};

/// Errors here are for a person to read.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Milena beside Apache Kafka.
#[derive(Parser)]
#[command(name = "compat", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run scenarios on both and compare.
    Run {
        /// Only those with this in their names (`*` for anything, commas between several).
        #[arg(long)]
        only: Option<String>,
        /// Only on Apache Kafka; nothing is compared.
        #[arg(long, conflicts_with = "milena_only")]
        kafka_only: bool,
        /// Only on Milena; nothing is compared.
        #[arg(long)]
        milena_only: bool,
        /// Apache Kafka beside Apache Kafka: what differs then needs a normalising line.
        #[arg(long, conflicts_with_all = ["milena_only", "kafka_only"])]
        kafka_twice: bool,
        /// Print what was seen.
        #[arg(long)]
        show: bool,
        /// Show all differences, however many.
        #[arg(long)]
        all: bool,
        /// Print the brokers' logs after a failure.
        #[arg(long)]
        log: bool,
    },
    /// Kill the broker under load, again and again; nothing acknowledged may be lost.
    Crash {
        #[arg(long, default_value_t = 100)]
        rounds: u32,
        /// The seed that an earlier run printed.
        #[arg(long)]
        seed: Option<u64>,
        /// Kill Apache Kafka instead of Milena.
        #[arg(long)]
        kafka_only: bool,
        /// Print what each round did.
        #[arg(long)]
        verbose: bool,
    },
    /// Disk trouble on the real disk: failing system calls, a full disk, power cuts, damaged files.
    Faults {
        /// Only those with this in their names (`*` for anything, commas between several).
        #[arg(long)]
        only: Option<String>,
        /// The seed that an earlier run printed.
        #[arg(long)]
        seed: Option<u64>,
        /// Rounds of those that go round and round.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Print the broker's log after a failure.
        #[arg(long)]
        log: bool,
    },
    /// The tests of the tests: each planted bug must be noticed by the part of the suite that is there for it.
    Planted {
        /// Only the bugs with this in their names.
        #[arg(long)]
        only: Option<String>,
    },
    /// Name all scenarios.
    List,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print_line(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Outcome<bool> {
    let tools = Tools::find();
    match task {
        Task::Run { only, kafka_only, milena_only, kafka_twice, show, all, log } => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deviations");
            let deviations = Deviations::parse(&std::fs::read_to_string(file)?)?;
            let sides = match (kafka_only, milena_only, kafka_twice) {
                (true, ..) => Sides::KafkaOnly,
                (_, true, _) => Sides::MilenaOnly,
                (.., true) => Sides::KafkaTwice,
                _ => Sides::Both,
            };
            let plan = Plan { only, sides, show, shown_differences: if all { usize::MAX } else { 30 }, log };
            Ok(runner::run(&plan, &tools, &scenarios::all(), &deviations))
        }
        Task::Crash { rounds, seed, kafka_only, verbose } => {
            let kind = if kafka_only { Kind::Kafka(Release::V4_3_1) } else { Kind::Milena };
            let seed = seed.unwrap_or_else(|| u64::from(SmallRng::from_os_rng().random::<u32>()));
            Ok(crash::run(&crash::Plan { rounds, seed, kind, verbose }, &tools))
        }
        Task::Faults { only, seed, rounds, log } => {
            let seed = seed.unwrap_or_else(|| u64::from(SmallRng::from_os_rng().random::<u32>()));
            Ok(faults::run(&faults::Plan { only, seed, rounds, log }, &tools))
        }
        Task::Planted { only } => planted::run(&tools, only.as_deref()),
        Task::List => {
            for name in scenarios::all().iter().map(|scenario| scenario.name).chain(faults::names()) {
                print_line(name);
            }
            Ok(true)
        }
    }
}

/// One line of output.
#[expect(clippy::print_stdout, reason = "a test runner's output is its standard output")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}
