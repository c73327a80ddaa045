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
mod still;
mod wire;
mod workload;

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;

use crate::{
    shell::{Outcome, cargo, print_line, run as run_command, say, workspace},
    tools::Tools,
};
use brokers::{Broker, Program};
use client::{Client, Run};
use machine::Calibration;
use report::{Contender, Metric, Report, percentile};
use still::Idle;
use workload::{Figure, Job, Workload};

const IDLE_ID: &str = "W17";
const START_ID: &str = "W18";

/// A JVM is called warm after this many messages of 1 KB (12 GB), and some of the other kinds.
const WARM_UP_RUNS_OF_W1: u32 = 4;
/// After a start, a JVM is busy with itself for some seconds.
const SETTLE: Duration = Duration::from_secs(5);
const STARTS: u32 = 5;
/// A run that appends less than this uses no memory to speak of.
const PRIMED_FROM_BYTES: u64 = 100_000_000;

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
    let mut bench = Bench::prepare(options)?;
    machine::warn_if_busy();
    bench.fresh()?;
    bench.starts()?;
    bench.idle()?;
    bench.rounds()?;
    bench.publish(started.elapsed())?;
    Ok(true)
}

struct Bench<'a> {
    options: &'a Options,
    dir: PathBuf,
    client: Client,
    milena: Program,
    kafka: Option<Program>,
    report: Report,
    calibrations: Vec<Calibration>,
    /// What the warm JVM had moved when its first round began.
    warmed_by_gigabytes: f64,
}

impl<'a> Bench<'a> {
    fn prepare(options: &'a Options) -> Outcome<Self> {
        let dir = workspace().join("target/bench");
        fs::create_dir_all(&dir)?;
        let client = Client::build(&dir)?;
        let milena = Program::milena(&milena_binary()?)?;
        let kafka = if options.milena_only { None } else { Some(Program::kafka(Tools::at_default().dir())?) };
        pinned::move_to_client_core()?;
        Ok(Self {
            options,
            dir,
            client,
            milena,
            kafka,
            report: Report::default(),
            calibrations: Vec::new(),
            warmed_by_gigabytes: 0.0,
        })
    }

    fn wants(&self, id: &str) -> bool {
        self.options.only.is_empty() || self.options.only.iter().any(|only| only == id)
    }

