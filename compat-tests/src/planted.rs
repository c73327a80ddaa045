//! The tests of the tests: each bug that a test build can be given must be noticed by the part of the suite that is there for it,
//! and that part must be content when there is none. `docs/planted-bugs.md` lists the bugs.

use std::{path::PathBuf, process::Command};

use crate::{Outcome, cluster::Tools, print_line};

/// Names the bug; read by the test build only.
const VARIABLE: &str = "MILENA_PLANTED_BUG";

/// Where the test build lies.
pub(crate) fn binary(tools: &Tools) -> PathBuf {
    let beside = || tools.dir.with_file_name("debug/examples/milena_with_planted_bugs");
    std::env::var_os("MILENA_PLANTED_BIN").map_or_else(beside, PathBuf::from)
}

/// A part of the suite, as arguments of this program.
type Part = &'static [&'static str];

const CRASH: Part = &["crash", "--rounds", "10"];
const POWER_CUT: Part = &["faults", "--only", "power-cut-under-load"];
const NO_ROOM: Part = &["faults", "--only", "no-room-is-refused"];
const SYNC_ERROR: Part = &["faults", "--only", "sync-error"];
const WRONG_CHECKSUM: Part = &["faults", "--only", "wrong-checksum"];
const FLIPPED_BYTE: Part = &["faults", "--only", "flipped-byte"];
const TORN_TAIL: Part = &["faults", "--only", "torn-tail"];
const HIGH_WATERMARK: Part = &["faults", "--only", "below-the-high-watermark"];

const PARTS: [Part; 8] =
    [CRASH, POWER_CUT, NO_ROOM, SYNC_ERROR, WRONG_CHECKSUM, FLIPPED_BYTE, TORN_TAIL, HIGH_WATERMARK];

const BUGS: [(&str, Part); 13] = [
    ("AcknowledgeBeforeWrite", CRASH),
    ("AcknowledgeBeforeSync", POWER_CUT),
    ("AcknowledgeMetadataBeforeSync", POWER_CUT),
    ("IgnoreWriteErrors", NO_ROOM),
    ("IgnoreSyncErrors", SYNC_ERROR),
    ("SkipCrcOfProducers", WRONG_CHECKSUM),
    ("SkipCrcOfColdReads", FLIPPED_BYTE),
    ("ForgetProducerState", CRASH),
    ("KeepTornTail", TORN_TAIL),
    ("TrustStaleCheckpoint", TORN_TAIL),
    ("RecoveryPointAhead", POWER_CUT),
    ("ReuseOffset", CRASH),
    ("ServeAboveHighWatermark", HIGH_WATERMARK),
];

/// How a part of the suite ended.
enum Ended {
    Passed,
    /// With what it said of the first failure.
    Failed(String),
    /// This machine does not allow it.
    NotCounted,
}

/// Runs everything, or only the bugs whose names hold `only`; true if all is as it should be.
pub(crate) fn run(tools: &Tools, only: Option<&str>) -> Outcome<bool> {
    let planted = binary(tools);
    let mut tally = Tally::default();
    print_line("\nrunning the tests of the tests");
    for (bug, part) in BUGS.into_iter().filter(|(bug, _)| only.is_none_or(|only| bug.contains(only))) {
        let name = format!("{bug}-is-noticed-by-{}", if part == CRASH { "crash" } else { part[2] });
        match ended(part, &planted, bug)? {
            Ended::Failed(said) => {
                tally.passed(&name);
                print_line(&format!("    {said}"));
            }
            Ended::Passed => tally.failed(&name, "nothing in the suite notices it"),
            Ended::NotCounted => print_line(&format!("not counted: {name}")),
        }
    }
    if only.is_none() {
        for part in PARTS {
            let name = format!("no-bug:{}", part.join("-"));
            match ended(part, &planted, "")? {
                Ended::Passed => tally.passed(&name),
                Ended::Failed(said) => tally.failed(&name, &said),
                Ended::NotCounted => print_line(&format!("not counted: {name}")),
            }
        }
        tally.expect("the-binary-does-not-know-the-variable", !knows_the_variable(&tools.milena)?);
        tally.expect("the-test-build-knows-the-variable", knows_the_variable(&planted)?);
        let with_a_bug = ended(WRONG_CHECKSUM, &tools.milena, "SkipCrcOfProducers")?;
        tally.expect("the-binary-ignores-the-variable", matches!(with_a_bug, Ended::Passed));
    }
    Ok(tally.finish())
}

fn knows_the_variable(binary: &PathBuf) -> Outcome<bool> {
    let bytes = std::fs::read(binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    Ok(bytes.windows(VARIABLE.len()).any(|window| window == VARIABLE.as_bytes()))
}

fn ended(part: Part, milena: &PathBuf, bug: &str) -> Outcome<Ended> {
    let output =
        Command::new(std::env::current_exe()?).args(part).env("MILENA_BIN", milena).env(VARIABLE, bug).output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.contains("not counted, for want of") {
        return Ok(Ended::NotCounted);
    }
    if output.status.success() {
        return Ok(Ended::Passed);
    }
    let mut lines = said.lines().skip_while(|line| !line.ends_with("... FAILED")).skip(1);
    match lines.next() {
        Some(reason) => Ok(Ended::Failed(reason.trim().to_owned())),
        None => {
            Err(format!("{part:?} ended without a verdict: {said}{}", String::from_utf8_lossy(&output.stderr)).into())
        }
    }
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn passed(&mut self, name: &str) {
        self.passed += 1;
        print_line(&format!("test planted {name} ... ok"));
    }

    fn failed(&mut self, name: &str, why: &str) {
        self.failed += 1;
        print_line(&format!("test planted {name} ... FAILED\n    {why}"));
    }

    fn expect(&mut self, name: &str, holds: bool) {
        if holds { self.passed(name) } else { self.failed(name, "it is not so") }
    }

    fn finish(self) -> bool {
        let verdict = if self.failed == 0 { "ok" } else { "FAILED" };
        print_line(&format!("\ntest result: {verdict}. {} passed; {} failed; 0 ignored", self.passed, self.failed));
        self.failed == 0
    }
}
