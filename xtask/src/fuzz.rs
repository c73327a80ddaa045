//! `cargo xtask fuzz`: the fuzz targets of `broker/fuzz`, built, seeded and run. Not part of the gates.
//!
//! cargo-fuzz is installed if it is missing. No nightly toolchain is needed and no sanitizer is used: the targets check
//! what must hold themselves, and the process's memory and the time of an input are bounded. What is found stays in
//! `target/fuzz/artifacts`, the corpus in `target/fuzz/corpus`, so that the next run goes on where this one ended.

use std::{path::PathBuf, process::Command, time::Instant};

use crate::{
    shell::{Outcome, cargo, is_installed, run, say, workspace},
    tally::Tally,
};

/// What one process may take, in MB, and one input, in seconds.
const MEMORY_MB: u32 = 512;
const SECONDS_PER_INPUT: u32 = 5;
const INPUT_BYTES_MAX: u32 = 16 * 1024;
/// Where cargo-fuzz puts programs.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// A target, and the features that it needs.
const TARGETS: [(&str, &[&str]); 6] = [
    ("frame_dispatch", &["--features", "broker"]),
    ("segment_recovery", &[]),
    ("request_decode", &[]),
    ("record_batch", &[]),
    ("decompress", &[]),
    ("metadata_log", &[]),
];

/// Runs one target or all of them, each for `seconds`. True if nothing was found.
pub(crate) fn run_targets(target: Option<&str>, seconds: u64) -> Outcome<bool> {
    let chosen: Vec<_> = TARGETS.into_iter().filter(|(name, _)| target.is_none_or(|target| target == *name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("no such target; there are {}", names.join(", ")).into());
    }
    if !is_installed("cargo-fuzz") {
        run(&mut cargo(["install", "cargo-fuzz", "--locked"]))?;
    }
    let mut tally = Tally::default();
    for (name, features) in chosen {
        run(&mut build(name, features))?;
        let corpus = dir("corpus").join(name);
        run(program(name).env("MILENA_FUZZ_SEEDS", &corpus))?;
        let artifacts = dir("artifacts").join(name);
        std::fs::create_dir_all(&artifacts)?;
        let started = Instant::now();
        let found_nothing = run(fuzz(name, seconds, &artifacts).arg(&corpus)).is_ok();
        say(&format!("{name}: {} s, inputs that fail are in {}", started.elapsed().as_secs(), artifacts.display()));
        tally.check(&format!("fuzz target {name}"), found_nothing);
    }
    Ok(tally.finish(false))
}

fn build(name: &str, features: &[&str]) -> Command {
    let mut command = cargo(["fuzz", "build", "--fuzz-dir", "broker/fuzz", "--sanitizer", "none"]);
    // The flags that count coverage are not stable.
    command.args(features).arg("--target-dir").arg(dir("")).arg(name).env("RUSTC_BOOTSTRAP", "1");
    command
}

fn fuzz(name: &str, seconds: u64, artifacts: &std::path::Path) -> Command {
    let mut command = program(name);
    command
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg(format!("-timeout={SECONDS_PER_INPUT}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .env("MILENA_FUZZ_HISTORY", artifacts.join("history"));
    // A broker's files are made and dropped all the time.
    if std::path::Path::new("/dev/shm").is_dir() {
        command.env("TMPDIR", "/dev/shm");
    }
    command
}

fn program(name: &str) -> Command {
    Command::new(dir(HOST).join("release").join(name))
}

fn dir(below: &str) -> PathBuf {
    workspace().join("target/fuzz").join(below)
}
