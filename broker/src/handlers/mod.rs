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
use milena_protocol::{FrameError, RequestHead, api, guard, legacy};

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
    Produce 0..=13 => produce (raw async);
    Fetch 0..=18 => fetch (raw async);
    ListOffsets 0..=11 => list_offsets (raw);
    Metadata 0..=13 => metadata (message async);
    FindCoordinator 0..=6 => find_coordinator (message async);
    SaslHandshake 0..=1 => sasl_handshake (message);
    ApiVersions 0..=4 => api_versions (raw);
    CreateTopics 0..=7 => create_topics (message async);
    DeleteTopics 0..=6 => delete_topics (message async);
    DeleteRecords 0..=2 => delete_records (message async);
    InitProducerId 0..=5 => init_producer_id (message async);
    OffsetForLeaderEpoch 0..=4 => offset_for_leader_epoch (message);
    DescribeAcls 0..=3 => describe_acls (message);
    CreateAcls 0..=3 => create_acls (message);
    DeleteAcls 0..=3 => delete_acls (message);
    DescribeConfigs 0..=4 => describe_configs (message);
    AlterConfigs 0..=2 => alter_configs (message async);
    DescribeLogDirs 0..=5 => describe_log_dirs (raw);
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

/// Versions below the crate's floor are brought up to it first.
fn decode<T: Decodable>(context: &Context<'_>, body: BytesMut) -> Result<T, Reply> {
    let Context { key, version, .. } = *context;
    let refuse = |error: &dyn std::fmt::Display| {
        Reply::Close(format!("cannot decode {} v{version}: {error}", context.api_name()))
    };
    let (mut body, version) = match legacy::floor(key).filter(|floor| version < *floor) {
        Some(floor) => (legacy::raise_request(key, version, &body).map_err(|error| refuse(&error))?, floor),
        None => (body.freeze(), version),
    };
    T::decode(&mut body, version).map_err(|error| refuse(&error))
}

fn answer<T: Encodable>(context: &Context<'_>, message: &T) -> Reply {
    encode(context.head(), message)
}

fn encode<T: Encodable>(head: Head, message: &T) -> Reply {
    let old = legacy::floor(head.key).filter(|floor| head.version < *floor);
    let size = message.compute_size(old.unwrap_or(head.version)).unwrap_or(0);
    let Some(floor) = old else { return encode_with(head, size, |frame| message.encode(frame, head.version)) };
    encode_with(head, size, |frame| {
        let mut at_floor = BytesMut::with_capacity(size);
        message.encode(&mut at_floor, floor).map_err(|error| error.to_string())?;
        legacy::lower_response(head.key, head.version, &at_floor, frame).map_err(|error| error.to_string())
    })
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
    let range = |min: i16, max: i16| if min == max { min.to_string() } else { format!("{min}-{max}") };
    for theirs in &api::APIS {
        let kafka = range(theirs.min, theirs.max);
        let ours = APIS.iter().find(|ours| ours.key == theirs.key);
        let milena = ours.map_or_else(|| "not yet".to_owned(), |ours| range(ours.min, ours.max));
        let old = ours.filter(|ours| ours.min < theirs.min).map(|ours| range(ours.min, theirs.min - 1));
        let _ =
            writeln!(page, "| {} | {} | {kafka} | {milena} | {} |", theirs.key, theirs.name, old.unwrap_or_default());
    }
    page
}
