//! ApiVersions (key 18): what is served, from the same table that dispatches; supported and finalized features.
//!
//! Versions 0-4: v3 flexible with client software name (KIP-511) and features (KIP-584), v4 says features whose
//! lowest level is 0 (KAFKA-17492). The response header is always v0, so that a client can read it before it knows
//! anything. Any other version is answered in v0 with UNSUPPORTED_VERSION and this API's own range.

use bytes::{BufMut, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::Encodable;

use super::common::text;
use super::context::Context;
use super::{APIS, Reply, answer, decode, finish};

/// Features with the range of levels this broker can work with. Those of groups and transactions come with their
/// coordinators: a client must not be told of what is not served.
pub(super) const SUPPORTED_FEATURES: &[(&str, i16, i16)] =
    &[("eligible.leader.replicas.version", 0, 1), ("kraft.version", 0, 1), ("metadata.version", 7, 30)];

pub(super) fn handle(context: &Context<'_>, body: BytesMut) -> Reply {
    let request: ApiVersionsRequest = match decode(context, body) {
        Ok(request) => request,
        Err(reply) => return reply,
    };
    if context.version >= 3
        && !(is_software_word(&request.client_software_name) && is_software_word(&request.client_software_version))
    {
        return answer(context, &ApiVersionsResponse::default().with_error_code(ResponseError::InvalidRequest.code()));
    }
    let image = context.node.image();
    let mut response = ApiVersionsResponse::default().with_api_keys(served());
    if context.version >= 3 {
        response.supported_features = SUPPORTED_FEATURES
            .iter()
            .filter(|(_, min, _)| context.version >= 4 || *min > 0)
            .map(|(name, min, max)| {
                SupportedFeatureKey::default().with_name(text(name)).with_min_version(*min).with_max_version(*max)
            })
            .collect();
        response.finalized_features = image
            .features
            .iter()
            .filter(|(_, level)| *level > 0)
            .map(|(name, level)| finalized(name, level))
            .collect();
        // The members of the quorum are in its log unless the configuration names them (KIP-853).
        if context.node.config.quorum.voters.is_empty() {
            response.finalized_features.push(finalized("kraft.version", 1));
        }
        response.finalized_features_epoch = image.offset;
    }
    answer(context, &response)
}

/// The answer to a version that is not served.
pub(super) fn unsupported_version(correlation_id: i32) -> Reply {
    let own = APIS.iter().filter(|api| api.key == ApiKey::ApiVersions as i16);
    let own = own.map(|api| ApiVersion::default().with_api_key(api.key).with_min_version(api.min).with_max_version(api.max));
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(own.collect());
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    frame.put_i32(correlation_id);
    response.encode(&mut frame, 0).expect("version 0 has no field that could be refused");
    Reply::Answer(finish(frame))
}

fn finalized(name: &str, level: i16) -> FinalizedFeatureKey {
    FinalizedFeatureKey::default().with_name(text(name)).with_min_version_level(level).with_max_version_level(level)
}

fn served() -> Vec<ApiVersion> {
    APIS.iter()
        .map(|api| ApiVersion::default().with_api_key(api.key).with_min_version(api.min).with_max_version(api.max))
        .collect()
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`
fn is_software_word(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_kafkas_pattern_of_software_names() {
        for (word, valid) in
            [("librdkafka", true), ("a", true), ("4.3.1", true), ("", false), ("-a", false), ("a.", false), ("a b", false)]
        {
            assert_eq!(is_software_word(word), valid, "{word:?}");
        }
    }

    #[test]
    fn an_unsupported_version_is_answered_in_sixteen_bytes() {
        let Reply::Answer(bytes) = unsupported_version(7) else { panic!("an answer") };
        assert_eq!(&bytes[..], [0, 0, 0, 16, 0, 0, 0, 7, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
    }
}
