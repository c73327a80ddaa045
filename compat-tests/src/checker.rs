//! Judges what clients saw of one topic: what was sent and answered on one side, what was read on the other.
//!
//! Pure, and without a line of the broker's. Each record's value names its producer and carries a number that this
//! producer gives once and in order; a producer writes to one partition. What must hold:
//!
//! - an acknowledged record stands at the offset that its acknowledgement named (or below the log start);
//! - one offset is one value, whenever it is read; offsets have no gap;
//! - of a producer nothing stands there twice or out of order; of an idempotent one, which sends again until it is
//!   acknowledged, nothing is missing in between either;
//! - nothing stands there that nobody sent, and nothing is served above the high watermark;
//! - log start and high watermark never go back.
//!
//! A send whose answer never came, or was an error, may have happened or not: it obliges to nothing.

use std::{collections::BTreeMap, error::Error, fmt};

/// What one producer promised to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) partition: i32,
    pub(crate) idempotent: bool,
}

/// A record as its value names it, and a checksum of the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) producer: usize,
    pub(crate) number: u64,
    pub(crate) checksum: u32,
}

impl Record {
    /// From `<producer>:<number>:<padding>`.
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.splitn(3, ':').map(str::parse::<u64>);
        let (producer, number) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self { producer: producer as usize, number, checksum: crc32c::crc32c(value) })
    }
}

/// What reading a partition from an offset on found.
#[derive(Clone, Default, Debug)]
pub(crate) struct Read {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
    /// Where the reading began.
    pub(crate) from: i64,
    /// Offset and record, in the order of arrival.
    pub(crate) records: Vec<(i64, Record)>,
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Violation {
    /// An acknowledged record is not where its acknowledgement said.
    Lost { partition: i32, offset: i64, producer: usize, number: u64, found: Option<Record> },
    /// An offset holds another value than before.
    Changed { partition: i32, offset: i64, before: Record, now: Record },
    /// The log ends before something that was read from it.
    Shortened { partition: i32, read: i64, end: i64 },
    /// An offset was left out, or came twice.
    Gap { partition: i32, expected: i64, found: i64 },
    /// A producer's record stands there twice, or behind a later one.
    Reordered { partition: i32, offset: i64, producer: usize, number: u64, last: u64 },
    /// An idempotent producer's record is missing between two others.
    Missing { partition: i32, offset: i64, producer: usize, number: u64, expected: u64 },
    /// Something was handed out that the same answer's high watermark does not cover.
    AboveHighWatermark { partition: i32, offset: i64, high_watermark: i64 },
    /// Nobody sent this to this partition.
    Unsent { partition: i32, offset: i64, record: Record },
    /// The log start moved back.
    LogStartBack { partition: i32, before: i64, now: i64 },
    /// The high watermark moved back.
    HighWatermarkBack { partition: i32, before: i64, now: i64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { partition, offset, producer, number, found } => write!(
                f,
                "partition {partition}: record {number} of producer {producer} was acknowledged at {offset}, there is {found:?}"
            ),
            Self::Changed { partition, offset, before, now } => {
                write!(f, "partition {partition}: offset {offset} was {before:?}, is {now:?}")
            }
            Self::Shortened { partition, read, end } => {
                write!(f, "partition {partition}: offset {read} was read, the log ends at {end}")
            }
            Self::Gap { partition, expected, found } => {
                write!(f, "partition {partition}: offset {expected} is next, {found} came")
            }
            Self::Reordered { partition, offset, producer, number, last } => write!(
                f,
                "partition {partition}: record {number} of producer {producer} at {offset} stands behind its record {last}"
            ),
            Self::Missing { partition, offset, producer, number, expected } => write!(
                f,
                "partition {partition}: record {number} of the idempotent producer {producer} at {offset}, {expected} is next"
            ),
            Self::AboveHighWatermark { partition, offset, high_watermark } => {
                write!(f, "partition {partition}: offset {offset} was served, the high watermark was {high_watermark}")
            }
            Self::Unsent { partition, offset, record } => {
                write!(f, "partition {partition}: nobody sent {record:?}, which stands at {offset}")
            }
            Self::LogStartBack { partition, before, now } => {
                write!(f, "partition {partition}: the log started at {before}, starts at {now}")
            }
            Self::HighWatermarkBack { partition, before, now } => {
                write!(f, "partition {partition}: the high watermark was {before}, is {now}")
            }
        }
    }
}

impl Error for Violation {}

/// An acknowledged batch that was not found yet.
#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    producer: usize,
    offset: i64,
    first: u64,
    count: u64,
}

