//! Readings become medians with their spread, ratios, a table in Markdown and JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Whose reading it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// Milena, release build.
    Milena,
    /// A JVM that has moved many gigabytes.
    KafkaWarm,
    /// A JVM that was started for this run.
    KafkaFresh,
}

const CONTENDERS: [Contender; 3] = [Contender::Milena, Contender::KafkaWarm, Contender::KafkaFresh];

/// One figure of one run.
#[derive(Debug)]
struct Reading {
    what: Metric,
    contender: Contender,
    /// None outside the rounds: a fresh JVM, idleness, starts.
    round: Option<u32>,
    value: f64,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    pub(crate) workload: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// All readings so far.
#[derive(Default)]
pub(crate) struct Report {
    readings: Vec<Reading>,
    dropped_rounds: BTreeSet<u32>,
}

/// The median of a metric's readings, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
    runs: usize,
}

impl Report {
    pub(crate) fn add(&mut self, contender: Contender, round: Option<u32>, what: Metric, value: f64) {
        self.readings.push(Reading { what, contender, round, value });
    }

    /// Leaves the readings of a round out of all medians: the machine was not itself.
    pub(crate) fn drop_round(&mut self, round: u32) {
        self.dropped_rounds.insert(round);
    }

    /// Every metric once: by the workload's number, then in the order of their first readings.
    fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<Metric> = Vec::new();
        for reading in &self.readings {
            if !metrics.contains(&reading.what) {
                metrics.push(reading.what);
            }
        }
        metrics.sort_by_key(|metric| numbers_in(metric.workload));
        metrics
    }

    fn summary(&self, metric: Metric, contender: Contender) -> Option<Summary> {
        let of_metric = self.readings.iter().filter(|reading| reading.what == metric && reading.contender == contender);
        let kept = of_metric.filter(|reading| reading.round.is_none_or(|round| !self.dropped_rounds.contains(&round)));
        Summary::of(kept.map(|reading| reading.value).collect())
    }

    fn ratio(&self, metric: Metric, kafka: Contender) -> Option<f64> {
        let milena = self.summary(metric, Contender::Milena)?.median;
        (milena > 0.0).then_some(self.summary(metric, kafka)?.median / milena)
    }

    /// The table, line by line.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut lines = vec![
            "| | | Milena | Kafka, warm | Kafka, fresh | warm / Milena | fresh / Milena |".to_owned(),
            "|---|---|---|---|---|---|---|".to_owned(),
        ];
        for metric in self.metrics() {
            let cells =
                CONTENDERS.map(|contender| self.summary(metric, contender).map_or(String::new(), Summary::text));
            let ratios = [Contender::KafkaWarm, Contender::KafkaFresh]
                .map(|kafka| self.ratio(metric, kafka).map_or(String::new(), short));
            let Metric { workload, name, unit } = metric;
            lines.push(format!("| {workload} | {name}, {unit} | {} | {} |", cells.join(" | "), ratios.join(" | ")));
        }
        lines
    }

    /// Medians, ratios, and every reading that was taken, those of dropped rounds included.
    pub(crate) fn json(&self, conditions: Map<String, Value>) -> Value {
        let results: Vec<Value> = self
            .metrics()
            .into_iter()
            .map(|metric| {
                let summary = |contender| self.summary(metric, contender).map(Summary::json);
                json!({
                    "workload": metric.workload,
                    "metric": metric.name,
                    "unit": metric.unit,
                    "milena": summary(Contender::Milena),
                    "kafka_warm": summary(Contender::KafkaWarm),
                    "kafka_fresh": summary(Contender::KafkaFresh),
                    "kafka_warm_by_milena": self.ratio(metric, Contender::KafkaWarm),
                    "kafka_fresh_by_milena": self.ratio(metric, Contender::KafkaFresh),
                })
            })
            .collect();
        let readings: Vec<Value> = self
            .readings
            .iter()
            .map(|reading| {
                json!({
                    "workload": reading.what.workload,
                    "metric": reading.what.name,
                    "contender": format!("{:?}", reading.contender),
                    "round": reading.round,
                    "value": reading.value,
                })
            })
            .collect();
        json!({
            "conditions": conditions,
            "dropped_rounds": self.dropped_rounds,
            "results": results,
            "readings": readings,
        })
    }
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max, runs: values.len() })
    }

    fn text(self) -> String {
        if self.runs == 1 {
            return short(self.median);
        }
        format!("{} [{}..{}]", short(self.median), short(self.min), short(self.max))
    }

    fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max, "runs": self.runs })
    }
}

/// The value below which a share of an ascending list lies; zero of nothing.
pub(crate) fn percentile(ascending: &[f64], share: f64) -> f64 {
    let rank = (ascending.len() as f64 * share).ceil() as usize;
    ascending.get(rank.saturating_sub(1).min(ascending.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Three significant digits are more than a benchmark can promise.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..0.995 => format!("{value:.3}"),
        0.995..9.95 => format!("{value:.2}"),
        9.95..99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn numbers_in(id: &str) -> Vec<u32> {
    id.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Metric = Metric { workload: "W3", name: "broker CPU", unit: "µs/request" };

    fn report_of(readings: &[(Contender, u32, f64)]) -> Report {
        let mut report = Report::default();
        for &(contender, round, value) in readings {
            report.add(contender, Some(round), CPU, value);
        }
        report
    }

    #[test]
    fn a_ratio_is_that_of_the_medians() {
        use Contender::{KafkaWarm, Milena};
        let report = report_of(&[
            (Milena, 0, 20.0),
            (Milena, 1, 25.0),
            (Milena, 2, 900.0),
            (KafkaWarm, 0, 60.0),
            (KafkaWarm, 1, 65.0),
        ]);
        assert_eq!(report.ratio(CPU, KafkaWarm), Some(2.5));
        assert_eq!(report.ratio(CPU, Contender::KafkaFresh), None);
        let row = "| W3 | broker CPU, µs/request | 25.0 [20.0..900] | 62.5 [60.0..65.0] |  | 2.50 |  |";
        assert_eq!(report.table()[2], row);
    }

    #[test]
    fn a_dropped_round_counts_for_nobody() {
        let mut report = report_of(&[(Contender::Milena, 0, 20.0), (Contender::Milena, 1, 900.0)]);
        report.drop_round(1);
        assert_eq!(report.summary(CPU, Contender::Milena).map(|summary| summary.median), Some(20.0));
        assert_eq!(report.json(Map::new())["readings"].as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn workloads_stand_in_the_order_of_their_numbers() {
        let mut report = Report::default();
        for workload in ["W18", "W3", "W1/16", "W1", "W24"] {
            report.add(Contender::Milena, None, Metric { workload, name: "x", unit: "y" }, 1.0);
        }
        let order: Vec<&str> = report.metrics().iter().map(|metric| metric.workload).collect();
        assert_eq!(order, ["W1", "W1/16", "W3", "W18", "W24"]);
    }

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let values: Vec<f64> = (1..=1000).map(f64::from).collect();
        let at = |share: f64| percentile(&values, share) as u32;
        assert_eq!([at(0.5), at(0.999), at(1.0)], [500, 999, 1000]);
        assert_eq!(percentile(&[7.0], 0.99) as u32, 7);
        assert_eq!(percentile(&[], 0.99) as u32, 0);
    }
}
