//! One run: a workload on a broker, and what is recorded of it.

use std::{collections::BTreeSet, path::PathBuf, thread::sleep, time::Duration};

use super::{
    brokers::Broker,
    client::{Client, Run},
    machine, measure,
    report::{Contender, Metric, Report, percentile},
    wire,
    workload::{self, Figure, Job, Workload},
};
use crate::shell::{Outcome, say};

/// A run that appends less than this uses no memory to speak of.
const PRIMED_FROM_BYTES: u64 = 100_000_000;
/// Most of the load goes through W1 (12 GB), and some through each other path.
const WARM_UP: &[&str] = &["W1", "W1", "W1", "W1", "W6", "W3", "W4"];
const QUICK_WARM_UP: &[&str] = &["W1", "W6"];
/// Longer than `log.segment.delete.delay.ms` of both brokers.
const DELETED_AFTER: Duration = Duration::from_secs(1);

/// Whose run it is, and of which round; none outside the rounds.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) contender: Contender,
    pub(crate) round: Option<u32>,
}

/// Runs workloads and keeps their readings.
pub(crate) struct Runs {
    pub(crate) client: Client,
    pub(crate) dir: PathBuf,
    pub(crate) quick: bool,
    pub(crate) report: Report,
}

impl Runs {
    /// Drives a workload and records what it cost, from before the client's start until after its end.
    /// What a workload reads back must have been written.
    pub(crate) fn measure(&mut self, broker: &Broker, turn: Turn, workload: &'static Workload) -> Outcome {
        let Turn { contender, round } = turn;
        machine::write_back(&self.dir)?;
        let bytes = self.bytes_of(&workload.job);
        if bytes >= PRIMED_FROM_BYTES {
            machine::prime_memory(&self.dir, bytes + bytes / 4)?;
        }
        let before = measure::cpu_of(broker.pid())?;
        let run = self.drive(broker, workload)?;
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
        describe(workload, contender, &run);
        Ok(())
    }

    /// Creates the workload's topic, unless it reads another's, and lets the client work on it.
    pub(crate) fn drive(&self, broker: &Broker, workload: &Workload) -> Outcome<Run> {
        let topic = topic_of(workload);
        if matches!(workload.job, Job::Produce { .. }) {
            wire::create_topic(broker.address(), &topic, workload.partitions, workload.topic)?;
        }
        let messages = self.messages_of(&workload.job);
        self.client.run(broker.address(), &topic, workload.partitions, &workload.job, messages)
    }

    /// Drives unmeasured load through every path, W1 most of all. How many gigabytes that was.
    pub(crate) fn warm_up(&self, broker: &Broker) -> Outcome<f64> {
        let mut gigabytes = 0.0;
        let mut topics = BTreeSet::new();
        for id in if self.quick { QUICK_WARM_UP } else { WARM_UP } {
            let workload = workload::named(id)?;
            if matches!(workload.job, Job::Produce { .. }) && !topics.insert(topic_of(workload)) {
                wire::delete_topic(broker.address(), &topic_of(workload))?;
            }
            gigabytes += self.drive(broker, workload)?.gigabytes;
        }
        topics.iter().try_for_each(|topic| wire::delete_topic(broker.address(), topic))?;
        sleep(DELETED_AFTER);
        Ok(gigabytes)
    }

    fn messages_of(&self, job: &Job) -> u64 {
        match *job {
            Job::Produce { quick_messages, .. } if self.quick => quick_messages,
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
}

/// Deletes what these workloads used, and waits until it is gone.
pub(crate) fn delete_topics(broker: &Broker, workloads: &[&Workload]) -> Outcome {
    let topics: BTreeSet<String> = workloads.iter().map(|workload| topic_of(workload)).collect();
    topics.iter().try_for_each(|topic| wire::delete_topic(broker.address(), topic))?;
    sleep(DELETED_AFTER);
    Ok(())
}

/// The topic of a workload's id; it is gone before the next round.
fn topic_of(workload: &Workload) -> String {
    let id = match workload.job {
        Job::Produce { .. } => workload.id,
        Job::ReadBack { of } => of,
    };
    id.to_lowercase().replace('/', "-")
}

fn describe(workload: &Workload, contender: Contender, run: &Run) {
    let rate = run.messages / run.elapsed.as_secs_f64();
    let busy = run.client_cpu.as_secs_f64() / run.elapsed.as_secs_f64() * 100.0;
    say(&format!(
        "{} {contender:?}: {:.2} GB in {:.1} s, {rate:.0} messages/s, client's core {busy:.0} % busy",
        workload.id,
        run.gigabytes,
        run.elapsed.as_secs_f64()
    ));
}
