//! `cargo xtask check` and `cargo xtask test`: the gates. They never edit a file.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    shell::{Outcome, cargo, output_of, print_line, run, run_reading, say, workspace},
    tally::Tally,
    tools::Tools,
};

/// Rounds of the crash test in the gate.
const GATE_CRASH_ROUNDS: u32 = 100;

/// Format, lints and the rules of the house.
pub(crate) fn check() -> Outcome<bool> {
    let mut tally = Tally::default();
    format_and_lints(&mut tally);
    section("house rules");
    for package in packages_with_house_test()? {
        cargo_test(&mut tally, &["test", "--quiet", "-p", &package, "--test", "house"])?;
    }
    Ok(tally.finish(false))
}

/// Everything, or with `fast` what needs nothing but a Rust toolchain.
pub(crate) fn test(fast: bool) -> Outcome<bool> {
    let in_ci = std::env::var("CI").is_ok_and(|value| value == "true");
    let started = Instant::now();
    let mut tally = Tally::default();
    let tools = if fast {
        None
    } else {
        section("tools");
        Some(Tools::install()?)
    };
    if !fast {
        format_and_lints(&mut tally);
    }
    section("unit, property and recovery tests");
    // What is ignored in the inner loop needs the tools that are installed by now.
    let ignored: &[&str] = if fast { &[] } else { &["--", "--include-ignored"] };
    cargo_test(&mut tally, &[&["test", "--workspace", "--no-fail-fast"], ignored].concat())?;
    if let Some(tools) = &tools {
        section("compatibility tests: Milena beside Apache Kafka");
        compat(&mut tally, tools, &["run"])?;
        section("crash tests: kill -9 under load");
        compat(&mut tally, tools, &["crash", "--rounds", &GATE_CRASH_ROUNDS.to_string()])?;
        section("disk trouble: failing system calls, a full disk, power cuts, damaged files");
        compat(&mut tally, tools, &["faults"])?;
        section("tests of the tests: planted bugs");
        planted_bugs(&mut tally, tools, &["planted"])?;
    }
    if fast {
        say("not part of --fast: format, lints, compatibility and crash tests");
    }
    say(&format!("took {}", human(started.elapsed())));
    Ok(tally.finish(in_ci))
}

/// Any number of rounds of the crash test.
pub(crate) fn crash(rounds: u32, seed: Option<u64>) -> Outcome<bool> {
    let mut tally = Tally::default();
    let rounds = rounds.to_string();
    let seed = seed.map(|seed| seed.to_string());
    let mut arguments = vec!["crash", "--rounds", &rounds];
    if let Some(seed) = &seed {
        arguments.extend(["--seed", seed]);
    }
    compat(&mut tally, &Tools::at_default(), &arguments)?;
    Ok(tally.finish(false))
}

/// Disk trouble, or some of it.
pub(crate) fn faults(only: Option<&str>, seed: Option<u64>, rounds: u32) -> Outcome<bool> {
    let mut tally = Tally::default();
    let (seed, rounds) = (seed.map(|seed| seed.to_string()), rounds.to_string());
    let mut arguments = vec!["faults", "--rounds", &rounds];
    for (name, value) in [("--only", only), ("--seed", seed.as_deref())] {
        arguments.extend(value.map(|value| [name, value]).into_iter().flatten());
    }
    compat(&mut tally, &Tools::at_default(), &arguments)?;
    Ok(tally.finish(false))
}

/// Whether the suite notices the planted bugs, or some of them.
pub(crate) fn planted(only: Option<&str>) -> Outcome<bool> {
    let mut tally = Tally::default();
    let mut arguments = vec!["planted"];
    arguments.extend(only.map(|only| ["--only", only]).into_iter().flatten());
    planted_bugs(&mut tally, &Tools::at_default(), &arguments)?;
    Ok(tally.finish(false))
}

/// Builds the broker that has the bugs, then runs what must notice them.
fn planted_bugs(tally: &mut Tally, tools: &Tools, arguments: &[&str]) -> Outcome {
    let example = ["--features", "planted-bugs", "--example", "milena_with_planted_bugs"];
    if run(&mut cargo(["build", "--package", "milena"].into_iter().chain(example))).is_err() {
        tally.fail("the build of milena with planted bugs");
        return Ok(());
    }
    compat(tally, tools, arguments)
}

/// Runs the compatibility runner on a release build of the broker.
fn compat(tally: &mut Tally, tools: &Tools, arguments: &[&str]) -> Outcome {
    if !milena_is_built() {
        tally.fail("the release build of milena");
        return Ok(());
    }
    let mut command = cargo(["run", "--quiet", "--package", "milena-compat-tests", "--bin", "compat", "--"]);
    command
        .args(arguments)
        .env("MILENA_TOOLS", tools.dir())
        .env("MILENA_BIN", workspace().join("target/release/milena"));
    counted(tally, &mut command)
}

fn milena_is_built() -> bool {
    run(&mut cargo(["build", "--release", "--package", "milena"])).is_ok()
}

fn format_and_lints(tally: &mut Tally) {
    section("format");
    tally.check("format (cargo fmt --all --check)", run(&mut cargo(["fmt", "--all", "--check"])).is_ok());
    section("lints");
    let lints = run(&mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    tally.check("lints (cargo clippy -D warnings)", lints.is_ok());
}

fn cargo_test(tally: &mut Tally, arguments: &[&str]) -> Outcome {
    counted(tally, &mut cargo(arguments.iter().copied()))
}

/// Runs a test program and counts its summaries; one that fails without saying so in a summary counts as a failure.
fn counted(tally: &mut Tally, command: &mut Command) -> Outcome {
    let failed_before = tally.failed();
    let succeeded = run_reading(command, |line| tally.read(line))?;
    if !succeeded && tally.failed() == failed_before {
        tally.fail(&format!("{:?} ended without success", command.get_args().collect::<Vec<_>>()));
    }
    Ok(())
}

fn packages_with_house_test() -> Outcome<Vec<String>> {
    let metadata =
        output_of(&mut cargo(["metadata", "--no-deps", "--format-version", "1"])).ok_or("no cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    Ok(packages
        .iter()
        .filter(|package| {
            let manifest = package["manifest_path"].as_str().unwrap_or_default();
            Path::new(manifest).with_file_name("tests").join("house.rs").is_file()
        })
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect())
}

fn section(name: &str) {
    print_line("");
    print_line(&format!("===== {name}"));
}

fn human(duration: Duration) -> String {
    format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
}
