//! Disk trouble on the real disk, judged from outside: system calls that fail (`strace`), a full file system, a power cut
//! (a loop-mounted ext4 that is shut down), damaged files. The broker runs as a process, clients produce and read all the
//! while, and what they saw goes to the `checker`.
//!
//! What a machine does not allow is not counted as a test; one line says so.

mod broker;
mod damage;
mod full_disk;
mod loop_disk;
mod power_cut;
mod strace;
mod system_calls;

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{SeedableRng, rngs::SmallRng};

use crate::{Outcome, cluster::Tools, deviations::glob, print_line};

/// What to run.
pub(crate) struct Plan {
    /// Part of the names of the wanted cases; `*` stands for anything, commas between several.
    pub(crate) only: Option<String>,
    pub(crate) seed: u64,
    /// Rounds of those cases that go round and round.
    pub(crate) rounds: u32,
    /// Print the broker's log after a failure.
    pub(crate) log: bool,
}

/// What a case must have beside the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    Nothing,
    Strace,
    Mount,
}

impl Need {
    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Strace => "strace that may attach to processes",
            Self::Mount => "loop mounts and the shutdown call of ext4",
        }
    }

    fn probe(self) -> Outcome {
        match self {
            Self::Nothing => Ok(()),
            Self::Strace => strace::probe(),
            Self::Mount => loop_disk::probe(),
        }
    }
}

/// One test.
struct Case {
    name: &'static str,
    need: Need,
    run: fn(&mut Bench<'_>) -> Outcome,
}

/// What a case works with.
struct Bench<'a> {
    tools: &'a Tools,
    random: SmallRng,
    rounds: u32,
}

fn cases() -> impl Iterator<Item = &'static Case> {
    [system_calls::CASES, full_disk::CASES, power_cut::CASES, damage::CASES].into_iter().flatten()
}

/// The names of all cases.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    cases().map(|case| case.name)
}

/// Runs the cases of the plan; true if all are well.
pub(crate) fn run(plan: &Plan, tools: &Tools) -> bool {
    let wants =
        |name: &str| plan.only.as_ref().is_none_or(|only| only.split(',').any(|part| glob(&format!("*{part}*"), name)));
    let mut chosen: Vec<&Case> = cases().filter(|case| wants(case.name)).collect();
    for need in [Need::Strace, Need::Mount] {
        if !chosen.iter().any(|case| case.need == need) {
            continue;
        }
        if let Err(error) = need.probe() {
            let without: Vec<&str> = chosen.iter().filter(|case| case.need == need).map(|case| case.name).collect();
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or_default();
            print_line(&format!("not counted, for want of {} ({reason}): {}", need.name(), without.join(", ")));
            chosen.retain(|case| case.need != need);
        }
    }
    print_line(&format!("\nrunning {} tests\nfaults: seed {}", chosen.len(), plan.seed));
    let mut failed = 0;
    for case in &chosen {
        // A case has the same seed whether the others run or not.
        let mut hasher = DefaultHasher::new();
        (plan.seed, case.name).hash(&mut hasher);
        let random = SmallRng::seed_from_u64(hasher.finish());
        let outcome = (case.run)(&mut Bench { tools, random, rounds: plan.rounds });
        match outcome {
            Ok(()) => print_line(&format!("test faults {} ... ok", case.name)),
            Err(error) => {
                failed += 1;
                print_line(&format!("test faults {} ... FAILED\n    seed {}: {error}", case.name, plan.seed));
                if plan.log {
                    print_line(&format!("---- log of the broker\n{}", broker::last_log()));
                }
            }
        }
    }
    let (verdict, passed) = (if failed == 0 { "ok" } else { "FAILED" }, chosen.len() - failed);
    print_line(&format!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored"));
    failed == 0
}

/// An error unless something holds.
fn require(holds: bool, what: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(what().into()) }
}
