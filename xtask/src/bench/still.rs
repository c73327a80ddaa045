//! The two workloads without a client: idle (W17) and start (W18).

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    brokers::{Broker, Started},
    measure,
    report::{Contender, Metric, Report},
};
use crate::shell::Outcome;

/// Reads what brokers without any client cost: right after their start, or after load.
#[derive(Clone, Copy)]
pub(crate) enum Idle {
    /// No topic, nothing done yet.
    Fresh,
    /// All rounds behind it.
    AfterLoad,
}

/// Watches idle brokers for `window`, all at the same time.
pub(crate) fn idle(report: &mut Report, idle: Idle, window: Duration, brokers: &[(Contender, &Broker)]) -> Outcome {
    let look = |broker: &Broker| -> Outcome<_> {
        Ok((measure::cpu_of(broker.pid())?, measure::footprint_of(broker.pid())?, Instant::now()))
    };
    let before = brokers.iter().map(|(_, broker)| look(broker)).collect::<Outcome<Vec<_>>>()?;
    sleep(window);
    for (&(contender, broker), (cpu_before, footprint_before, then)) in brokers.iter().zip(before) {
        let (cpu, footprint, now) = look(broker)?;
        let seconds = (now - then).as_secs_f64();
        let [memory, threads, busy, switches] = match idle {
            Idle::Fresh => ["memory", "threads", "CPU, idle", "context switches"],
            Idle::AfterLoad => {
                ["memory after load", "threads after load", "CPU, idle after load", "context switches after load"]
            }
        };
        let mut add = |name, unit, value| report.add(contender, None, Metric { workload: "W17", name, unit }, value);
        add(memory, "MB resident", footprint.resident_megabytes);
        add(threads, "count", footprint.threads);
        add(busy, "% of a core", cpu.saturating_sub(cpu_before).as_secs_f64() / seconds * 100.0);
        add(switches, "per second", (footprint.context_switches - footprint_before.context_switches) / seconds);
    }
    Ok(())
}

/// Records how long a start on an empty directory took.
pub(crate) fn record_start(report: &mut Report, contender: Contender, started: &Started) {
    let mut add = |name, time: Duration| {
        report.add(contender, None, Metric { workload: "W18", name, unit: "ms" }, time.as_secs_f64() * 1e3);
    };
    add("exec to first Metadata answer", started.start);
    if let Some(format) = started.format {
        add("storage format before it", format);
    }
}
