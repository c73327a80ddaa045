//! What Linux says about a process: `/proc/<pid>/stat` and `status`.

use std::{fs, time::Duration};

use crate::shell::Outcome;

/// The unit of CPU times in `/proc`: USER_HZ, 100 on every architecture this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system time of all threads of a process, those that have ended included.
pub(crate) fn cpu_of(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    cpu_in(&stat, Fields::Own).ok_or_else(|| format!("cannot read the CPU time of process {pid}").into())
}

/// User and system time of all children that this process has waited for.
pub(crate) fn cpu_of_ended_children() -> Outcome<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    cpu_in(&stat, Fields::Children).ok_or_else(|| "cannot read the CPU time of ended children".into())
}

/// Which of the two pairs of CPU times.
#[derive(Clone, Copy)]
enum Fields {
    /// utime and stime, fields 14 and 15 counted from 1.
    Own = 14,
    /// cutime and cstime, fields 16 and 17.
    Children = 16,
}

fn cpu_in(stat: &str, fields: Fields) -> Option<Duration> {
    // The program's name, field 2, may contain anything; the last parenthesis ends it.
    let after_name = stat.rsplit_once(')')?.1;
    let mut values = after_name.split_whitespace().skip(fields as usize - 3);
    let mut ticks = || values.next()?.parse::<u32>().ok();
    let sum = f64::from(ticks()?) + f64::from(ticks()?);
    Some(Duration::from_secs_f64(sum / TICKS_PER_SECOND))
}

/// What an idle process holds.
pub(crate) struct Footprint {
    pub(crate) resident_megabytes: f64,
    pub(crate) threads: f64,
    /// Context switches of all threads that live, since each began.
    pub(crate) context_switches: f64,
}

/// The footprint of a process now.
pub(crate) fn footprint_of(pid: u32) -> Outcome<Footprint> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut context_switches = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        context_switches += number_in(&status, "voluntary_ctxt_switches").unwrap_or(0.0);
        context_switches += number_in(&status, "nonvoluntary_ctxt_switches").unwrap_or(0.0);
    }
    Ok(Footprint {
        resident_megabytes: number_in(&status, "VmRSS").ok_or("no VmRSS")? * 1024.0 / 1e6,
        threads: number_in(&status, "Threads").ok_or("no Threads")?,
        context_switches,
    })
}

fn number_in(status: &str, key: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "29131 (a) b (c) S 1 29131 29131 0 -1 4194304 9123 44 0 0 69 1463 7 5 20 0 12 0 48000 1 2 3";

    #[test]
    fn reads_cpu_times_behind_a_name_with_parentheses() {
        assert_eq!(cpu_in(STAT, Fields::Own), Some(Duration::from_millis(15_320)));
        assert_eq!(cpu_in(STAT, Fields::Children), Some(Duration::from_millis(120)));
        assert_eq!(cpu_in("29131 (a", Fields::Own), None);
    }

    #[test]
    fn reads_numbers_by_their_whole_key() {
        let status = "VmRSS:\t   12000 kB\nThreads:\t9\nvoluntary_ctxt_switches:\t31\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(number_in(status, "VmRSS"), Some(12000.0));
        assert_eq!(number_in(status, "voluntary_ctxt_switches"), Some(31.0));
        assert_eq!(number_in(status, "nonvoluntary_ctxt_switches"), Some(2.0));
        assert_eq!(number_in(status, "Volun"), None);
    }

    #[test]
    fn this_process_has_a_footprint() {
        let footprint = footprint_of(std::process::id()).unwrap();
        assert!(footprint.resident_megabytes > 0.0 && footprint.threads >= 1.0);
        assert!(cpu_of(std::process::id()).is_ok() && cpu_of_ended_children().is_ok());
    }
}
