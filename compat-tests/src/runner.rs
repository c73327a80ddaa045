//! Runs scenarios on both clusters and compares. Prints in libtest's form, so that one parser counts all tests.

use std::thread;

use serde_json::Value;

use crate::{
    Outcome,
    cluster::{Cluster, Config, Kind, Release, Tools},
    compare::differences,
    context::Context,
    deviations::{Deviations, glob},
    java::CliServer,
    print_line,
    scenarios::Scenario,
};

/// What to run.
pub(crate) struct Plan {
    /// Part of the names of the wanted scenarios; `*` stands for anything.
    pub(crate) only: Option<String>,
    pub(crate) sides: Sides,
    /// Print what was seen.
    pub(crate) show: bool,
    /// Differences shown per scenario; the rest is counted.
    pub(crate) shown_differences: usize,
    /// Print the brokers' logs after a failure.
    pub(crate) log: bool,
}

/// Which clusters the scenarios run on. Which Apache Kafka it is, the scenario says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sides {
    Both,
    KafkaTwice,
    /// Nothing is compared.
    KafkaOnly,
    /// Nothing is compared.
    MilenaOnly,
}

impl Sides {
    fn kinds(self, reference: Release) -> &'static [Kind] {
        const V4: Kind = Kind::Kafka(Release::V4_3_1);
        const V3: Kind = Kind::Kafka(Release::V3_9_1);
        match (self, reference) {
            (Self::Both, Release::V4_3_1) => &[V4, Kind::Milena],
            (Self::Both, Release::V3_9_1) => &[V3, Kind::Milena],
            (Self::KafkaTwice, Release::V4_3_1) => &[V4, V4],
            (Self::KafkaTwice, Release::V3_9_1) => &[V3, V3],
            (Self::KafkaOnly, Release::V4_3_1) => &[V4],
            (Self::KafkaOnly, Release::V3_9_1) => &[V3],
            (Self::MilenaOnly, _) => &[Kind::Milena],
        }
    }
}

/// Runs the scenarios of the plan; true if all are well.
pub(crate) fn run(plan: &Plan, tools: &Tools, scenarios: &[Scenario], deviations: &Deviations) -> bool {
    let chosen: Vec<&Scenario> = scenarios.iter().filter(|scenario| plan.wants(scenario.name)).collect();
    let mut tests = Tests { plan, tools, deviations, passed: 0, failed: Vec::new() };
    print_line(&format!("\nrunning {} tests", chosen.len()));
    for group in groups(&chosen) {
        tests.run_group(&group);
    }
    tests.finish(chosen.len() == scenarios.len())
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only.split(',').any(|part| glob(&format!("*{part}*"), name)))
    }
}

/// Scenarios that share one start of the clusters.
fn groups<'a>(scenarios: &[&'a Scenario]) -> Vec<Vec<&'a Scenario>> {
    let mut groups: Vec<Vec<&Scenario>> = Vec::new();
    for &scenario in scenarios {
        let shared = groups.iter_mut().find(|group| {
            let first = group[0];
            !first.alone && !scenario.alone && first.config == scenario.config && first.reference == scenario.reference
        });
        match shared {
            Some(group) => group.push(scenario),
            None => groups.push(vec![scenario]),
        }
    }
    groups
}

struct Tests<'a> {
    plan: &'a Plan,
    tools: &'a Tools,
    deviations: &'a Deviations,
    passed: usize,
    failed: Vec<String>,
}

/// One of the clusters while a group runs.
struct Side {
    kind: Kind,
    cluster: Box<dyn Cluster>,
    cli: Option<CliServer>,
}

impl Side {
    fn start(kind: Kind, tools: &Tools, config: Config) -> Outcome<Self> {
        let mut cluster = kind.create(tools, config)?;
        cluster.start()?;
        Ok(Self { kind, cluster, cli: None })
    }

