//! What both clusters share: a directory, ports, a configuration file and a child process.

use std::{
    fmt::Write as _,
    fs::{self, File},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use kafka_protocol::messages::MetadataRequest;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::Config;
use crate::{Outcome, raw::Connection};

/// Before this, a broker that does not answer is still starting.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Before this, a broker that was asked to stop is still stopping.
const STOP_TIMEOUT: Duration = Duration::from_mins(1);
/// Below the ports that Linux hands out to outgoing connections.
const PORTS: std::ops::Range<u16> = 30_000..32_700;

/// One broker's directory, ports and process.
pub(crate) struct Node {
    dir: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Node {
    /// A directory with a `server.properties` on free ports.
    pub(crate) fn create(config: Config) -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("milena-compat-").tempdir()?;
        let port = free_port()?;
        let mut controller_port = free_port()?;
        while controller_port == port {
            controller_port = free_port()?;
        }
        let data = dir.path().join("data");
        fs::create_dir(&data)?;
        fs::create_dir(dir.path().join("scratch"))?;
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=5\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data.display()
        );
        for (key, value) in config {
            writeln!(text, "{key}={value}")?;
        }
        fs::write(dir.path().join("server.properties"), text)?;
        Ok(Self { dir, port, child: None })
    }

    pub(crate) fn properties(&self) -> PathBuf {
        self.dir.path().join("server.properties")
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn scratch_dir(&self) -> PathBuf {
        self.dir.path().join("scratch")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Runs the broker with its output appended to the log, and waits until it answers.
    pub(crate) fn start(&mut self, command: &mut Command) -> Outcome {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().map_err(|error| format!("{command:?}: {error}"))?);
        let give_up = Instant::now() + START_TIMEOUT;
        while !self.answers() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                self.child = None;
                return Err(format!("ended at its start with {}: {}", status?, tail(&self.log())).into());
            }
            if Instant::now() > give_up {
                return Err(format!("does not answer: {}", tail(&self.log())).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Outcome<i32> {
        let mut child = self.child.take().ok_or("not running")?;
        kill_process(Pid::from_child(&child), Signal::TERM)?;
        let give_up = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1));
            }
            if Instant::now() > give_up {
                child.kill()?;
                child.wait()?;
                return Err(format!("did not stop: {}", tail(&self.log())).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) -> Outcome {
        let mut child = self.child.take().ok_or("not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The process id of the running broker.
    pub(crate) fn pid(&self) -> Outcome<u32> {
        Ok(self.child.as_ref().ok_or("not running")?.id())
    }

    /// Waits until the broker ends by itself: its exit code, as a shell sees it.
    pub(crate) fn wait(&mut self) -> Outcome<i32> {
        let child = self.child.as_mut().ok_or("not running")?;
        let give_up = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1));
            }
            if Instant::now() > give_up {
                return Err(format!("does not end: {}", tail(&self.log())).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn answers(&self) -> bool {
        let ask = || -> Outcome<usize> {
            let mut connection = Connection::open(&self.bootstrap())?;
            connection.set_answer_timeout(Duration::from_secs(5))?;
            let request = MetadataRequest::default().with_topics(Some(Vec::new()));
            let answer = connection.call(1, &request)?.response().ok_or("no answer")?;
            Ok(answer.brokers.len())
        };
        ask().is_ok_and(|brokers| brokers > 0)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.child.is_some() {
            // Nothing can be done about a process that cannot be killed.
            let _ = self.kill();
        }
    }
}

/// A port that nobody listens on right now.
pub(crate) fn free_port() -> Outcome<u16> {
    let mut random = SmallRng::from_os_rng();
    (0..1000)
        .map(|_| random.random_range(PORTS))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| "no free port".into())
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
