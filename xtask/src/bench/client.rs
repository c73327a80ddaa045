//! The load: librdkafka's own `rdkafka_performance`, whose source and library cargo has built for the compatibility
//! tests, and what its output says.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{measure, pinned, workload::Job};
use crate::shell::{Outcome, cargo, run, say};

/// How often the client tells its counters.
const STATISTICS_INTERVAL_MS: &str = "100";

/// The compiled client.
pub(crate) struct Client {
    program: PathBuf,
    dir: PathBuf,
}

/// What one run of the client moved.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) messages: f64,
    /// Payload only.
    pub(crate) gigabytes: f64,
    /// Produce or Fetch requests, by the client's own count.
    pub(crate) requests: f64,
    pub(crate) elapsed: Duration,
    pub(crate) client_cpu: Duration,
    /// From the call to the delivery report, ascending; empty without a fixed rate.
    pub(crate) latencies_us: Vec<f64>,
}

impl Client {
    /// Builds librdkafka with cargo and the client with the C compiler.
    pub(crate) fn build(dir: &Path) -> Outcome<Self> {
        let source = librdkafka()?;
        let program = dir.join("rdkafka_performance");
        let mut compiler = Command::new("cc");
        compiler.args(["-O2", "-I"]).arg(source.join("src")).arg("-o").arg(&program);
        compiler.args([source.join("examples/rdkafka_performance.c"), source.join("src/librdkafka.a")]);
        run(compiler.args(["-lm", "-lz", "-ldl", "-lpthread", "-lrt"]))?;
        Ok(Self { program, dir: dir.to_path_buf() })
    }

    /// The version of librdkafka, as the client's usage text tells it.
    pub(crate) fn version(&self) -> String {
        let usage = Command::new(&self.program).output().map(|output| output.stderr).unwrap_or_default();
        let usage = String::from_utf8_lossy(&usage).into_owned();
        let version = usage.lines().find_map(|line| line.strip_prefix("librdkafka version "));
        version.and_then(|version| version.split(' ').next()).unwrap_or("unknown").to_owned()
    }

    /// Does `job` on `topic`, with `messages` messages if it produces.
    pub(crate) fn run(
        &self,
        broker: SocketAddr,
        topic: &str,
        partitions: i32,
        job: &Job,
        messages: u64,
    ) -> Outcome<Run> {
        let latencies = self.dir.join("latencies");
        let mut command = pinned::command(pinned::CLIENT_CORE, &self.program);
        command.args(["-b", &broker.to_string(), "-t", topic, "-T", STATISTICS_INTERVAL_MS]);
        match job {
            Job::Produce { message_bytes, rate, acks, settings, .. } => {
                command.args(["-P", "-s", &message_bytes.to_string(), "-c", &messages.to_string(), "-a", acks]);
                for (key, value) in *settings {
                    command.args(["-X", &format!("{key}={value}")]);
                }
                if let Some(rate) = rate {
                    command.args(["-r", &rate.to_string(), "-l", "-A"]).arg(&latencies);
                }
            }
            Job::ReadBack { .. } => {
                command.args(["-C", "-o", "beginning", "-e"]);
                for partition in 0..partitions {
                    command.args(["-p", &partition.to_string()]);
                }
            }
        }
        let cpu_before = measure::cpu_of_ended_children()?;
        let started = Instant::now();
        let errors = File::create(self.dir.join("client.log"))?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let mut output = Output::default();
        for line in BufReader::new(child.stdout.take().ok_or("no pipe to the client")?).lines() {
            output.read(&line?);
        }
        let status = child.wait()?;
        let wall = started.elapsed();
        let mut run = output.finish().ok_or_else(|| format!("the client on {topic} ended with {status}"))?;
        run.elapsed = run.elapsed.min(wall);
        run.client_cpu = measure::cpu_of_ended_children()?.saturating_sub(cpu_before);
        if let Job::Produce { rate: Some(rate), .. } = job {
            run.latencies_us = read_latencies(&fs::read_to_string(&latencies)?, *rate as usize);
        }
        if matches!(job, Job::Produce { .. }) && run.messages as u64 != messages {
            return Err(format!("the client delivered {} of {messages} messages to {topic}", run.messages).into());
        }
        Ok(run)
    }
}

/// The directory in which cargo built librdkafka, sources included.
fn librdkafka() -> Outcome<PathBuf> {
    let mut build = cargo(["build", "--package", "rdkafka-sys", "--message-format=json-render-diagnostics"]);
    say("cargo build --package rdkafka-sys");
    let output = build.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("librdkafka cannot be built".into());
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let out_dir = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let package = message["package_id"].as_str()?;
        let is_librdkafka = package.contains("rdkafka-sys") && message["reason"] == "build-script-executed";
        is_librdkafka.then(|| message["out_dir"].as_str().map(PathBuf::from)).flatten()
    });
    out_dir.ok_or_else(|| "cargo does not say where it built librdkafka".into())
}

