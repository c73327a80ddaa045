//! ProduceRequest v0-13, cut by hand: the records of every partition are a mutable piece of the received frame.
//!
//! kafka-protocol's decoder shares one frozen buffer among all fields, so that base offset and leader epoch could not
//! be patched in place and each batch would have to be copied once more. Everything else about the message is simple:
//! v3 transactional id, v9 flexible, v13 topic ids instead of names (KIP-516). What the records are, batches or in
//! v0-2 message sets, is not looked at.
//! Source: `ProduceRequest.json`.

use bytes::{Buf, BytesMut};
use uuid::Uuid;

/// First version with a transactional id.
const TRANSACTIONAL_ID: i16 = 3;
/// First version in the flexible encoding.
const FLEXIBLE: i16 = 9;
/// First version that names topics by id.
const TOPIC_IDS: i16 = 13;

/// A request to append records to partitions.
#[derive(Debug)]
pub struct ProduceRequest {
    /// The producer's transactional id, `None` outside of transactions.
    pub transactional_id: Option<String>,
    /// Who must have the records before the answer: 0 nobody, 1 the leader, -1 all in-sync replicas.
    pub acks: i16,
    /// How long to wait for them.
    pub timeout_ms: i32,
    /// Topics in the request's order.
    pub topics: Vec<ProduceTopic>,
}

/// One topic's partitions.
#[derive(Debug)]
pub struct ProduceTopic {
    /// The name, empty from v13 on.
    pub name: String,
    /// The id, zero before v13.
    pub topic_id: Uuid,
    /// Partitions in the request's order.
    pub partitions: Vec<ProducePartition>,
}

/// One partition's records.
#[derive(Debug)]
pub struct ProducePartition {
    /// The partition's index.
    pub index: i32,
    /// The bytes of its record batches, or of its message set; `None` if the client sent null.
    pub records: Option<BytesMut>,
}

/// The body is not a ProduceRequest: the connection is closed, as Kafka does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("truncated or malformed produce request")]
pub struct MalformedProduceRequest;

type Result<T> = std::result::Result<T, MalformedProduceRequest>;

impl ProduceRequest {
    /// Cuts a request body of version 0 to 13. Bytes behind the body are ignored.
    pub fn decode(body: BytesMut, version: i16) -> Result<Self> {
        let mut input = Input { rest: body, flexible: version >= FLEXIBLE };
        let transactional_id = if version >= TRANSACTIONAL_ID { input.nullable_string()? } else { None };
        let acks = input.fixed(Buf::get_i16, 2)?;
        let timeout_ms = input.fixed(Buf::get_i32, 4)?;
        let topics = input.array(|input| {
            let (name, topic_id) = if version >= TOPIC_IDS {
                (String::new(), Uuid::from_u128(input.fixed(Buf::get_u128, 16)?))
            } else {
                (input.nullable_string()?.ok_or(MalformedProduceRequest)?, Uuid::nil())
            };
            let partitions = input.array(|input| {
                let index = input.fixed(Buf::get_i32, 4)?;
                let records = input.nullable_bytes()?;
                input.tags()?;
                Ok(ProducePartition { index, records })
            })?;
            input.tags()?;
            Ok(ProduceTopic { name, topic_id, partitions })
        })?;
        input.tags()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

struct Input {
    rest: BytesMut,
    flexible: bool,
}

impl Input {
    fn fixed<T>(&mut self, get: impl FnOnce(&mut BytesMut) -> T, size: usize) -> Result<T> {
        if self.rest.len() < size { Err(MalformedProduceRequest) } else { Ok(get(&mut self.rest)) }
    }

    fn unsigned_varint(&mut self) -> Result<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = self.fixed(Buf::get_u8, 1)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MalformedProduceRequest)
    }

    /// A length in either encoding; `None` is null.
    fn length(&mut self, fixed: impl FnOnce(&mut Self) -> Result<i32>) -> Result<Option<usize>> {
        let length = if self.flexible { self.unsigned_varint()? as i64 - 1 } else { i64::from(fixed(self)?) };
        match length {
            -1 => Ok(None),
            0.. if length as usize <= self.rest.len() => Ok(Some(length as usize)),
            _ => Err(MalformedProduceRequest),
        }
    }

