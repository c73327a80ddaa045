//! The real Apache Kafka, from its jars.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{CLUSTER_ID, Cluster, Config, Release, Tools, node::Node};
use crate::Outcome;

/// A JVM that starts fast and stays small.
const JVM: [&str; 6] = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dlog4j2.level=INFO",
    "-Djava.awt.headless=true",
];

/// Where the broker of 3.9.1 logs to; that of 4.3.1 needs a level only.
const LOG4J_1: &str = "log4j.rootLogger=INFO, stdout\n\
                       log4j.appender.stdout=org.apache.log4j.ConsoleAppender\n\
                       log4j.appender.stdout.layout=org.apache.log4j.PatternLayout\n\
                       log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n\n";

/// An Apache Kafka broker.
pub(crate) struct ApacheKafka {
    node: Node,
    scratch: PathBuf,
    class_path: String,
    formatted: bool,
}

impl ApacheKafka {
    pub(crate) fn create(tools: &Tools, release: Release, config: Config) -> Outcome<Self> {
        let node = Node::create(config)?;
        fs::write(node.path().join("log4j.properties"), LOG4J_1)?;
        Ok(Self { scratch: node.scratch_dir(), node, class_path: tools.kafka_class_path(release), formatted: false })
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command
            .args(JVM)
            .arg("-Dlog4j.configuration=file:log4j.properties")
            .args(["-cp", &self.class_path])
            .current_dir(self.node.path());
        command
    }

    fn format(&self) -> Outcome {
        let mut command = self.java();
        command.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER_ID, "-c"]);
        command.arg(self.node.properties());
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stdout)).into())
    }
}

impl Cluster for ApacheKafka {
    fn start(&mut self) -> Outcome {
        if !self.formatted {
            self.format()?;
            self.formatted = true;
        }
        let mut command = self.java();
        command.arg("kafka.Kafka").arg(self.node.properties());
        self.node.start(&mut command)
    }

    fn node(&self) -> &Node {
        &self.node
    }

    fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    fn scratch_dir(&self) -> &Path {
        &self.scratch
    }
}