/// Latencies in microseconds, one a line, ascending, without the first second's.
fn read_latencies(text: &str, messages_per_second: usize) -> Vec<f64> {
    let mut latencies: Vec<f64> =
        text.lines().skip(messages_per_second).filter_map(|line| line.trim().parse().ok()).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Reads the client's standard output: statistics as JSON, and summaries, of which the last one counts.
#[derive(Default)]
struct Output {
    last_statistics: Option<Value>,
    summary: Option<Summary>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    messages: f64,
    bytes: f64,
    milliseconds: f64,
}

impl Output {
    fn read(&mut self, line: &str) {
        if line.starts_with('{') {
            self.last_statistics = serde_json::from_str(line).ok().or(self.last_statistics.take());
        } else {
            self.summary = summary_in(line).or(self.summary);
        }
    }

    /// None if the client did not get as far as a summary. The last statistics are older than the end: requests are
    /// counted by the messages per request until then.
    fn finish(self) -> Option<Run> {
        let summary = self.summary?;
        let requests_per_message = self.last_statistics.as_ref().and_then(requests_per_message).unwrap_or(0.0);
        Some(Run {
            messages: summary.messages,
            gigabytes: summary.bytes / 1e9,
            requests: summary.messages * requests_per_message,
            elapsed: Duration::from_secs_f64(summary.milliseconds / 1e3),
            ..Run::default()
        })
    }
}

fn requests_per_message(statistics: &Value) -> Option<f64> {
    let sent = statistics["txmsgs"].as_f64()?;
    let (api, messages) = if sent > 0.0 { ("Produce", sent) } else { ("Fetch", statistics["rxmsgs"].as_f64()?) };
    let brokers = statistics["brokers"].as_object()?;
    let requests: f64 = brokers.values().filter_map(|broker| broker["req"][api].as_f64()).sum();
    (messages > 0.0).then(|| requests / messages)
}

/// `% 1000 messages produced (…), 1000 delivered (offset 999, 0 failed) in 2414ms: …` or
/// `% 1000 messages (1000000 bytes) consumed in 900ms: …`.
fn summary_in(line: &str) -> Option<Summary> {
    let numbers: Vec<f64> = line
        .strip_prefix("% ")?
        .split(|c: char| !c.is_ascii_digit() && c != '.')
        .filter_map(|number| number.parse().ok())
        .collect();
    if line.contains(" messages produced (") {
        let &[produced, bytes, delivered, _last_offset, _failed, milliseconds, ..] = numbers.as_slice() else {
            return None;
        };
        return Some(Summary { messages: delivered, bytes: bytes / produced.max(1.0) * delivered, milliseconds });
    }
    if line.contains(" bytes) consumed in ") {
        let &[messages, bytes, milliseconds, ..] = numbers.as_slice() else { return None };
        return Some(Summary { messages, bytes, milliseconds });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCED: &str = "% 983080 messages produced (983080000 bytes), 883080 delivered (offset 883079, 0 failed) in \
                            2001ms: 441131 msgs/s and 441.13 MB/s, 798 produce failures, 100000 in queue, no compression";
    const CONSUMED: &str = "% 4000000 messages (4000000000 bytes) consumed in 2413ms: 1657204 msgs/s (1657.20 MB/s)";
    const NONE_DELIVERED: &str = "% 100 messages produced (10000 bytes), 0 delivered (offset -1, 100 failed) in 500ms: \
                                  0 msgs/s and 0.00 MB/s, 0 produce failures, 0 in queue, no compression";

    #[test]
    fn reads_both_summaries_of_the_client() {
        let produced = Summary { messages: 883_080.0, bytes: 883_080_000.0, milliseconds: 2001.0 };
        assert_eq!(summary_in(PRODUCED), Some(produced));
        let consumed = Summary { messages: 4e6, bytes: 4e9, milliseconds: 2413.0 };
        assert_eq!(summary_in(CONSUMED), Some(consumed));
        assert_eq!(summary_in(NONE_DELIVERED).map(|summary| summary.messages), Some(0.0));
        assert_eq!(summary_in("% 816 backpressures for 1000000 produce calls: 0.082% backpressure rate"), None);
    }

    #[test]
    fn counts_requests_by_the_messages_in_each() {
        let mut output = Output::default();
        output.read("% Sending 1000000 messages of size 1000 bytes");
        output.read(
            r#"{ "txmsgs": 888030, "rxmsgs": 0, "brokers": { "a/1": { "req": { "Produce": 896, "Fetch": 0 } },
                 "a/bootstrap": { "req": { "Produce": 1 } } } }"#,
        );
        output.read(PRODUCED);
        let run = output.finish().unwrap();
        assert_eq!(run.elapsed, Duration::from_millis(2001));
        assert!((run.requests - 883_080.0 * 897.0 / 888_030.0).abs() < 1e-6, "{}", run.requests);
    }

    #[test]
    fn counts_the_fetches_of_a_consumer() {
        let statistics = serde_json::json!({
            "txmsgs": 0, "rxmsgs": 4000, "brokers": { "a/1": { "req": { "Fetch": 8 } }, "b": {} }
        });
        assert_eq!(requests_per_message(&statistics), Some(0.002));
    }

    #[test]
    fn latencies_are_sorted_and_without_the_first_second() {
        assert_eq!(read_latencies("9000\n8000\n120\n95\n300\n", 2), [95.0, 120.0, 300.0]);
    }

    #[test]
    fn a_client_that_died_has_no_run() {
        let mut output = Output::default();
        output.read("% ERROR CALLBACK: rdkafka#producer-1: Local: All broker connections are down");
        assert!(output.finish().is_none());
    }
}
