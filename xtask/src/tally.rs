//! Counting tests: libtest's summaries, the compatibility runner's (same form) and the gate's own checks.

use crate::shell::{print_line, say};

/// The tests of all sections of one run.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    failures: Vec<String>,
}

impl Tally {
    /// Reads one line of a test program's output: libtest's `test result:` lines count, all others do not.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some(summary) = line.trim_start().strip_prefix("test result:") {
            self.passed += number_before(summary, "passed");
            self.failed += number_before(summary, "failed");
            self.skipped += number_before(summary, "ignored");
        } else if line.starts_with("test ") && line.trim_end().ends_with("FAILED") {
            self.failures.push(line.trim_end().to_owned());
        }
    }

    /// Counts one check that is not a test program: a format check, a lint run.
    pub(crate) fn check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.fail(name);
        }
    }

    /// Counts a failure that no summary line told about (a program that died, a build that broke).
    pub(crate) fn fail(&mut self, name: &str) {
        self.failed += 1;
        self.failures.push(name.to_owned());
    }

    /// How many tests failed so far.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// Prints what failed, then the one line that ends a run. True if the run is good: nothing failed and,
    /// where nothing may be skipped, nothing was.
    pub(crate) fn finish(self, nothing_may_be_skipped: bool) -> bool {
        if !self.failures.is_empty() {
            say("failures");
            for failure in &self.failures {
                print_line(&format!("    {failure}"));
            }
        }
        let skipped_wrongly = nothing_may_be_skipped && self.skipped > 0;
        if skipped_wrongly {
            say("nothing may be skipped here (CI=true)");
        }
        print_line(&format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped));
        self.failed == 0 && !skipped_wrongly
    }
}

fn number_before(summary: &str, word: &str) -> u64 {
    summary
        .split([';', '.'])
        .filter_map(|part| part.trim().strip_suffix(word))
        .find_map(|number| number.trim().rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_summaries_of_all_test_programs() {
        let mut tally = Tally::default();
        tally.read("running 5 tests");
        tally.read("test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.read("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        tally.check("format", true);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (7, 3, 1));
    }

    #[test]
    fn names_a_failed_test() {
        let mut tally = Tally::default();
        tally.read("test log::tests::keeps_order ... FAILED");
        assert_eq!(tally.failures, ["test log::tests::keeps_order ... FAILED"]);
    }

    #[test]
    fn a_skipped_test_is_a_failure_where_nothing_may_be_skipped() {
        let mut tally = Tally::default();
        tally.read("test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert!(!tally.finish(true));
    }
}
