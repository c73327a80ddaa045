//! Everything that is run around the build: the gates, the tools they need, the crash test.

mod bench;
mod fuzz;
mod schema;
mod shell;
mod tally;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the Milena workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// What Milena costs beside Apache Kafka: a table, and JSON in `target/bench`.
    Bench(bench::Options),
    /// Format, lints and house rules.
    Check,
    /// All tests; installs what they need first.
    Test {
        /// Only what needs nothing but a Rust toolchain.
        #[arg(long)]
        fast: bool,
    },
    /// Installs what the tests need (JDK, Maven, Kafka's jars, kcat, rsyslog, kafka-python, Telegraf) and does nothing else.
    Tools,
    /// Makes `protocol/src/schema/table.txt` anew from the message JSON inside Kafka's jars.
    Schema,
    /// Disk trouble on the real disk: failing system calls, a full disk, power cuts, damaged files.
    Faults {
        /// Only those with this in their names.
        #[arg(long)]
        only: Option<String>,
        /// The seed that an earlier run printed.
        #[arg(long)]
        seed: Option<u64>,
        /// Rounds of those that go round and round.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Whether the tests notice the bugs of docs/planted-bugs.md.
    Planted {
        /// Only the bugs with this in their names.
        #[arg(long)]
        only: Option<String>,
    },
    /// Runs the fuzz targets, or one of them; installs cargo-fuzz first. `frame_dispatch` and `segment_recovery` are the
    /// large ones.
    Fuzz {
        /// Which one; all without it.
        target: Option<String>,
        /// How long each is run.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// The kill -9 test, for any number of rounds.
    Crash {
        #[arg(long, default_value_t = 100)]
        rounds: u32,
        /// The seed that an earlier run printed.
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Check => test::check(),
        Task::Test { fast } => test::test(fast),
        Task::Tools => tools::Tools::install().map(|_| true),
        Task::Schema => schema::run(&shell::workspace()).map(|()| true),
        Task::Faults { only, seed, rounds } => test::faults(only.as_deref(), seed, rounds),
        Task::Planted { only } => test::planted(only.as_deref()),
        Task::Fuzz { target, seconds } => fuzz::run_targets(target.as_deref(), seconds),
        Task::Crash { rounds, seed } => test::crash(rounds, seed),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            shell::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}
