//! A small blocking client that sends one frame and reads one frame, and can send wrong ones too.

pub(crate) mod batch;
pub(crate) mod connection;
pub(crate) mod fields;
pub(crate) mod message_set;
pub(crate) mod records;
pub(crate) mod requests;

pub(crate) use batch::Batch;
pub(crate) use connection::{Answer, Connection};

use kafka_protocol::{messages::TopicName, protocol::StrBytes};

/// A protocol string.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name.
pub(crate) fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}
