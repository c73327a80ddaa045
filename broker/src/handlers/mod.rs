//! From a frame to an answer: one file for every API, one table for what is served.
//!
//! [`apis!`] makes the dispatch, the ApiVersions answer and `docs/compatibility.md` from the same lines. Handlers
//! never import each other; what two share lives in [`common`]. A handler is a flat ladder of checks, then one call.

mod common;
pub mod context;

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Decodable, Encodable};
use milena_protocol::file_range::Chunk;
use milena_protocol::{FrameError, RequestHead, guard};

use crate::node::Node;
use context::{ConnectionInfo, Context, Head};

/// Room for the client ids that exist.
const USUAL_HEADER_BYTES: usize = 128;
/// A client id of the largest length, and tagged fields that nobody has defined yet.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a request comes to.
pub enum Reply {
    /// One piece of memory, the frame's length included.
    Answer(Bytes),
    /// Memory and file ranges.
    Chunks(Vec<Chunk>),
    /// The state has changed; the answer waits for replicas or a disk.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// `acks=0`: the client does not listen.
    Nothing,
    /// No answer: the connection is closed, for this reason.
    Close(String),
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// The API key.
    pub key: i16,
    /// The API's name in Kafka's documentation.
    pub name: &'static str,
    /// Lowest version served.
    pub min: i16,
    /// Highest version served.
    pub max: i16,
}

/// The lines: `Name min..=max => module (road);`. The road is `message` (decode, call, encode) or `raw` (the handler
/// sees the body's bytes and makes the reply), with `async` if the handler may wait.
macro_rules! apis {
    ($($(#[$note:meta])* $name:ident $min:literal..=$max:literal => $module:ident ($($road:tt)+);)*) => {
        $(mod $module;)*

        /// Everything this broker serves, by API key.
        pub const APIS: &[Api] = &[
            $(Api { key: ApiKey::$name as i16, name: stringify!($name), min: $min, max: $max },)*
        ];

        async fn route(context: &Context<'_>, key: i16, body: BytesMut) -> Reply {
            $(
                if key == ApiKey::$name as i16 {
                    return apis!(@ $($road)+, $module, context, body);
                }
            )*
            Reply::Close(format!("api key {key} has no handler"))
        }
    };
    (@ message, $module:ident, $context:ident, $body:ident) => {
        match decode($context, $body) {
            Ok(request) => answer($context, &$module::handle($context, request)),
            Err(reply) => reply,
        }
    };
    (@ message async, $module:ident, $context:ident, $body:ident) => {
        match decode($context, $body) {
            Ok(request) => answer($context, &Box::pin($module::handle($context, request)).await),
            Err(reply) => reply,
        }
    };
    (@ raw, $module:ident, $context:ident, $body:ident) => {
        $module::handle($context, $body)
    };
    (@ raw async, $module:ident, $context:ident, $body:ident) => {
        $module::handle($context, $body).await
    };
}

apis! {
    Produce 3..=13 => produce (raw async);
    Fetch 4..=18 => fetch (raw async);
    ListOffsets 1..=11 => list_offsets (raw);
    Metadata 0..=13 => metadata (message async);
    FindCoordinator 0..=6 => find_coordinator (message async);
    SaslHandshake 0..=1 => sasl_handshake (message);
    ApiVersions 0..=4 => api_versions (raw);
    CreateTopics 2..=7 => create_topics (message async);
    DeleteTopics 1..=6 => delete_topics (message async);
    DeleteRecords 0..=2 => delete_records (message async);
    InitProducerId 0..=5 => init_producer_id (message async);
    OffsetForLeaderEpoch 2..=4 => offset_for_leader_epoch (message);
    DescribeAcls 1..=3 => describe_acls (message);
    CreateAcls 1..=3 => create_acls (message);
    DeleteAcls 1..=3 => delete_acls (message);
    DescribeConfigs 1..=4 => describe_configs (message);
    AlterConfigs 0..=2 => alter_configs (message async);
    DescribeLogDirs 1..=5 => describe_log_dirs (raw);
    SaslAuthenticate 0..=2 => sasl_authenticate (message);
    CreatePartitions 0..=3 => create_partitions (message async);
    ElectLeaders 0..=2 => elect_leaders (message async);
    IncrementalAlterConfigs 0..=1 => incremental_alter_configs (message async);
    ListPartitionReassignments 0..=0 => list_partition_reassignments (message async);
    DescribeQuorum 0..=2 => describe_quorum (message);
    DescribeCluster 0..=2 => describe_cluster (message);
    DescribeProducers 0..=0 => describe_producers (message async);
    ListConfigResources 0..=1 => list_config_resources (message);
    DescribeTopicPartitions 0..=0 => describe_topic_partitions (message);
}

/// Features with the range of levels this broker can work with.
pub fn supported_features() -> &'static [(&'static str, i16, i16)] {
    api_versions::SUPPORTED_FEATURES
}

