//! A broker under test: Milena or the real Apache Kafka, started, stopped and killed in the same way.

mod apache;
mod milena;
mod node;

use std::path::{Path, PathBuf};

use crate::Outcome;

pub(crate) use apache::ApacheKafka;
pub(crate) use milena::Milena;
pub(crate) use node::{Node, free_port};

/// The cluster id of both.
const CLUSTER_ID: &str = "5L6g3nShT-eMCtK--X86sw";

/// Settings in `server.properties`, beside those that every cluster here has.
pub(crate) type Config = &'static [(&'static str, &'static str)];

/// Which Apache Kafka a scenario is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Release {
    /// Today's, for what it serves.
    V4_3_1,
    /// The last that serves what Kafka 4 removed (KIP-896).
    V3_9_1,
}

/// What a cluster is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Kafka(Release),
    Milena,
}

impl Kind {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka(Release::V4_3_1) => "Apache Kafka 4.3.1",
            Self::Kafka(Release::V3_9_1) => "Apache Kafka 3.9.1",
            Self::Milena => "Milena",
        }
    }

    /// A cluster of this kind with a fresh data directory, not yet started.
    pub(crate) fn create(self, tools: &Tools, config: Config) -> Outcome<Box<dyn Cluster>> {
        Ok(match self {
            Self::Kafka(release) => Box::new(ApacheKafka::create(tools, release, config)?),
            Self::Milena => Box::new(Milena::create(tools, config)?),
        })
    }
}

/// One broker process with a directory of its own. Dropping it kills the process and deletes the directory.
pub(crate) trait Cluster: Send {
    /// Starts the process and waits until it answers with itself as an alive broker.
    fn start(&mut self) -> Outcome;
    /// Its process and directory.
    fn node(&self) -> &Node;
    /// The same, to be stopped.
    fn node_mut(&mut self) -> &mut Node;
    /// A directory for whatever a scenario wants to write.
    fn scratch_dir(&self) -> &Path;

    /// Stops it cleanly (TERM). The exit code, as a shell sees it.
    fn stop(&mut self) -> Outcome<i32> {
        self.node_mut().stop()
    }

    /// `kill -9`; returns when the process is gone.
    fn kill(&mut self) -> Outcome {
        self.node_mut().kill()
    }

    /// `host:port` for clients.
    fn bootstrap(&self) -> String {
        self.node().bootstrap()
    }

    /// The log directory (the one of `log.dirs`).
    fn data_dir(&self) -> PathBuf {
        self.node().data_dir()
    }

    /// What the process has printed so far, over all its starts.
    fn log(&self) -> String {
        self.node().log()
    }
}

/// Where the things that are not ours lie; `cargo xtask tools` puts them there.
#[derive(Clone)]
pub(crate) struct Tools {
    /// The directory of `cargo xtask tools`.
    pub(crate) dir: PathBuf,
    /// The broker binary.
    pub(crate) milena: PathBuf,
}

impl Tools {
    /// From `MILENA_TOOLS` and `MILENA_BIN`, else from the workspace's target directory.
    pub(crate) fn find() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let from = |name: &str, default: PathBuf| std::env::var_os(name).map_or(default, PathBuf::from);
        Self {
            dir: from("MILENA_TOOLS", target.join("tools")),
            milena: from("MILENA_BIN", target.join("release/milena")),
        }
    }

    /// A Java class path with Kafka's own jars.
    pub(crate) fn kafka_class_path(&self, release: Release) -> String {
        let version = match release {
            Release::V4_3_1 => "4.3.1",
            Release::V3_9_1 => "3.9.1",
        };
        format!("{}/kafka-{version}/libs/*", self.dir.display())
    }

    /// A Java class path with one release of Kafka's Java client.
    pub(crate) fn client_class_path(&self, version: &str) -> String {
        format!("{}/kafka-clients-{version}/libs/*", self.dir.display())
    }
}
