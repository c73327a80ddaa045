use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message as _};
use proptest::prelude::*;

use super::*;
use crate::schema::{Field, Kind, Message, messages, sample};
use crate::test_support::old_golden;

const SEEDS: u64 = 50;

/// Requests and responses with versions below their floor, of APIs on a broker's listener that ever left the
/// clients' preview.
fn old_messages() -> impl Iterator<Item = (&'static Message, i16)> {
    let is_old = |message: &&Message| {
        matches!(message.kind, Kind::Request | Kind::Response)
            && message.key.is_some_and(|key| key < 56)
            && message.versions.first < message.current_versions.first
    };
    messages().iter().filter(is_old).flat_map(|message| {
        (message.versions.first..message.current_versions.first).map(move |version| (message, version))
    })
}

/// Fields of version `from` that `to` lacks.
fn only_in(fields: &[Field], from: i16, to: i16, found: &mut Vec<&'static str>) {
    for field in fields.iter().filter(|field| field.versions.contains(from)) {
        if field.versions.contains(to) {
            only_in(&field.fields, from, to, found);
        } else {
            found.push(field.name);
        }
    }
}

#[test]
fn every_field_that_a_floor_cannot_say_is_known() {
    let mut found = Vec::new();
    for (message, version) in old_messages() {
        let mut fields = Vec::new();
        only_in(message.fields(), version, message.current_versions.first, &mut fields);
        found.extend(fields.into_iter().map(|field| format!("{} v{version} {field}", message.name)));
    }
    let known = [
        "ListOffsetsRequest v0 MaxNumOffsets",
        "ListOffsetsResponse v0 OldStyleOffsets",
        "OffsetCommitRequest v1 CommitTimestamp",
        "DescribeConfigsResponse v0 IsDefault",
    ];
    assert_eq!(found, known);
}

#[test]
fn old_versions_and_floors_have_no_tagged_fields_and_no_nullable_structs() {
    fn plain(fields: &[Field], version: i16) -> bool {
        fields.iter().filter(|field| field.versions.contains(version)).all(|field| {
            field.tag_in(version).is_none()
                && (field.kind != schema::Type::Struct || field.is_array)
                && plain(&field.fields, version)
        })
    }
    for (message, version) in old_messages() {
        assert!(plain(message.fields(), version), "{} v{version}", message.name);
        assert!(plain(message.fields(), message.current_versions.first), "{}'s floor", message.name);
    }
}

/// What the crate's decoder makes of a body at the floor, or says against it.
fn decode_at_floor(api_key: i16, is_request: bool, body: &Bytes, floor: i16) -> Result<Bytes, String> {
    fn again<T: Decodable + Encodable>(body: &Bytes, version: i16) -> Result<Bytes, String> {
        let mut body = body.clone();
        let message = T::decode(&mut body, version).map_err(|error| error.to_string())?;
        assert!(body.is_empty(), "{} bytes are left", body.len());
        let mut again = BytesMut::new();
        message.encode(&mut again, version).map_err(|error| error.to_string())?;
        Ok(again.freeze())
    }
    macro_rules! by_key {
        ($($key:literal $request:ident $response:ident)*) => {
            match api_key {
                $($key => {
                    assert_eq!($request::VERSIONS.min, floor, "{}", stringify!($request));
                    assert_eq!($response::VERSIONS.min, floor, "{}", stringify!($response));
                    if is_request { again::<$request>(body, floor) } else { again::<$response>(body, floor) }
                })*
                other => panic!("key {other} has old versions and no codec here"),
            }
        };
    }
    by_key! {
        0 ProduceRequest ProduceResponse
        1 FetchRequest FetchResponse
        2 ListOffsetsRequest ListOffsetsResponse
        8 OffsetCommitRequest OffsetCommitResponse
        9 OffsetFetchRequest OffsetFetchResponse
        19 CreateTopicsRequest CreateTopicsResponse
        20 DeleteTopicsRequest DeleteTopicsResponse
        23 OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
        27 WriteTxnMarkersRequest WriteTxnMarkersResponse
        29 DescribeAclsRequest DescribeAclsResponse
        30 CreateAclsRequest CreateAclsResponse
        31 DeleteAclsRequest DeleteAclsResponse
        32 DescribeConfigsRequest DescribeConfigsResponse
        34 AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
        35 DescribeLogDirsRequest DescribeLogDirsResponse
        38 CreateDelegationTokenRequest CreateDelegationTokenResponse
        39 RenewDelegationTokenRequest RenewDelegationTokenResponse
        40 ExpireDelegationTokenRequest ExpireDelegationTokenResponse
        41 DescribeDelegationTokenRequest DescribeDelegationTokenResponse
    }
}

/// Whether a message loses nothing on its way up, whatever it holds.
fn raises_whole(api_key: i16, version: i16) -> bool {
    !matches!((api_key, version), (2, 0) | (8, 1))
}

#[test]
fn requests_of_old_versions_are_what_the_crate_reads_at_the_floor() {
    for (message, version) in old_messages().filter(|(message, _)| message.kind == Kind::Request) {
        let (api_key, floor) = (message.key.unwrap(), message.current_versions.first);
        for seed in 0..SEEDS {
            let body = sample::message(message, version, seed).bytes;
            let raised = match raise_request(api_key, version, &body) {
                Ok(raised) => raised,
                Err(LegacyError::Lost { .. }) if !raises_whole(api_key, version) => continue,
                Err(error) => panic!("{} v{version} seed {seed}: {error}", message.name),
            };
            let again = decode_at_floor(api_key, true, &raised, floor);
            assert_eq!(again.as_ref(), Ok(&raised), "{} v{version} seed {seed}", message.name);
            // And down again: nothing of the old version was lost.
            let mut back = BytesMut::new();
            transcode::rewrite(message, floor, version, &raised, &mut back, usize::MAX, None).unwrap();
            assert_eq!(back, body, "{} v{version} seed {seed}", message.name);
        }
    }
}