/// Serves one frame. Errors that Kafka answers by closing the connection come back as [`Reply::Close`].
pub async fn dispatch(node: &Arc<Node>, connection: &ConnectionInfo, mut frame: BytesMut) -> Reply {
    let Some((key, version, correlation_id)) = peek(&frame) else {
        return Reply::Close("a request shorter than its header".to_owned());
    };
    let Some(api) = APIS.iter().find(|api| api.key == key) else {
        return Reply::Close(format!("unknown api key {key}"));
    };
    if version < api.min || version > api.max {
        if key == ApiKey::ApiVersions as i16 {
            return api_versions::unsupported_version(correlation_id);
        }
        return Reply::Close(format!("unsupported version {version} of {}", api.name));
    }
    let head = match take_head(&mut frame) {
        Ok(head) => head,
        Err(error) => return Reply::Close(format!("invalid header of {} v{version}: {error}", api.name)),
    };
    if let Err(error) = guard::check(key, version, &frame) {
        return Reply::Close(format!("invalid body of {} v{version}: {error}", api.name));
    }
    let context = Context { node, connection, key, version, correlation_id, client_id: &head.client_id };
    route(&context, key, frame).await
}

/// API key, version and correlation id: what an answer needs even if nothing else can be read.
fn peek(frame: &[u8]) -> Option<(i16, i16, i32)> {
    let (key, rest) = frame.split_first_chunk()?;
    let (version, rest) = rest.split_first_chunk()?;
    let correlation_id = rest.first_chunk()?;
    Some((i16::from_be_bytes(*key), i16::from_be_bytes(*version), i32::from_be_bytes(*correlation_id)))
}

/// Cuts the header off. Its bytes are copied, so that a client id kept for long does not keep the frame, and the body
/// stays one mutable piece.
fn take_head(frame: &mut BytesMut) -> Result<RequestHead, FrameError> {
    let (most, all) = (frame.len().min(USUAL_HEADER_BYTES), frame.len().min(HEADER_BYTES_MAX));
    let parse = |length: usize| {
        let mut bytes = Bytes::copy_from_slice(&frame[..length]);
        RequestHead::parse(&mut bytes).map(|head| (head, length - bytes.len()))
    };
    let (head, length) = parse(most).or_else(|error| if all > most { parse(all) } else { Err(error) })?;
    frame.advance(length);
    Ok(head)
}

fn decode<T: Decodable>(context: &Context<'_>, body: BytesMut) -> Result<T, Reply> {
    T::decode(&mut body.freeze(), context.version)
        .map_err(|error| Reply::Close(format!("cannot decode {} v{}: {error}", context.api_name(), context.version)))
}

fn answer<T: Encodable>(context: &Context<'_>, message: &T) -> Reply {
    encode(context.head(), message)
}

fn encode<T: Encodable>(head: Head, message: &T) -> Reply {
    let size = message.compute_size(head.version).unwrap_or(0);
    encode_with(head, size, |frame| message.encode(frame, head.version))
}

/// Writes an answer by hand or by the crate; what cannot be written closes the connection and is an error of ours.
fn encode_with<E: std::fmt::Display>(
    head: Head,
    size: usize,
    write: impl FnOnce(&mut BytesMut) -> Result<(), E>,
) -> Reply {
    let mut frame = BytesMut::with_capacity(size + 16);
    head.put(&mut frame);
    if let Err(error) = write(&mut frame) {
        tracing::error!(target: "kafka.server.KafkaApis", "cannot encode {} v{}: {error}", head.api_name(), head.version);
        return Reply::Close("an answer that cannot be encoded".to_owned());
    }
    Reply::Answer(finish(frame))
}

/// Fills in the length that [`Head::put`] left open.
fn finish(mut frame: BytesMut) -> Bytes {
    let length = (frame.len() - 4) as u32;
    (&mut frame[..4]).put_u32(length);
    frame.freeze()
}

/// `docs/compatibility.md`, so that the page cannot say anything the table does not.
pub fn compatibility_page() -> String {
    let mut page = String::from(include_str!("compatibility_head.md"));
    for api in APIS {
        let _ = writeln!(page, "| {} | {} | {}-{} |", api.key, api.name, api.min, api.max);
    }
    page
}
