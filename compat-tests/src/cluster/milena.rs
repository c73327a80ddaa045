//! Milena: the binary of this workspace as a process.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{CLUSTER_ID, Cluster, Config, Tools, node::Node};
use crate::Outcome;

/// A Milena broker.
pub(crate) struct Milena {
    node: Node,
    scratch: PathBuf,
    binary: PathBuf,
}

impl Milena {
    pub(crate) fn create(tools: &Tools, config: Config) -> Outcome<Self> {
        let node = Node::create(config)?;
        Ok(Self { scratch: node.scratch_dir(), node, binary: tools.milena.clone() })
    }
}

impl Cluster for Milena {
    fn start(&mut self) -> Outcome {
        let mut command = Command::new(&self.binary);
        command.arg(self.node.properties()).current_dir(self.node.path()).env("CLUSTER_ID", CLUSTER_ID);
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
