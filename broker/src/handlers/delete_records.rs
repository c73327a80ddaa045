//! DeleteRecords (key 21): moves the log start offset; files go later.
//!
//! Versions 0-2 (v2 flexible). -1 means the high watermark. Source: `ReplicaManager.deleteRecords`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use milena_metadata::image::MetadataImage;

use super::common::{code_of, is_internal, partition_by_name};
use super::context::Context;

pub(super) async fn handle(context: &Context<'_>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = context.node.image();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut rows = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let row = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            rows.push(match delete(context, &image, &topic.name, asked.partition_index, asked.offset).await {
                Ok(low_watermark) => row.with_low_watermark(low_watermark),
                Err(error) => row.with_low_watermark(-1).with_error_code(error.code()),
            });
        }
        topics.push(DeleteRecordsTopicResult::default().with_name(topic.name).with_partitions(rows));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete(
    context: &Context<'_>,
    image: &MetadataImage,
    topic: &str,
    index: i32,
    offset: i64,
) -> Result<i64, ResponseError> {
    let partition = partition_by_name(context, image, topic, index)?;
    if is_internal(topic) {
        return Err(ResponseError::InvalidTopicException);
    }
    let policy = context.node.log_config(image, topic).cleanup_policy;
    if policy.compact && !policy.delete {
        return Err(ResponseError::PolicyViolation);
    }
    partition.delete_records(offset).await.map_err(|error| code_of(&error))
}