#[test]
fn answers_of_the_floor_are_whole_in_every_old_version() {
    for (message, version) in old_messages().filter(|(message, _)| message.kind == Kind::Response) {
        let (api_key, floor) = (message.key.unwrap(), message.current_versions.first);
        let (mut written, mut lost) = (0, 0);
        for seed in 0..SEEDS {
            let body = Bytes::from(sample::message(message, floor, seed).bytes);
            assert_eq!(decode_at_floor(api_key, false, &body, floor).as_ref(), Ok(&body));
            let mut lowered = BytesMut::new();
            match lower_response(api_key, version, &body, &mut lowered) {
                Ok(()) => written += 1,
                Err(LegacyError::Lost { .. }) => {
                    lost += 1;
                    continue;
                }
                Err(error) => panic!("{} v{version} seed {seed}: {error}", message.name),
            }
            assert_eq!(guard::check_response(api_key, version, &lowered), Ok(()), "{} v{version}", message.name);
            let last = lowered.len() - 1;
            assert!(guard::check_response(api_key, version, &lowered[..last]).is_err(), "{} v{version}", message.name);
        }
        // Pattern types and the offsets of ListOffsets are values that must not vanish.
        let may_lose = matches!(api_key, 2 | 29 | 31);
        assert!(written > 0 && (lost == 0 || may_lose), "{} v{version}: {written} written, {lost} lost", message.name);
    }
}

#[test]
fn hostile_variants_are_refused_or_stay_within_the_guards_limit() {
    let (mut refused, mut accepted) = (0, 0);
    for (message, version) in old_messages().filter(|(message, _)| message.kind == Kind::Request) {
        let api_key = message.key.unwrap();
        for seed in 0..5 {
            let sample = sample::message(message, version, seed);
            for mutation in sample::mutations(&sample) {
                match raise_request(api_key, version, &mutation.bytes) {
                    Ok(raised) => {
                        accepted += 1;
                        assert!(raised.len() <= guard::decoded_limit(mutation.bytes.len()));
                        decode_at_floor(api_key, true, &raised, message.current_versions.first)
                            .unwrap_or_else(|error| panic!("{} v{version}, {}: {error}", message.name, mutation.what));
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 0 && accepted > 0, "{refused} refused, {accepted} accepted");
}

#[test]
fn a_large_body_is_not_copied_beyond_the_guards_limit() {
    // One topic whose only configuration has a very long list of values: honest on the wire, too large to copy.
    let mut body = BytesMut::new();
    let value = vec![b'x'; 32_000];
    let count = 2_000_i32;
    bytes::BufMut::put_i32(&mut body, count);
    for _ in 0..count {
        bytes::BufMut::put_i16(&mut body, 32_000);
        bytes::BufMut::put_slice(&mut body, &value);
        bytes::BufMut::put_slice(&mut body, &[0; 4 + 2 + 4 + 4]);
    }
    bytes::BufMut::put_i32(&mut body, 1000);
    assert_eq!(guard::check(19, 0, &body), Ok(()));
    assert!(matches!(raise_request(19, 0, &body), Err(LegacyError::TooLarge { .. })));
}

#[test]
fn kafkas_own_bytes_of_an_old_version_and_of_the_floor_are_rewritten_into_each_other() {
    for (message, version) in old_messages() {
        let (api_key, floor) = (message.key.unwrap(), message.current_versions.first);
        let old = old_golden(&format!("{}-{version}", message.name));
        let at_floor = old_golden(&format!("{}-{floor}", message.name));
        if message.kind == Kind::Request {
            assert_eq!(raise_request(api_key, version, &old).unwrap(), at_floor, "{} v{version}", message.name);
        } else {
            let mut lowered = BytesMut::new();
            lower_response(api_key, version, &at_floor, &mut lowered).unwrap();
            assert_eq!(lowered, old, "{} v{version}", message.name);
        }
    }
}

#[test]
fn a_pattern_that_an_old_client_cannot_be_told_of_is_an_error() {
    let prefixed = describe_acls_response::DescribeAclsResource::default().with_pattern_type(4);
    let response = DescribeAclsResponse::default().with_resources(vec![prefixed]);
    let mut at_floor = BytesMut::new();
    response.encode(&mut at_floor, 1).unwrap();
    let lost = lower_response(29, 0, &at_floor, &mut BytesMut::new());
    assert_eq!(lost, Err(LegacyError::Lost { field: "PatternType" }));
}

proptest! {
    #[test]
    fn any_bytes_are_rewritten_or_refused(
        key in prop::sample::select(vec![0_i16, 1, 2, 8, 9, 19, 20, 23, 27, 29, 30, 31, 32, 34, 35, 38, 39, 40, 41]),
        version in 0_i16..4, bytes: Vec<u8>,
    ) {
        let _ = raise_request(key, version, &bytes);
        let _ = lower_response(key, version, &bytes, &mut BytesMut::new());
    }
}
