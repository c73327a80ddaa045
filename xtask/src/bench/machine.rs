//! The machine under the benchmark: what it is, how fast it is just now, and its memory made ready.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::{Map, Value, json};

use super::{measure, pinned};
use crate::shell::{Outcome, output_of, say, workspace};

/// How fast the broker's core is right now. A neighbour on the host, or a build on this machine, shows here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calibration {
    /// CPU seconds to append a gigabyte to a file through the page cache.
    pub(crate) append_seconds_per_gigabyte: f64,
    /// Wall-clock seconds of a fixed loop.
    pub(crate) loop_seconds: f64,
}

impl Calibration {
    /// Appends `megabytes` to a file in `dir` and runs the loop, on the broker's core.
    pub(crate) fn run(dir: &Path, megabytes: u64) -> Outcome<Self> {
        let file = dir.join("calibration");
        let mut append = pinned::command(pinned::BROKER_CORE, Path::new("dd"));
        append.args(["if=/dev/zero", "bs=131072", &format!("count={}", megabytes * 1_000_000 / 131_072)]);
        append.arg(format!("of={}", file.display())).stderr(Stdio::null());
        let before = measure::cpu_of_ended_children()?;
        let appended = append.status()?.success();
        let append_cpu = measure::cpu_of_ended_children()?.saturating_sub(before);
        fs::remove_file(&file)?;
        let mut count = pinned::command(pinned::BROKER_CORE, Path::new("sh"));
        count.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        let started = Instant::now();
        if !(appended && count.status()?.success()) {
            return Err("the calibration failed".into());
        }
        Ok(Self {
            append_seconds_per_gigabyte: append_cpu.as_secs_f64() / (megabytes as f64 / 1e3),
            loop_seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Whether a round that began like this may be compared with one that began like `best`.
    pub(crate) fn is_comparable_with(self, best: Self) -> bool {
        let within = |value: f64, best: f64| value <= 1.5 * best;
        within(self.append_seconds_per_gigabyte, best.append_seconds_per_gigabyte)
            && within(self.loop_seconds, best.loop_seconds)
    }

    /// The best of both values.
    pub(crate) fn best_of(self, other: Self) -> Self {
        Self {
            append_seconds_per_gigabyte: self.append_seconds_per_gigabyte.min(other.append_seconds_per_gigabyte),
            loop_seconds: self.loop_seconds.min(other.loop_seconds),
        }
    }
}

/// Makes `bytes` of memory ready to be used: fills and frees as much page cache.
///
/// A virtual machine gives memory that lies free back to its host, and pays one to two CPU seconds per gigabyte to touch
/// it again: more than a broker spends on the data. What was freed last is used first, so the run that follows at
/// once gets memory that the machine has.
pub(crate) fn prime_memory(dir: &Path, bytes: u64) -> Outcome {
    let file = dir.join("prime");
    let mut dd = Command::new("dd");
    dd.args(["if=/dev/zero", "bs=1M", &format!("count={}", bytes >> 20)]).arg(format!("of={}", file.display()));
    let filled = dd.stderr(Stdio::null()).status()?.success();
    fs::remove_file(&file)?;
    if filled { Ok(()) } else { Err("memory cannot be primed: is the disk full?".into()) }
}

/// Writes back what lies dirty in memory, so that one run does not pay for another's.
pub(crate) fn write_back(dir: &Path) -> Outcome {
    if Command::new("sync").arg("--file-system").arg(dir).status()?.success() {
        return Ok(());
    }
    Err("sync failed".into())
}

/// What a reader must know beside the figures.
pub(crate) fn conditions(java: Option<&Path>) -> Map<String, Value> {
    let first_line = |path: &str| fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("").to_owned();
    let in_file = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value =
            text.lines().find_map(|line| line.strip_prefix(key)?.split_once(':').map(|(_, v)| v.trim().to_owned()));
        value.unwrap_or_default()
    };
    let run =
        |program: &str, arguments: &[&str]| output_of(Command::new(program).args(arguments).current_dir(workspace()));
    let java_version = java.and_then(|java| output_of(Command::new(java).arg("--version")));
    let mut conditions = Map::new();
    let mut add = |key: &str, value: Value| conditions.insert(key.to_owned(), value);
    add("date", json!(run("date", &["-u", "+%Y-%m-%d %H:%M UTC"])));
    add("commit", json!(run("git", &["rev-parse", "--short", "HEAD"])));
    add("processor", json!(in_file("/proc/cpuinfo", "model name")));
    add("cores", json!(fs::read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count()));
    add("memory", json!(in_file("/proc/meminfo", "MemTotal")));
    add("kernel", json!(first_line("/proc/sys/kernel/osrelease")));
    add("load_average", json!(first_line("/proc/loadavg")));
    add("java", json!(java_version.and_then(|version| version.lines().next().map(str::to_owned))));
    add("open_files_max", json!(run("sh", &["-c", "ulimit -Hn"])));
    add("max_map_count", json!(first_line("/proc/sys/vm/max_map_count")));
    add("somaxconn", json!(first_line("/proc/sys/net/core/somaxconn")));
    add("tcp_wmem", json!(first_line("/proc/sys/net/ipv4/tcp_wmem")));
    conditions
}

/// Says how loaded the machine is, once, where its figures would be noise.
pub(crate) fn warn_if_busy() {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let one_minute: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    if one_minute > 0.5 {
        say(&format!(
            "the load average is {one_minute}: others are at work here, so the figures are not to be published"
        ));
    }
}
