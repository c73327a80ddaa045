//! `strace`, attached to a broker, makes its system calls fail. Detaching heals it; a call that is being made to fail at
//! that moment ends with ENOSYS, so that a test detaches when none is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

const PATIENCE: Duration = Duration::from_secs(10);

/// System calls that fail until this is dropped.
pub(crate) struct Injection {
    child: Child,
    trace: PathBuf,
}

impl Injection {
    /// Into the process `pid`: what strace's `inject=` takes, on calls that concern one of `paths` (all, if there are none).
    pub(crate) fn attach(pid: u32, what: &str, paths: &[PathBuf], scratch: &Path) -> Outcome<Self> {
        Self::attach_all(pid, &[what], paths, scratch)
    }

    /// Several of them at once.
    pub(crate) fn attach_all(pid: u32, what: &[&str], paths: &[PathBuf], scratch: &Path) -> Outcome<Self> {
        let trace = scratch.join("strace.trace");
        let said = scratch.join("strace.said");
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &pid.to_string(), "-o"]).arg(&trace);
        command.args(arguments(what, paths));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        let child = command.spawn().map_err(|error| format!("strace: {error}"))?;
        let mut injection = Self { child, trace };
        let give_up = Instant::now() + PATIENCE;
        loop {
            let text = fs::read_to_string(&said)?;
            if text.contains("attached") {
                return Ok(injection);
            }
            if injection.child.try_wait()?.is_some() || Instant::now() > give_up {
                return Err(format!("strace does not attach: {text}").into());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// How many calls have failed so far.
    pub(crate) fn count(&self) -> usize {
        fs::read_to_string(&self.trace).map_or(0, |trace| trace.matches("(INJECTED)").count())
    }

    /// Waits until this many calls have failed.
    pub(crate) fn until_failed(&self, count: usize) -> Outcome {
        let give_up = Instant::now() + PATIENCE;
        while self.count() < count {
            if Instant::now() > give_up {
                return Err("no system call was made to fail".into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        // A process that is gone by itself needs no signal, and nothing can be done about one that ignores it.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

/// The command line under which a process starts, traced, and keeps its place as our child.
pub(crate) fn start_under(what: &str, paths: &[PathBuf]) -> Vec<String> {
    let mut line: Vec<String> = ["strace", "-D", "-f", "-o", "/dev/null"].map(str::to_owned).into();
    line.extend(arguments(&[what], paths));
    line
}

fn arguments(what: &[&str], paths: &[PathBuf]) -> Vec<String> {
    let calls: Vec<&str> = what.iter().filter_map(|what| what.split(':').next()).collect();
    let mut arguments = vec!["-e".to_owned(), format!("trace={}", calls.join(","))];
    for what in what {
        arguments.extend(["-e".to_owned(), format!("inject={what}")]);
    }
    for path in paths {
        arguments.extend(["-P".to_owned(), path.display().to_string()]);
    }
    arguments
}

/// Whether this machine lets one process trace another.
pub(crate) fn probe() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    let attached = Injection::attach(sleeper.id(), "pwrite64:error=EIO", &[], scratch.path()).map(|_| ());
    sleeper.kill()?;
    sleeper.wait()?;
    attached
}
