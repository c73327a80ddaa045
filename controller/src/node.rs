//! Who takes part in the metadata quorum.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A voter or learner: the node's id and the id of the disk its metadata log lives on (KIP-853).
///
/// A node whose disk was replaced is another member: it must join, not go on, because its log no longer holds what it acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// `node.id`
    pub id: i32,
    /// `directory.id` of the metadata log dir; zero for a voter of a static quorum (`controller.quorum.voters`).
    pub directory_id: Uuid,
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.directory_id)
    }
}

impl FromStr for NodeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("\"{text}\" is not of the form id:directory");
        let (id, directory_id) = text.split_once(':').ok_or_else(invalid)?;
        Ok(Self {
            id: id.parse().map_err(|_| invalid())?,
            directory_id: Uuid::parse_str(directory_id).map_err(|_| invalid())?,
        })
    }
}

// As text, because a membership is written as JSON, where keys of maps are texts.
impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
impl From<u64> for NodeId {
    fn from(id: u64) -> Self {
        Self { id: i32::try_from(id).expect("small"), directory_id: Uuid::nil() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_reads_back_what_it_writes() {
        let node = NodeId { id: 3, directory_id: Uuid::from_u128(0x0123_4567_89ab_cdef) };
        assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
        assert_eq!(serde_json::from_str::<NodeId>(&serde_json::to_string(&node).unwrap()).unwrap(), node);
        assert!("3".parse::<NodeId>().is_err());
        assert!("x:00000000-0000-0000-0000-000000000000".parse::<NodeId>().is_err());
    }
}