    fn workloads(&self) -> Vec<&'static Workload> {
        workload::ALL.iter().filter(|workload| self.wants(workload.id)).collect()
    }

    /// Each workload on a JVM of its own, from its first second on.
    fn fresh(&mut self) -> Outcome {
        let Some(kafka) = self.kafka.clone() else { return Ok(()) };
        let only_a_sample = if self.options.quick { 1 } else { usize::MAX };
        for workload in self.workloads().into_iter().take(only_a_sample) {
            section(&format!("{} on a fresh JVM: {}", workload.id, workload.title));
            let (broker, started) = Broker::start(&kafka, &self.dir.join("kafka"))?;
            still::record_start(&mut self.report, Contender::KafkaFresh, &started);
            sleep(self.settle());
            if let Job::ReadBack { of } = workload.job {
                let written = workload::named(of).ok_or("no such workload")?;
                self.drive(&broker, written, written.id)?;
            }
            let run = self.measure(&broker, Contender::KafkaFresh, None, workload)?;
            describe_run(workload, Contender::KafkaFresh, &run);
            broker.stop()?;
        }
        Ok(())
    }

    /// W18. A JVM has been started for each workload already; these are as many as are missing.
    fn starts(&mut self) -> Outcome {
        if !self.wants(START_ID) {
            return Ok(());
        }
        section("W18: starts on an empty directory");
        let starts = if self.options.quick { 1 } else { STARTS };
        let programs = [(Contender::Milena, Some(self.milena.clone())), (Contender::KafkaFresh, self.kafka.clone())];
        for (contender, program) in programs {
            let Some(program) = program else { continue };
            let before = if contender == Contender::KafkaFresh { self.workloads().len() as u32 } else { 0 };
            for _ in before..starts {
                let (broker, started) = Broker::start(&program, &self.dir.join("start"))?;
                still::record_start(&mut self.report, contender, &started);
                broker.stop()?;
            }
        }
        Ok(())
    }

    /// W17, before any load.
    fn idle(&mut self) -> Outcome {
        if !self.wants(IDLE_ID) {
            return Ok(());
        }
        section("W17: idle, without topics");
        let (milena, _) = Broker::start(&self.milena, &self.dir.join("milena"))?;
        let kafka = self.kafka.as_ref().map(|kafka| Broker::start(kafka, &self.dir.join("kafka"))).transpose()?;
        let mut brokers = vec![(Contender::Milena, &milena)];
        brokers.extend(kafka.iter().map(|(kafka, _)| (Contender::KafkaFresh, kafka)));
        sleep(self.settle());
        let window = self.idle_window();
        still::idle(&mut self.report, Idle::Fresh, window, &brokers)?;
        milena.stop()?;
        kafka.map_or(Ok(()), |(kafka, _)| kafka.stop())
    }

    /// Both brokers in turn: A B, B A, and so on.
    fn rounds(&mut self) -> Outcome {
        if self.workloads().is_empty() {
            return Ok(());
        }
        let mut turns = Vec::new();
        if let Some(kafka) = self.kafka.clone() {
            section("warming a JVM up");
            let (kafka, _) = Broker::start(&kafka, &self.dir.join("kafka"))?;
            self.warm_up(&kafka)?;
            kafka.pause()?;
            turns.push((Contender::KafkaWarm, kafka));
        }
        let (milena, _) = Broker::start(&self.milena, &self.dir.join("milena"))?;
        milena.pause()?;
        turns.push((Contender::Milena, milena));
        let rounds = if self.options.quick { 1 } else { self.options.rounds };
        for round in 0..rounds {
            section(&format!("round {} of {rounds}", round + 1));
            turns.reverse();
            let megabytes = if self.options.quick { 100 } else { 1000 };
            machine::prime_memory(&self.dir, megabytes * 1_250_000)?;
            let calibration = Calibration::run(&self.dir, megabytes)?;
            say(&format!("{calibration:.3?}"));
            self.calibrations.push(calibration);
            self.round(round, &mut turns)?;
        }
        self.drop_disturbed_rounds();
        if self.wants(IDLE_ID) {
            section("W17: idle, after load");
            for (_, broker) in &mut turns {
                broker.resume()?;
            }
            sleep(self.settle());
            let brokers: Vec<_> = turns.iter().map(|(contender, broker)| (*contender, broker)).collect();
            let window = self.idle_window();
            still::idle(&mut self.report, Idle::AfterLoad, window, &brokers)?;
        }
        turns.into_iter().try_for_each(|(_, broker)| broker.stop())
    }

    fn round(&mut self, round: u32, turns: &mut [(Contender, Broker)]) -> Outcome {
        let workloads = self.workloads();
        for workload in &workloads {
            for (contender, broker) in &mut *turns {
                broker.resume()?;
                if let Job::ReadBack { of } = workload.job
                    && !workloads.iter().any(|other| other.id == of)
                {
                    let written = workload::named(of).ok_or("no such workload")?;
                    self.drive(broker, written, written.id)?;
                }
                let run = self.measure(broker, *contender, Some(round), workload)?;
                describe_run(workload, *contender, &run);
                broker.pause()?;
            }
        }
        for (_, broker) in turns {
            broker.resume()?;
            self.delete_topics(broker)?;
            broker.pause()?;
        }
        Ok(())
    }

    /// Most of the load goes through W1, and some through each other path.
    fn warm_up(&mut self, kafka: &Broker) -> Outcome {
        let runs = if self.options.quick { 1 } else { WARM_UP_RUNS_OF_W1 };
        let mut ids = vec!["W1"; runs as usize];
        ids.extend(["W6", "W3", "W4"]);
        for (run, id) in ids.into_iter().enumerate() {
            let workload = workload::named(id).ok_or("no such workload")?;
            let topic = if id == "W6" { "warm-0".to_owned() } else { format!("warm-{run}") };
            if id != "W6" {
                wire::create_topic(kafka.address(), &topic, workload.partitions, workload.topic)?;
            }
            let run = self.client.run(
                kafka.address(),
                &topic,
                workload.partitions,
                &workload.job,
                self.messages_of(&workload.job),
            )?;
            self.warmed_by_gigabytes += run.gigabytes;
            if id == "W1" && topic != "warm-0" {
                wire::delete_topic(kafka.address(), &topic)?;
            }
        }
        wire::delete_topic(kafka.address(), "warm-0")?;
        say(&format!("warm: it has moved {:.1} GB", self.warmed_by_gigabytes));
        Ok(())
    }

    /// Creates the workload's topic, unless it reads another's, and lets the client work on it.
    fn drive(&self, broker: &Broker, workload: &Workload, topic: &str) -> Outcome<Run> {
        let topic = topic_name(topic);
        if matches!(workload.job, Job::Produce { .. }) {
            wire::create_topic(broker.address(), &topic, workload.partitions, workload.topic)?;
        }
        let messages = self.messages_of(&workload.job);
        self.client.run(broker.address(), &topic, workload.partitions, &workload.job, messages)
    }

    /// Drives a workload and records what it cost, from before the client's start until after its end.
    fn measure(
        &mut self,
        broker: &Broker,
        contender: Contender,
        round: Option<u32>,
        workload: &'static Workload,
    ) -> Outcome<Run> {
        machine::write_back(&self.dir)?;
        let bytes = self.bytes_of(&workload.job);
        if bytes >= PRIMED_FROM_BYTES {
            machine::prime_memory(&self.dir, bytes + bytes / 4)?;
        }
        let topic = match workload.job {
            Job::Produce { .. } => workload.id,
            Job::ReadBack { of } => of,
        };
        let before = measure::cpu_of(broker.pid())?;
        let run = self.drive(broker, workload, topic)?;
        let broker_cpu = measure::cpu_of(broker.pid())?.saturating_sub(before).as_secs_f64();
        let mut add = |name, unit, value| {
            self.report.add(contender, round, Metric { workload: workload.id, name, unit }, value);
        };
        match workload.figure {
            Figure::PerGigabyte => {
                add("broker CPU", "s/GB", broker_cpu / run.gigabytes);
                add("throughput", "MB/s", run.gigabytes * 1e3 / run.elapsed.as_secs_f64());
                add("client CPU", "s/GB", run.client_cpu.as_secs_f64() / run.gigabytes);
            }
            Figure::PerRequest => {
                add("broker CPU", "µs/request", broker_cpu * 1e6 / run.requests);
                add("requests", "per second", run.requests / run.elapsed.as_secs_f64());
                add("client CPU", "µs/request", run.client_cpu.as_secs_f64() * 1e6 / run.requests);
            }
            Figure::Latency => {
                for (name, share) in [("ack p50", 0.5), ("ack p99", 0.99), ("ack p99.9", 0.999), ("ack max", 1.0)] {
                    add(name, "µs", percentile(&run.latencies_us, share));
                }
                add("broker CPU", "µs/message", broker_cpu * 1e6 / run.messages);
                // What Milena's users get on stable storage, Kafka's get from memory unless they ask.
                if matches!((workload.id, contender), ("W24", Contender::Milena) | ("W8", Contender::KafkaWarm)) {
                    let what = Metric { workload: "W24", name: "ack p99, Kafka's by default (W8)", unit: "µs" };
                    self.report.add(contender, round, what, percentile(&run.latencies_us, 0.99));
                }
            }
        }
        Ok(run)
    }

    fn delete_topics(&self, broker: &Broker) -> Outcome {
        for workload in self.workloads() {
            let topic = match workload.job {
                Job::Produce { .. } => workload.id,
                Job::ReadBack { of } if !self.wants(of) => of,
                Job::ReadBack { .. } => continue,
            };
            wire::delete_topic(broker.address(), &topic_name(topic))?;
        }
        // The files go half a second later.
        sleep(Duration::from_secs(1));
        Ok(())
    }

    fn drop_disturbed_rounds(&mut self) {
        let Some(best) = self.calibrations.iter().copied().reduce(Calibration::best_of) else { return };
        let disturbed: Vec<u32> = (0..)
            .zip(&self.calibrations)
            .filter(|(_, calibration)| !calibration.is_comparable_with(best))
            .map(|(round, _)| round)
            .collect();
        if disturbed.len() == self.calibrations.len() {
            return say("no round is comparable with the best of all: none is dropped, and none is worth publishing");
        }
        for round in disturbed {
            say(&format!("round {} is dropped: the machine was slower than 1.5 times its best", round + 1));
            self.report.drop_round(round);
        }
    }

    fn publish(&self, took: Duration) -> Outcome {
        let java = match &self.kafka {
            Some(Program::Kafka { java, .. }) => Some(java.as_path()),
            _ => None,
        };
        let mut conditions = machine::conditions(java);
        conditions.insert("librdkafka".to_owned(), json!(self.client.version()));
        conditions.insert("quick".to_owned(), json!(self.options.quick));
        conditions.insert("jvm_warmed_by_gigabytes".to_owned(), json!(self.warmed_by_gigabytes));
        let calibrations = self.calibrations.iter().map(|calibration| {
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
        for line in self.report.table() {
            print_line(&line);
        }
        print_line("");
        let file = self.dir.join(format!("{}.json", unix_seconds()?));
        fs::write(&file, serde_json::to_vec_pretty(&self.report.json(conditions))?)?;
        say(&format!("took {} s; {}", took.as_secs(), shown(&file)));
        Ok(())
    }

    fn messages_of(&self, job: &Job) -> u64 {
        match *job {
            Job::Produce { quick_messages, .. } if self.options.quick => quick_messages,
            Job::Produce { messages, .. } => messages,
            Job::ReadBack { .. } => 0,
        }
    }

    /// What a run appends.
    fn bytes_of(&self, job: &Job) -> u64 {
        match *job {
            Job::Produce { message_bytes, .. } => self.messages_of(job) * message_bytes,
            Job::ReadBack { .. } => 0,
        }
    }

    fn settle(&self) -> Duration {
        if self.options.quick { Duration::from_millis(500) } else { SETTLE }
    }

    fn idle_window(&self) -> Duration {
        Duration::from_secs(if self.options.quick { 2 } else { 30 })
    }
}

fn describe_run(workload: &Workload, contender: Contender, run: &Run) {
    let rate = run.messages / run.elapsed.as_secs_f64();
    let busy = run.client_cpu.as_secs_f64() / run.elapsed.as_secs_f64() * 100.0;
    say(&format!(
        "{} {contender:?}: {:.2} GB in {:.1} s, {rate:.0} messages/s, client's core {busy:.0} % busy",
        workload.id,
        run.gigabytes,
        run.elapsed.as_secs_f64()
    ));
}

/// The binary that `MILENA_BIN` names, or the release build of this tree.
fn milena_binary() -> Outcome<PathBuf> {
    if let Some(binary) = std::env::var_os("MILENA_BIN") {
        return Ok(binary.into());
    }
    run_command(&mut cargo(["build", "--release", "--package", "milena"]))?;
    Ok(workspace().join("target/release/milena"))
}

/// Topics of one round have the names of their workloads; they are gone before the next round.
fn topic_name(workload: &str) -> String {
    workload.to_lowercase().replace('/', "-")
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
