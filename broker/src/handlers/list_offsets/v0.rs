//! ListOffsets v0: where segments begin that were last changed before a time, and the log's end.
//!
//! Consumers of Kafka 0.8 and 0.9 find the ends of a log with it: timestamp -1 and one offset is the end, -2 the start.
//! The times are those of the files, not of records. A consumer, replica id -1, sees nothing above the high watermark.
//! A partition named twice is answered twice. Source: `KafkaApis.handleListOffsetRequestV0`,
//! `UnifiedLog.legacyFetchOffsetsBefore`, `Partition.legacyFetchOffsetsForTimestamp` of Kafka 3.9.

use std::convert::Infallible;

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use milena_metadata::image::MetadataImage;
use milena_protocol::legacy::list_offsets::{
    self, AnsweredPartition, AnsweredTopic, AskedPartition, AskedTopic,
};

use super::{Context, EARLIEST, LATEST, Reply, code_of, encode_with, partition_by_name};
use crate::replica::partition::{Partition, PartitionError};

/// The replica id of a consumer.
const CONSUMER: i32 = -1;
/// Offsets in one answer: a row of 16 bytes may ask for as many as its log has segments, and there may be 65 thousand
/// rows in a MiB. Those behind are refused.
const OFFSETS_MAX: usize = 1 << 20;
/// Any leader epoch will do.
const ANY_EPOCH: i32 = -1;

pub(super) fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    let request = match list_offsets::decode_request(&mut body.freeze()) {
        Ok(request) => request,
        Err(error) => return Reply::Close(error.to_string()),
    };
    let image = context.node.image();
    let mut left = OFFSETS_MAX;
    let mut row = |topic: &AskedTopic, asked: &AskedPartition| {
        let found = if left == 0 {
            Err(ResponseError::UnknownServerError)
        } else {
            find(context, &image, &topic.name, *asked, request.replica_id)
        };
        left = left.saturating_sub(found.as_ref().map_or(0, Vec::len));
        let error_code = found.as_ref().err().map_or(0, ResponseError::code);
        AnsweredPartition { index: asked.index, error_code, old_style_offsets: found.unwrap_or_default() }
    };
    let topics: Vec<AnsweredTopic> = request
        .topics
        .iter()
        .map(|topic| AnsweredTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|asked| row(topic, asked)).collect(),
        })
        .collect();
    encode_with(context.head(), 64, |frame| {
        list_offsets::encode_response(frame, &topics);
        Ok::<(), Infallible>(())
    })
}

fn find(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    asked: AskedPartition,
    replica_id: i32,
) -> Result<Vec<i64>, ResponseError> {
    if asked.timestamp < EARLIEST {
        return Err(ResponseError::UnsupportedVersion);
    }
    let partition = partition_by_name(context, image, topic, asked.index)?;
    partition.check_leader(ANY_EPOCH).map_err(|error| code_of(&error))?;
    // Kafka fails to make a list of fewer than no elements.
    let most = usize::try_from(asked.max_num_offsets).map_err(|_| ResponseError::UnknownServerError)?;
    let look_up = || look_up(&partition, asked.timestamp, most, context.node.now()).map_err(|error| code_of(&error));
    // The times of files are asked of the disk.
    let offsets = if asked.timestamp < 0 { look_up()? } else { tokio::task::block_in_place(look_up)? };
    Ok(if replica_id == CONSUMER { visible(offsets, partition.high_watermark()) } else { offsets })
}

fn look_up(partition: &Partition, timestamp: i64, most: usize, now: i64) -> Result<Vec<i64>, PartitionError> {
    let reader = partition.reader();
    let offsets = match timestamp {
        EARLIEST => vec![reader.log_start_offset(); most.min(1)],
        LATEST => partition.read(|reader| reader.segment_offsets_before(None, most, now))?,
        timestamp => partition.read(|reader| reader.segment_offsets_before(Some(timestamp), most, now))?,
    };
    Ok(offsets)
}

/// Offsets above the high watermark are not for consumers, who are told of the high watermark instead of all of them.
fn visible(mut offsets: Vec<i64>, high_watermark: i64) -> Vec<i64> {
    let hidden = offsets.iter().take_while(|offset| **offset > high_watermark).count();
    if hidden > 0 {
        offsets.splice(..hidden, [high_watermark]);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumers_see_the_high_watermark_instead_of_what_lies_above_it() {
        assert_eq!(visible(vec![20, 18, 16, 0], 17), [17, 16, 0]);
        assert_eq!(visible(vec![20, 18], 5), [5]);
        assert_eq!(visible(vec![20, 18, 0], 20), [20, 18, 0]);
        assert!(visible(Vec::new(), 20).is_empty());
    }
}
