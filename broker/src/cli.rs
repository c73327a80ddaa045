//! The command line: `milena [server.properties] [--override key=value]…` as `kafka-server-start.sh` takes it, and
//! `milena storage …` as `kafka-storage.sh` does.
//!
//! What goes wrong is one line on stderr and exit code 1. Options may be abbreviated and written with one dash, as
//! Kafka's tools allow.

mod docker;
mod features;
mod serve;
mod storage;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// A drop-in replacement for an Apache Kafka broker.
#[derive(Debug, Parser)]
#[command(
    name = "milena",
    version = concat!(env!("CARGO_PKG_VERSION"), " (serves what Apache Kafka 4.3.1 serves)"),
    infer_long_args = true,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Debug, Args)]
struct ServerArguments {
    /// A properties file as Kafka's config/server.properties; without one, Kafka's shipped values hold, on localhost only
    #[arg(value_name = "server.properties")]
    file: Option<PathBuf>,
    /// Optional property that should override values set in server.properties file
    #[arg(long = "override", value_name = "property=value", value_parser = property)]
    overrides: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Format the log directories, or tell about them, as kafka-storage.sh
    #[command(subcommand)]
    Storage(storage::Command),
    /// Start as the official image's /etc/kafka/docker/run does: arguments KEY=VALUE are added to the environment
    Docker {
        /// Variables
        #[arg(value_name = "KEY=VALUE", value_parser = property)]
        variables: Vec<(String, String)>,
    },
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is not of the form property=value")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// Does what the arguments ask for and returns the exit code of the process.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let cli = match Cli::try_parse_from(normalized(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let environment = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    match cli.command {
        Some(Command::Storage(command)) => storage::run(&command),
        Some(Command::Docker { variables }) => serve::run(&docker::sources(environment, variables)),
        None => {
            let ServerArguments { file, overrides } = cli.server;
            serve::run(&Sources { file, environment, overrides })
        }
    }
}

/// `-override` becomes `--override`, and a binary that is called `kafka-storage` (or `.sh`) is `milena storage`.
fn normalized(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut normalized = Vec::new();
    for (index, argument) in arguments.into_iter().enumerate() {
        let text = argument.to_str().unwrap_or_default();
        if index == 0 {
            let is_storage = text.rsplit('/').next().is_some_and(|name| name.starts_with("kafka-storage"));
            normalized.push(argument);
            if is_storage {
                normalized.push("storage".into());
            }
        } else if text.len() > 2 && text.starts_with('-') && text.as_bytes()[1].is_ascii_lowercase() {
            normalized.push(format!("-{text}").into());
        } else {
            normalized.push(argument);
        }
    }
    normalized
}

/// The one line that says what went wrong.
fn fail(message: &str) -> ExitCode {
    use std::io::Write as _;
    let line = message.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::FAILURE
}

/// A line of a tool's answer.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
