//! Starting programs where nothing else disturbs them: on one core, in a scheduling group of their own.
//!
//! With autogroups the kernel shares a core between sessions first and looks at niceness inside a session only. So each
//! program gets a session of its own and that session the highest weight. A program dies with the benchmark.

use std::{path::Path, process::Command};

use crate::shell::{Outcome, run};

/// The core of the broker that is measured.
pub(crate) const BROKER_CORE: &str = "1";
/// The core of the client, and of the benchmark itself.
pub(crate) const CLIENT_CORE: &str = "0";

/// `program` on one core, its process id being that of the child.
pub(crate) fn command(core: &str, program: &Path) -> Command {
    let mut command = Command::new("setsid");
    // Where the machine forbids a raised priority or has no autogroups, the program runs without.
    command
        .args(["sh", "-c", "{ echo -20 > /proc/$$/autogroup; } 2>/dev/null; exec \"$@\"", "sh"])
        .args(["setpriv", "--pdeathsig", "KILL", "taskset", "-c", core])
        .arg(program);
    command
}

/// Moves the benchmark itself to the client's core: the broker's is the broker's.
pub(crate) fn move_to_client_core() -> Outcome {
    run(Command::new("taskset").args(["-p", "-c", CLIENT_CORE, &std::process::id().to_string()]))
}

/// Sends a signal to a process, or to a process that is stopped.
pub(crate) fn signal(pid: u32, name: &str) -> Outcome {
    let kill = format!("kill -{name} {pid}");
    if Command::new("sh").args(["-c", &kill]).status()?.success() {
        return Ok(());
    }
    Err(format!("cannot {kill}").into())
}
