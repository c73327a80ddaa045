//! What connections may take of a broker: places, descriptors, memory. The real binary under real limits.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic, too")]

mod bursts;
mod client;
mod memory;
mod places;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use client::Client;

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_mins(1);
/// What shows that no answer comes.
const A_WHILE: Duration = Duration::from_millis(300);

/// A running broker; ends with the value.
struct Broker {
    child: Child,
    address: String,
    said: Option<JoinHandle<String>>,
    _dir: TempDir,
}

impl Broker {
    /// Starts it in a shell that has run `limits` before, such as `ulimit -n 256`.
    fn start(limits: &str, overrides: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limits}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_milena")])
            .args(["--override", "listeners=PLAINTEXT://127.0.0.1:0"])
            .args(["--override", &format!("log.dirs={}", dir.path().join("logs").display())])
            .args(overrides.iter().flat_map(|line| ["--override", line]))
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, address) = mpsc::channel();
        // Somebody must read what it says, or it would wait for room in the pipe.
        let said = std::thread::spawn(move || {
            let mut said = String::new();
            while !said.contains("kcat -b ") && stdout.read_line(&mut said).unwrap_or(0) > 0 {}
            if let Some((_, rest)) = said.split_once("kcat -b ") {
                let address = rest.split_once(' ').unwrap().0.replace("localhost", "127.0.0.1");
                sender.send(address).unwrap();
            }
            let _ = stdout.read_to_string(&mut said);
            said
        });
        let address = address.recv().expect("the broker starts");
        Self { child, address, said: Some(said), _dir: dir }
    }

    fn connect(&self) -> Client {
        Client::new(&self.address)
    }

    /// Kills it and returns what it has said.
    fn end(mut self) -> String {
        assert_eq!(self.child.try_wait().unwrap(), None, "the broker still runs");
        self.child.kill().unwrap();
        self.said.take().unwrap().join().unwrap()
    }

    /// A line of `/proc/<pid>/status`, in bytes.
    fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A failed test leaves no broker behind; one that ended is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is ended when the attack is over.
type Flag = Arc<std::sync::atomic::AtomicBool>;
