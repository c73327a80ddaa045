//! The two brokers as processes: the same `server.properties` for both, each on the broker's core.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{pinned, wire};
use crate::shell::{Outcome, say};

/// The options that Apache Kafka's own start script gives the JVM.
const JVM_AS_SHIPPED: [&str; 9] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
    "-Dlog4j2.level=WARN",
];
const CLUSTER_ID: &str = "4L6g3nShT-eMCtK--X86sw";

const START_TIMEOUT: Duration = Duration::from_mins(2);
const STOP_TIMEOUT: Duration = Duration::from_mins(1);
/// How often a broker that starts is asked whether it answers.
const ASK_INTERVAL: Duration = Duration::from_micros(500);
/// Below the ports that Linux hands out to outgoing connections.
const PORTS: std::ops::Range<u16> = 25_000..25_500;

/// Which broker.
#[derive(Clone)]
pub(crate) enum Program {
    /// The binary of the release build.
    Milena { binary: PathBuf },
    /// The JVM's binary and Kafka's jars.
    Kafka { java: PathBuf, class_path: String },
}

impl Program {
    /// Milena's release binary.
    pub(crate) fn milena(binary: &Path) -> Outcome<Self> {
        let binary = binary.canonicalize().map_err(|error| format!("{}: {error}", binary.display()))?;
        Ok(Self::Milena { binary })
    }

    /// The Apache Kafka of the compatibility tests.
    pub(crate) fn kafka(tools: &Path) -> Outcome<Self> {
        let libs = tools.join("kafka-4.3.1/libs");
        if !libs.is_dir() {
            return Err(format!("no Apache Kafka in {}: run `cargo xtask tools` first", libs.display()).into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let java = std::env::split_paths(&path).map(|dir| dir.join("java")).find(|java| java.is_file());
        let java = java.ok_or("no java in PATH: run `cargo xtask tools` first")?.canonicalize()?;
        Ok(Self::Kafka { java, class_path: format!("{}/*", libs.display()) })
    }

    fn executable(&self) -> &Path {
        match self {
            Self::Milena { binary } => binary,
            Self::Kafka { java, .. } => java,
        }
    }

    /// The command that runs `tool`, a class of Kafka's, or Milena itself.
    fn command(&self, class: &str) -> Command {
        let mut command = pinned::command(pinned::BROKER_CORE, self.executable());
        if let Self::Kafka { class_path, .. } = self {
            command.args(JVM_AS_SHIPPED).args(["-cp", class_path, class]);
        }
        command
    }
}

/// How long the start of a broker took.
pub(crate) struct Started {
    /// `storage format`, which Milena does not need.
    pub(crate) format: Option<Duration>,
    /// From the `exec` of the broker's program to its first Metadata answer.
    pub(crate) start: Duration,
}

/// A running broker. It is killed when this is dropped.
pub(crate) struct Broker {
    child: Child,
    dir: PathBuf,
    address: SocketAddr,
}

impl Broker {
    /// Starts a broker on an empty directory.
    pub(crate) fn start(program: &Program, dir: &Path) -> Outcome<(Self, Started)> {
        if dir.exists() {
            fs::remove_dir_all(dir)?;
        }
        fs::create_dir_all(dir.join("data"))?;
        let (port, controller_port) = free_ports()?;
        let properties = dir.join("server.properties");
        fs::write(&properties, properties_text(port, controller_port, &dir.join("data")))?;
        let format = match program {
            Program::Milena { .. } => None,
            Program::Kafka { .. } => Some(format(program, &properties)?),
        };
        let log = File::create(dir.join("broker.log"))?;
        let mut command = program.command("kafka.Kafka");
        command.arg(&properties).current_dir(dir).env("CLUSTER_ID", CLUSTER_ID);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut broker = Self { child, dir: dir.to_path_buf(), address };
        let start = broker.await_first_answer(program.executable())?;
        Ok((broker, Started { format, start }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the process where it is, so that it costs nothing while the other one is measured.
    pub(crate) fn pause(&self) -> Outcome {
        pinned::signal(self.pid(), "STOP")
    }

    /// Lets a paused process go on, and waits until it answers.
    pub(crate) fn resume(&mut self) -> Outcome {
        pinned::signal(self.pid(), "CONT")?;
        self.await_answer(Instant::now() + START_TIMEOUT, Duration::from_millis(10))
    }

    /// Ends the broker as an operator would, and removes its directory.
    pub(crate) fn stop(mut self) -> Outcome {
        pinned::signal(self.pid(), "TERM")?;
        // A paused process hears of it only when it goes on.
        pinned::signal(self.pid(), "CONT")?;
        let give_up = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > give_up {
                return Err(format!("does not stop: {}", self.dir.display()).into());
            }
            sleep(Duration::from_millis(10));
        }
        fs::remove_dir_all(&self.dir)?;
        Ok(())
    }

    /// The programs that pin a process come before the broker in the same process: the clock starts when they are gone.
    fn await_first_answer(&mut self, executable: &Path) -> Outcome<Duration> {
        let exe = format!("/proc/{}/exe", self.pid());
        let give_up = Instant::now() + START_TIMEOUT;
        while fs::read_link(&exe).is_ok_and(|running| running != executable) && Instant::now() < give_up {}
        let executed = Instant::now();
        self.await_answer(give_up, ASK_INTERVAL)?;
        Ok(executed.elapsed())
    }

    fn await_answer(&mut self, give_up: Instant, interval: Duration) -> Outcome {
        while !wire::brokers_known(self.address).is_ok_and(|brokers| brokers > 0) {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("ended with {status}: see {}/broker.log", self.dir.display()).into());
            }
            if Instant::now() > give_up {
                return Err(format!("does not answer: see {}/broker.log", self.dir.display()).into());
            }
            sleep(interval);
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already, or be stopped: SIGKILL reaches it there too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn format(program: &Program, properties: &Path) -> Outcome<Duration> {
    let mut command = program.command("kafka.tools.StorageTool");
    command.args(["format", "--standalone", "-t", CLUSTER_ID, "-c"]).arg(properties);
    let started = Instant::now();
    let output = command.output()?;
    if output.status.success() {
        return Ok(started.elapsed());
    }
    say(&String::from_utf8_lossy(&output.stderr));
    Err("Kafka's storage tool failed".into())
}

/// What both brokers run with: the values of Kafka's shipped file, one replica of everything, files of deleted topics
/// removed soon, and a session that survives being paused.
fn properties_text(port: u16, controller_port: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         controller.listener.names=CONTROLLER\n\
         controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
         log.dirs={}\n\
         num.network.threads=3\n\
         num.io.threads=8\n\
         socket.send.buffer.bytes=102400\n\
         socket.receive.buffer.bytes=102400\n\
         socket.request.max.bytes=104857600\n\
         log.segment.bytes=1073741824\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         log.segment.delete.delay.ms=500\n\
         broker.session.timeout.ms=3600000\n",
        data.display()
    )
}

/// Two ports next to each other that nobody listens on right now.
fn free_ports() -> Outcome<(u16, u16)> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut pairs = PORTS.step_by(2).map(|port| (port, port + 1));
    pairs.find(|&(first, second)| is_free(first) && is_free(second)).ok_or_else(|| "no free ports".into())
}