#[derive(Default, Debug)]
struct Partition {
    log_start: i64,
    high_watermark: i64,
    seen: BTreeMap<i64, Record>,
    /// Up to here the order of producers has been looked at.
    judged: i64,
    owed: Vec<Acknowledged>,
}

/// Everything that is known of one topic.
#[derive(Default, Debug)]
pub(crate) struct Checker {
    senders: Vec<Sender>,
    /// Per producer: the end of the numbers it has used, and the last number that was judged.
    sent: Vec<u64>,
    last: Vec<Option<u64>>,
    partitions: BTreeMap<i32, Partition>,
    acknowledged: usize,
}

impl Checker {
    /// A new producer; answers its name.
    pub(crate) fn producer(&mut self, sender: Sender) -> usize {
        self.senders.push(sender);
        self.sent.push(0);
        self.last.push(None);
        self.partitions.entry(sender.partition).or_default();
        self.senders.len() - 1
    }

    /// A producer has used all numbers below `end`.
    pub(crate) fn sent(&mut self, producer: usize, end: u64) {
        self.sent[producer] = self.sent[producer].max(end);
    }

    /// A batch of `count` records from number `first` on was acknowledged at `offset`.
    pub(crate) fn acknowledged(&mut self, producer: usize, offset: i64, first: u64, count: u64) {
        self.acknowledged += 1;
        let partition = self.partitions.entry(self.senders[producer].partition).or_default();
        partition.owed.push(Acknowledged { producer, offset, first, count });
    }

    /// How many batches were acknowledged so far.
    pub(crate) fn batches_acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The offset behind what was read of a partition.
    pub(crate) fn read_up_to(&self, partition: i32) -> i64 {
        let seen = self.partitions.get(&partition).and_then(|partition| partition.seen.keys().next_back());
        seen.map_or(0, |last| last + 1)
    }

    /// A log start and a high watermark, as a client saw them.
    pub(crate) fn sampled(&mut self, partition: i32, log_start: i64, high_watermark: i64) -> Result<(), Violation> {
        let known = self.partitions.entry(partition).or_default();
        if log_start < known.log_start {
            return Err(Violation::LogStartBack { partition, before: known.log_start, now: log_start });
        }
        if high_watermark < known.high_watermark {
            return Err(Violation::HighWatermarkBack { partition, before: known.high_watermark, now: high_watermark });
        }
        (known.log_start, known.high_watermark) = (log_start, high_watermark);
        Ok(())
    }

    /// The power failed and this partition promised no more than a beginning: what it lost, nobody owes. To be said
    /// before what is left is `read`.
    pub(crate) fn lost_power(&mut self, partition: i32, high_watermark: i64) {
        let known = self.partitions.entry(partition).or_default();
        known.high_watermark = known.high_watermark.min(high_watermark);
        known.log_start = known.log_start.min(high_watermark);
        known.seen.split_off(&high_watermark);
        known.owed.retain(|batch| batch.offset < high_watermark);
        for batch in &mut known.owed {
            batch.count = batch.count.min((high_watermark - batch.offset) as u64);
        }
        known.judged = known.judged.min(high_watermark);
    }

    /// What a reader saw while others wrote.
    pub(crate) fn observed(&mut self, partition: i32, read: &Read) -> Result<(), Violation> {
        self.note(partition, read).map(|_| ())
    }

    /// What reading a partition to its end found, after all producers have come to rest: all promises are checked on it.
    pub(crate) fn read(&mut self, partition: i32, read: &Read) -> Result<(), Violation> {
        let end = self.note(partition, read)?;
        let known = self.partitions.entry(partition).or_default();
        if let Some((&last, _)) = known.seen.range(end..).next() {
            return Err(Violation::Shortened { partition, read: last, end });
        }
        known.seen = known.seen.split_off(&read.log_start);
        known.judged = known.judged.max(read.log_start);
        self.judge_order(partition)?;
        self.judge_acknowledged(partition)
    }

    /// Takes over the records; answers where they end.
    fn note(&mut self, partition: i32, read: &Read) -> Result<i64, Violation> {
        self.sampled(partition, read.log_start, read.high_watermark)?;
        let known = self.partitions.entry(partition).or_default();
        let mut expected = read.from.max(read.log_start);
        for &(offset, record) in &read.records {
            if offset != expected {
                return Err(Violation::Gap { partition, expected, found: offset });
            }
            expected += 1;
            if offset >= read.high_watermark {
                return Err(Violation::AboveHighWatermark { partition, offset, high_watermark: read.high_watermark });
            }
            let is_sent = self.senders.get(record.producer).is_some_and(|sender| sender.partition == partition)
                && record.number < self.sent[record.producer];
            if !is_sent {
                return Err(Violation::Unsent { partition, offset, record });
            }
            match known.seen.insert(offset, record) {
                Some(before) if before != record => {
                    return Err(Violation::Changed { partition, offset, before, now: record });
                }
                _ => {}
            }
        }
        Ok(expected)
    }