    /// What was seen, and why the scenario ended before its end, if it did.
    fn run(&mut self, tools: &Tools, scenario: &Scenario) -> (Value, Option<String>) {
        let mut context = Context::new(&mut *self.cluster, tools, &mut self.cli);
        let ended = (scenario.run)(&mut context);
        let trouble = ended.err().map(|error| format!("{}: {error}", self.kind.name()));
        (context.into_seen(), trouble)
    }
}

impl Tests<'_> {
    fn run_group(&mut self, group: &[&Scenario]) {
        let tools = self.tools;
        let (config, kinds) = (group[0].config, self.plan.sides.kinds(group[0].reference));
        let started: Result<Vec<Side>, String> = thread::scope(|scope| {
            let starts: Vec<_> = kinds
                .iter()
                .map(|&kind| {
                    scope.spawn(move || {
                        Side::start(kind, tools, config)
                            .map_err(|error| format!("{} does not start: {error}", kind.name()))
                    })
                })
                .collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap_or_else(|_| Err("panic at the start".to_owned())))
                .collect()
        });
        match started {
            Ok(mut sides) => {
                for scenario in group {
                    let trouble = self.run_scenario(&mut sides, scenario);
                    if !trouble.is_empty() && self.plan.log {
                        for side in &sides {
                            print_line(&format!("---- log of {}\n{}", side.kind.name(), side.cluster.log()));
                        }
                    }
                    self.report(scenario.name, &trouble);
                }
            }
            Err(error) => {
                for scenario in group {
                    self.report(scenario.name, std::slice::from_ref(&error));
                }
            }
        }
    }

    /// What is wrong; empty if nothing is.
    fn run_scenario(&self, sides: &mut [Side], scenario: &Scenario) -> Vec<String> {
        let tools = self.tools;
        let results: Vec<(Value, Option<String>)> = thread::scope(|scope| {
            let runs: Vec<_> = sides.iter_mut().map(|side| scope.spawn(move || side.run(tools, scenario))).collect();
            let panicked = |_| (Value::Null, Some("the scenario panicked".to_owned()));
            runs.into_iter().map(|run| run.join().unwrap_or_else(panicked)).collect()
        });
        let (mut seen, trouble): (Vec<Value>, Vec<Option<String>>) = results.into_iter().unzip();
        let mut trouble: Vec<String> = trouble.into_iter().flatten().collect();
        for value in &mut seen {
            self.deviations.normalise(scenario.name, value);
            if self.plan.show {
                print_line(&format!("{value:#}"));
            }
        }
        if let [kafka, milena] = &seen[..] {
            let meant = |path: &[String]| self.deviations.is_meant(scenario.name, path);
            let wrong = differences(kafka, milena).into_iter().filter(|difference| !meant(&difference.path));
            trouble.extend(wrong.map(|difference| difference.report()));
        }
        trouble
    }

    fn report(&mut self, name: &str, trouble: &[String]) {
        if trouble.is_empty() {
            self.passed += 1;
            print_line(&format!("test compat {name} ... ok"));
            return;
        }
        self.failed.push(name.to_owned());
        print_line(&format!("test compat {name} ... FAILED"));
        let shown = self.plan.shown_differences;
        for line in trouble.iter().take(shown) {
            print_line(&format!("    {line}"));
        }
        if trouble.len() > shown {
            print_line(&format!("    … and {} more", trouble.len() - shown));
        }
    }

    fn finish(mut self, all_ran: bool) -> bool {
        if all_ran && self.plan.sides == Sides::Both {
            let unused = self.deviations.unused();
            self.report("deviations/no-line-is-unused", &unused);
        }
        let verdict = if self.failed.is_empty() { "ok" } else { "FAILED" };
        print_line(&format!(
            "\ntest result: {verdict}. {} passed; {} failed; 0 ignored",
            self.passed,
            self.failed.len()
        ));
        self.failed.is_empty()
    }
}
