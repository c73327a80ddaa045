//! The session: fresh JVMs first, then starts and idleness, then a warm JVM and Milena in turn.

use std::{path::PathBuf, thread::sleep, time::Duration};

use super::{
    IDLE_ID, Options, START_ID,
    brokers::{Broker, Program},
    machine::{self, Calibration},
    report::Contender,
    runs::{self, Runs, Turn},
    section,
    still::{self, Idle},
    workload::{self, Job, Workload},
};
use crate::shell::{Outcome, say};

/// After a start, a JVM is busy with itself for some seconds.
const SETTLE: Duration = Duration::from_secs(5);
const QUICK_SETTLE: Duration = Duration::from_millis(500);
const IDLE_WINDOW: Duration = Duration::from_secs(30);
const QUICK_IDLE_WINDOW: Duration = Duration::from_secs(2);
const STARTS: usize = 5;
const CALIBRATION_MEGABYTES: u64 = 1000;
const QUICK_CALIBRATION_MEGABYTES: u64 = 100;

/// Everything that one call of the benchmark does, in its order.
pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) milena: Program,
    pub(crate) kafka: Option<Program>,
    pub(crate) runs: Runs,
    /// One for each round.
    pub(crate) calibrations: Vec<Calibration>,
    /// What the warm JVM had moved when its first round began.
    pub(crate) warmed_by_gigabytes: f64,
}

impl Session<'_> {
    /// Fills the report.
    pub(crate) fn run(&mut self) -> Outcome {
        self.fresh()?;
        self.starts()?;
        self.idle()?;
        self.rounds()
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
        let only_a_sample = if self.runs.quick { 1 } else { usize::MAX };
        for workload in self.workloads().into_iter().take(only_a_sample) {
            section(&format!("{} on a fresh JVM: {}", workload.id, workload.title));
            let (broker, started) = Broker::start(&kafka, &self.dir("kafka"))?;
            if self.wants(START_ID) {
                still::record_start(&mut self.runs.report, Contender::KafkaFresh, &started);
            }
            sleep(self.settle());
            if let Job::ReadBack { of } = workload.job {
                self.runs.drive(&broker, workload::named(of)?)?;
            }
            self.runs.measure(&broker, Turn { contender: Contender::KafkaFresh, round: None }, workload)?;
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
        let starts = if self.runs.quick { 1 } else { STARTS };
        let programs = [(Contender::Milena, Some(self.milena.clone())), (Contender::KafkaFresh, self.kafka.clone())];
        for (contender, program) in programs {
            let Some(program) = program else { continue };
            let before = if contender == Contender::KafkaFresh { self.workloads().len() } else { 0 };
            for _ in before..starts {
                let (broker, started) = Broker::start(&program, &self.dir("start"))?;
                still::record_start(&mut self.runs.report, contender, &started);
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
        let (milena, _) = Broker::start(&self.milena, &self.dir("milena"))?;
        let kafka = self.kafka.as_ref().map(|kafka| Broker::start(kafka, &self.dir("kafka"))).transpose()?;
        let mut brokers = vec![(Contender::Milena, &milena)];
        brokers.extend(kafka.iter().map(|(kafka, _)| (Contender::KafkaFresh, kafka)));
        sleep(self.settle());
        let window = self.idle_window();
        still::idle(&mut self.runs.report, Idle::Fresh, window, &brokers)?;
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
            let (kafka, _) = Broker::start(&kafka, &self.dir("kafka"))?;
            self.warmed_by_gigabytes = self.runs.warm_up(&kafka)?;
            say(&format!("warm: it has moved {:.1} GB", self.warmed_by_gigabytes));
            kafka.pause()?;
            turns.push((Contender::KafkaWarm, kafka));
        }
        let (milena, _) = Broker::start(&self.milena, &self.dir("milena"))?;
        milena.pause()?;
        turns.push((Contender::Milena, milena));
        let rounds = if self.runs.quick { 1 } else { self.options.rounds };
        for round in 0..rounds {
            section(&format!("round {} of {rounds}", round + 1));
            turns.reverse();
            let megabytes = if self.runs.quick { QUICK_CALIBRATION_MEGABYTES } else { CALIBRATION_MEGABYTES };
            machine::prime_memory(&self.runs.dir, megabytes * 1_250_000)?;
            let calibration = Calibration::run(&self.runs.dir, megabytes)?;
            say(&format!(
                "calibration: {:.2} CPU seconds to append a gigabyte, {:.2} s for the loop",
                calibration.append_seconds_per_gigabyte, calibration.loop_seconds
            ));
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
            still::idle(&mut self.runs.report, Idle::AfterLoad, window, &brokers)?;
        }
        turns.into_iter().try_for_each(|(_, broker)| broker.stop())
    }

    fn round(&mut self, round: u32, turns: &mut [(Contender, Broker)]) -> Outcome {
        let workloads = self.workloads();
        for workload in &workloads {
            for (contender, broker) in &mut *turns {
                broker.resume()?;
                if let Job::ReadBack { of } = workload.job
                    && !self.wants(of)
                {
                    self.runs.drive(broker, workload::named(of)?)?;
                }
                self.runs.measure(broker, Turn { contender: *contender, round: Some(round) }, workload)?;
                broker.pause()?;
            }
        }
        for (_, broker) in turns {
            broker.resume()?;
            runs::delete_topics(broker, &workloads)?;
            broker.pause()?;
        }
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
            self.runs.report.drop_round(round);
        }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.runs.dir.join(name)
    }

    fn settle(&self) -> Duration {
        if self.runs.quick { QUICK_SETTLE } else { SETTLE }
    }

    fn idle_window(&self) -> Duration {
        if self.runs.quick { QUICK_IDLE_WINDOW } else { IDLE_WINDOW }
    }
}