    fn nullable_string(&mut self) -> Result<Option<String>> {
        let Some(length) = self.length(|input| input.fixed(Buf::get_i16, 2).map(i32::from))? else { return Ok(None) };
        let text = self.rest.split_to(length);
        std::str::from_utf8(&text).map(|text| Some(text.to_owned())).map_err(|_| MalformedProduceRequest)
    }

    fn nullable_bytes(&mut self) -> Result<Option<BytesMut>> {
        let length = self.length(|input| input.fixed(Buf::get_i32, 4))?;
        Ok(length.map(|length| self.rest.split_to(length)))
    }

    fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = self.length(|input| input.fixed(Buf::get_i32, 4))?.ok_or(MalformedProduceRequest)?;
        // A count is only a claim: room for a handful is taken at once, the rest as items really arrive.
        let mut items = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn tags(&mut self) -> Result<()> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.unsigned_varint()? {
            self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            if self.rest.len() < size {
                return Err(MalformedProduceRequest);
            }
            self.rest.advance(size);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_protocol::messages::produce_request::{
        PartitionProduceData, ProduceRequest as Reference, TopicProduceData,
    };
    use kafka_protocol::messages::{TopicName, TransactionalId};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;

    use super::*;
    use crate::test_support::old_golden;

    fn encoded(version: i16) -> BytesMut {
        let records = Bytes::from_static(b"not looked at here");
        let partition = PartitionProduceData::default().with_index(7).with_records(Some(records));
        let mut topic = TopicProduceData::default().with_partition_data(vec![partition]);
        if version >= TOPIC_IDS {
            topic = topic.with_topic_id(Uuid::from_u128(42));
        } else {
            topic = topic.with_name(TopicName(StrBytes::from_static_str("syslog")));
        }
        let request = Reference::default()
            .with_acks(-1)
            .with_timeout_ms(1500)
            .with_transactional_id(Some(TransactionalId(StrBytes::from_static_str("tx"))))
            .with_topic_data(vec![topic]);
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes, version).unwrap();
        bytes
    }

    #[test]
    fn reads_what_the_reference_encoder_writes_in_every_version() {
        for version in 3..=13 {
            let request = ProduceRequest::decode(encoded(version), version).unwrap();
            assert_eq!((request.acks, request.timeout_ms), (-1, 1500));
            assert_eq!(request.transactional_id.as_deref(), Some("tx"));
            let topic = &request.topics[0];
            assert_eq!(topic.name, if version >= TOPIC_IDS { "" } else { "syslog" });
            assert_eq!(topic.topic_id, Uuid::from_u128(if version >= TOPIC_IDS { 42 } else { 0 }));
            assert_eq!(topic.partitions[0].index, 7);
            assert_eq!(topic.partitions[0].records.as_deref(), Some(&b"not looked at here"[..]));
        }
    }

    #[test]
    fn reads_the_old_versions_that_kafka_wrote() {
        for version in 0..=2 {
            let body = old_golden(&format!("ProduceRequest-{version}"));
            let request = ProduceRequest::decode(BytesMut::from(&body[..]), version).unwrap();
            assert_eq!((request.transactional_id, request.acks, request.timeout_ms), (None, -1, 1500));
            assert_eq!(request.topics[0].name, "syslog");
            let [third, fourth] = &request.topics[0].partitions[..] else { panic!("two partitions") };
            assert_eq!((third.index, third.records.as_deref()), (3, Some(&b"not looked at here"[..])));
            assert_eq!((fourth.index, &fourth.records), (4, &None));
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let old =
            (0..=2).map(|version| (version, BytesMut::from(&old_golden(&format!("ProduceRequest-{version}"))[..])));
        for (version, whole) in old.chain((3..=13).map(|version| (version, encoded(version)))) {
            for length in 0..whole.len() {
                let cut = ProduceRequest::decode(BytesMut::from(&whole[..length]), version);
                assert!(cut.is_err(), "v{version} cut at {length}");
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0i16..=13) {
            let _ = ProduceRequest::decode(BytesMut::from(&bytes[..]), version);
        }
    }
}
