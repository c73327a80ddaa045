//! What several tests need: Kafka's own batches and random ones.

use bytes::BytesMut;
use proptest::prelude::*;

use crate::compression::{Codec, Level};
use crate::records::{BatchBuilder, Header};

/// A batch that Kafka's client built; see `tests/golden/Batches.java`.
pub(crate) fn golden(name: &str) -> Vec<u8> {
    named_hex(include_str!("../tests/golden/batches.txt"), name)
}

/// A message's body that Kafka's own class wrote; see `tests/golden/Messages.java`.
pub(crate) fn golden_message(name: &str) -> Vec<u8> {
    named_hex(include_str!("../tests/golden/messages.txt"), name)
}

/// A body that a class of Kafka 3.9 wrote, by its name and version; see `tests/golden/OldMessages.java`.
pub(crate) fn old_golden(name: &str) -> Vec<u8> {
    named_hex(include_str!("../tests/golden/old_messages.txt"), name)
}

fn named_hex(file: &str, name: &str) -> Vec<u8> {
    let hex = file
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("{name} is not in the file"));
    self::hex(hex)
}

/// The fields behind `kind` of the lines of `tests/golden/message_sets.txt`; see `MessageSets.java` there.
pub(crate) fn message_set_goldens(kind: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = include_str!("../tests/golden/message_sets.txt").lines();
    lines.filter_map(move |line| Some(line.strip_prefix(kind)?.strip_prefix('|')?.split('|').collect()))
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A record with everything owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OwnedRecord {
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl OwnedRecord {
    pub(crate) fn append_to(&self, builder: &mut BatchBuilder) {
        let headers = self.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() });
        builder.append(self.timestamp, self.key.as_deref(), self.value.as_deref(), headers);
    }
}

pub(crate) fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..300);
    let headers = prop::collection::vec((prop::collection::vec(any::<u8>(), 0..3), prop::option::of(bytes())), 0..4);
    (any::<i64>(), prop::option::of(bytes()), prop::option::of(bytes()), headers)
        .prop_map(|(timestamp, key, value, headers)| OwnedRecord { timestamp, key, value, headers })
}

pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

pub(crate) fn build(codec: Codec, records: &[OwnedRecord]) -> BytesMut {
    let mut builder = BatchBuilder::new().compression(codec, Level::DEFAULT);
    for record in records {
        record.append_to(&mut builder);
    }
    builder.build().unwrap()
}
