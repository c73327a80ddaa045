//! Kafka's own markers, and keys and values that are none.

use proptest::prelude::*;

use super::*;
use crate::record_batch::BatchView;
use crate::records::records;
use crate::test_support::golden;

#[test]
fn writes_the_markers_that_kafka_writes() {
    for (name, result) in [("commit", TransactionResult::Commit), ("abort", TransactionResult::Abort)] {
        let batch = EndTransactionMarker { result, coordinator_epoch: 9 }.batch(4711, 3, 1_700_000_000_000);
        assert_eq!(batch, golden(name), "{name}");
        assert_eq!(batch.len(), 78);
        let view = BatchView::parse(&batch).unwrap();
        assert_eq!((view.header().attributes.0, view.header().base_sequence), (0x30, -1));
    }
}

#[test]
fn reads_the_markers_that_kafka_writes() {
    for (name, result) in [("commit", TransactionResult::Commit), ("abort", TransactionResult::Abort)] {
        let batch = golden(name);
        let view = BatchView::parse(&batch).unwrap();
        let record = records(view.record_bytes(), 1).next().unwrap().unwrap();
        let marker = EndTransactionMarker::parse(record.key.unwrap(), record.value.unwrap());
        assert_eq!(marker, Some(EndTransactionMarker { result, coordinator_epoch: 9 }), "{name}");
    }
}

#[test]
fn other_control_records_are_no_markers() {
    for control_type in
        [ControlRecordType::LeaderChange, ControlRecordType::KraftVoters, ControlRecordType::Unknown(99)]
    {
        assert_eq!(ControlRecordType::parse(&control_type.key()), Some(control_type));
        assert_eq!(EndTransactionMarker::parse(&control_type.key(), &[0; 6]), None);
    }
}

proptest! {
    #[test]
    fn every_type_survives_its_key(id: i16) {
        let control_type = ControlRecordType::from_id(id);
        prop_assert_eq!(control_type.id(), id);
        prop_assert_eq!(ControlRecordType::parse(&control_type.key()), Some(control_type));
    }

    #[test]
    fn any_bytes_are_read_or_refused(key: Vec<u8>, value: Vec<u8>) {
        let _ = EndTransactionMarker::parse(&key, &value);
    }
}