    fn judge_order(&mut self, partition: i32) -> Result<(), Violation> {
        let Some(known) = self.partitions.get_mut(&partition) else { return Ok(()) };
        let begins_late = known.log_start > 0;
        for (&offset, record) in known.seen.range(known.judged..) {
            let (producer, number) = (record.producer, record.number);
            let last = self.last[producer].replace(number);
            if let Some(last) = last.filter(|last| number <= *last) {
                return Err(Violation::Reordered { partition, offset, producer, number, last });
            }
            let expected = last.map_or(0, |last| last + 1);
            let may_begin_anywhere = last.is_none() && begins_late;
            if self.senders[producer].idempotent && number != expected && !may_begin_anywhere {
                return Err(Violation::Missing { partition, offset, producer, number, expected });
            }
            known.judged = offset + 1;
        }
        Ok(())
    }

    fn judge_acknowledged(&mut self, partition: i32) -> Result<(), Violation> {
        let Some(known) = self.partitions.get_mut(&partition) else { return Ok(()) };
        for batch in known.owed.drain(..) {
            for index in 0..batch.count {
                let (offset, number) = (batch.offset + index as i64, batch.first + index);
                let found = known.seen.get(&offset).copied();
                let is_there = found.is_some_and(|record| record.producer == batch.producer && record.number == number);
                if offset >= known.log_start && !is_there {
                    return Err(Violation::Lost { partition, offset, producer: batch.producer, number, found });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(producer: usize, number: u64) -> Record {
        Record { producer, number, checksum: number as u32 }
    }

    /// One partition with an idempotent producer 0 and another one 1; each has sent ten records.
    fn checker() -> Checker {
        let mut checker = Checker::default();
        for idempotent in [true, false] {
            let producer = checker.producer(Sender { partition: 0, idempotent });
            checker.sent(producer, 10);
        }
        checker
    }

    fn read(records: &[(usize, u64)]) -> Read {
        read_from(0, records)
    }

    fn read_from(log_start: i64, records: &[(usize, u64)]) -> Read {
        let records: Vec<(i64, Record)> = (log_start..)
            .zip(records)
            .map(|(offset, &(producer, number))| (offset, record(producer, number)))
            .collect();
        Read { log_start, high_watermark: log_start + records.len() as i64, from: log_start, records }
    }

    #[test]
    fn a_log_as_it_should_be_passes_again_and_again() {
        let mut checker = checker();
        checker.acknowledged(0, 0, 0, 2);
        checker.acknowledged(1, 2, 4, 1);
        assert_eq!(checker.read(0, &read(&[(0, 0), (0, 1), (1, 4)])), Ok(()));
        checker.acknowledged(0, 3, 2, 1);
        assert_eq!(checker.read(0, &read(&[(0, 0), (0, 1), (1, 4), (0, 2)])), Ok(()));
        assert_eq!(checker.read(0, &read_from(2, &[(1, 4), (0, 2), (1, 9)])), Ok(()));
        assert_eq!((checker.batches_acknowledged(), checker.read_up_to(0)), (3, 5));
    }

    #[test]
    fn an_acknowledged_record_that_is_gone_is_lost() {
        let mut checker = checker();
        checker.acknowledged(1, 1, 1, 1);
        let lost = checker.read(0, &read(&[(1, 0)]));
        assert_eq!(lost, Err(Violation::Lost { partition: 0, offset: 1, producer: 1, number: 1, found: None }));
    }

    #[test]
    fn an_acknowledged_record_elsewhere_is_lost() {
        let mut checker = checker();
        checker.acknowledged(1, 0, 1, 1);
        assert!(matches!(checker.read(0, &read(&[(1, 0), (1, 1)])), Err(Violation::Lost { offset: 0, .. })));
    }

    #[test]
    fn one_offset_with_two_values_is_found() {
        let mut checker = checker();
        checker.read(0, &read(&[(1, 0), (1, 1)])).unwrap();
        assert!(matches!(checker.read(0, &read(&[(1, 0), (1, 2)])), Err(Violation::Changed { offset: 1, .. })));
    }

    #[test]
    fn a_log_that_ends_before_what_was_read_is_found() {
        let mut checker = checker();
        checker.read(0, &read(&[(1, 0), (1, 1)])).unwrap();
        let shorter = Read { high_watermark: 2, ..read(&[(1, 0)]) };
        assert_eq!(checker.read(0, &shorter), Err(Violation::Shortened { partition: 0, read: 1, end: 1 }));
    }

    #[test]
    fn an_offset_left_out_and_one_that_comes_twice_are_found() {
        let mut holed = Read { high_watermark: 3, ..read(&[(1, 0), (1, 1)]) };
        holed.records[1].0 = 2;
        assert_eq!(checker().read(0, &holed), Err(Violation::Gap { partition: 0, expected: 1, found: 2 }));
        let mut twice = read(&[(1, 0), (1, 1)]);
        twice.records[1].0 = 0;
        assert_eq!(checker().read(0, &twice), Err(Violation::Gap { partition: 0, expected: 1, found: 0 }));
    }

    #[test]
    fn a_record_that_stands_there_twice_is_found() {
        for producer in [0, 1] {
            let doubled = checker().read(0, &read(&[(producer, 0), (producer, 0)]));
            assert!(matches!(doubled, Err(Violation::Reordered { offset: 1, .. })), "{doubled:?}");
        }
    }

    #[test]
    fn records_out_of_order_are_found_between_two_readings_too() {
        let mut checker = checker();
        checker.read(0, &read(&[(1, 5)])).unwrap();
        assert!(matches!(checker.read(0, &read(&[(1, 5), (1, 4)])), Err(Violation::Reordered { number: 4, .. })));
    }

    #[test]
    fn only_an_idempotent_producer_owes_what_lies_between() {
        assert_eq!(checker().read(0, &read(&[(1, 0), (1, 5)])), Ok(()));
        let skipped = checker().read(0, &read(&[(0, 0), (0, 2)]));
        assert!(matches!(skipped, Err(Violation::Missing { number: 2, expected: 1, .. })), "{skipped:?}");
    }

    #[test]
    fn what_nobody_sent_here_is_found() {
        assert!(matches!(checker().read(0, &read(&[(1, 10)])), Err(Violation::Unsent { .. })));
        assert!(matches!(checker().read(0, &read(&[(7, 0)])), Err(Violation::Unsent { .. })));
        let mut checker = checker();
        checker.producer(Sender { partition: 1, idempotent: false });
        assert!(matches!(checker.read(1, &read(&[(1, 0)])), Err(Violation::Unsent { partition: 1, .. })));
    }

    #[test]
    fn a_log_start_or_high_watermark_that_goes_back_is_found() {
        let mut checker = checker();
        checker.sampled(0, 3, 9).unwrap();
        assert_eq!(checker.sampled(0, 2, 9), Err(Violation::LogStartBack { partition: 0, before: 3, now: 2 }));
        assert_eq!(checker.sampled(0, 3, 8), Err(Violation::HighWatermarkBack { partition: 0, before: 9, now: 8 }));
    }

    #[test]
    fn what_is_served_above_the_high_watermark_is_found() {
        let early = Read { high_watermark: 1, ..read(&[(1, 0), (1, 1)]) };
        let found = checker().observed(0, &early);
        assert_eq!(found, Err(Violation::AboveHighWatermark { partition: 0, offset: 1, high_watermark: 1 }));
    }

    #[test]
    fn a_reader_in_the_middle_of_the_log_judges_nobody() {
        let mut checker = checker();
        checker.acknowledged(1, 1, 1, 1);
        assert_eq!(checker.observed(0, &read(&[(1, 0)])), Ok(()));
        assert!(matches!(checker.read(0, &read(&[(1, 0)])), Err(Violation::Lost { .. })));
    }

    #[test]
    fn after_a_power_cut_a_beginning_is_enough_and_offsets_are_used_again() {
        let mut checker = checker();
        checker.acknowledged(1, 0, 0, 3);
        checker.read(0, &read(&[(1, 0), (1, 1), (1, 2)])).unwrap();
        checker.acknowledged(1, 3, 3, 2);
        checker.lost_power(0, 2);
        assert_eq!(checker.read(0, &read(&[(1, 0), (1, 1), (1, 7)])), Ok(()));
        checker.lost_power(0, 3);
        let hole = checker.read(0, &read(&[(1, 0), (1, 7), (1, 8)]));
        assert!(matches!(hole, Err(Violation::Changed { offset: 1, .. })), "{hole:?}");
    }
}
