#![no_main]
//! A body into every decoder: requests and responses of all APIs and versions, our own and the crate's.
//!
//! An input is a byte that says what it is, a key, a version, and a body. What must hold: no decoder panics; what the
//! guard lets through is decoded, within the memory that the guard announced; what was decoded can be written again.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use milena_fuzz::allocations::allocated_by;
use milena_fuzz::{Random, write_seeds};
use milena_protocol::frame::{RequestHead, parse_response_header};
use milena_protocol::produce_request::ProduceRequest;
use milena_protocol::schema::{self, Kind, Message, sample};
use milena_protocol::{guard, legacy, messages};

const RESPONSE: u8 = 1;
const NAMED: u8 = 2;

fuzz_target!(
    init: write_seeds(seeds),
    |data: &[u8]| {
        let Some((head, body)) = data.split_first_chunk::<5>() else { return };
        let key = i16::from_be_bytes([head[1], head[2]]);
        let version = i16::from_be_bytes([head[3], head[4]]);
        match head[0] & 3 {
            0 => request(key, version, body),
            RESPONSE => response(key, version, body),
            NAMED => named(key, version, body),
            _ => headers(body),
        }
    }
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(u64::from(seed));
    if random.below(3) > 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let messages = schema::messages();
    let message = &messages[random.below(messages.len())];
    let version =
        message.versions.first + random.below((message.versions.last - message.versions.first + 1) as usize) as i16;
    let sampled = sample::message(message, version, random.next());
    let mutations = sample::mutations(&sampled);
    let body =
        if mutations.is_empty() { sampled.bytes } else { mutations[random.below(mutations.len())].bytes.clone() };
    let input = input(message, version, &body);
    if input.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..input.len()].copy_from_slice(&input);
    input.len()
});

fn input(message: &Message, version: i16, body: &[u8]) -> Vec<u8> {
    let (kind, key) = match (message.kind, message.key) {
        (Kind::Request, Some(key)) => (0, key),
        (Kind::Response, Some(key)) => (RESPONSE, key),
        _ => {
            let place = schema::messages().iter().position(|other| std::ptr::eq(other, message));
            (NAMED, place.unwrap_or_default() as i16)
        }
    };
    [&[kind][..], &key.to_be_bytes(), &version.to_be_bytes(), body].concat()
}

fn request(key: i16, version: i16, body: &[u8]) {
    let Ok(measured) = guard::measure(key, version, body) else { return };
    let bound = measured.decoded_bytes;
    assert!(bound <= guard::decoded_limit(body.len()));
    let (mut bytes, version, bound) = if legacy::is_below_floor(key, version) {
        match legacy::raise_request(key, version, body) {
            Ok(raised) => (raised, legacy::floor(key).expect("it has one"), guard::decoded_limit(body.len())),
            Err(_) => return,
        }
    } else {
        (Bytes::copy_from_slice(body), version, bound)
    };
    match key {
        0 => _ = ProduceRequest::decode(BytesMut::from(&bytes[..]), version),
        2 => _ = messages::list_offsets::decode_request(&mut bytes.clone(), version),
        27 => _ = messages::write_txn_markers::decode_request(&mut bytes.clone(), version),
        35 => _ = messages::describe_log_dirs::decode_request(&mut bytes.clone(), version),
        _ => {}
    }
    let Ok(api) = ApiKey::try_from(key) else { return };
    if !is_decoded(schema::request(key), api, version) {
        return;
    }
    let (decoded, allocated) = allocated_by(|| RequestKind::decode(api, &mut bytes, version));
    let decoded = match decoded {
        Ok(decoded) => decoded,
        // The newest versions of a few APIs are known to the crate by their numbers only.
        Err(error) if format!("{error:#}").contains("specified version not supported") => return,
        Err(error) => panic!("the guard accepts {api:?} v{version}, the decoder says {error:#}"),
    };
    assert!(allocated <= bound + 1024, "{api:?} v{version}: {allocated} bytes, {bound} announced");
    _ = decoded.encode(&mut BytesMut::new(), version);
}

/// Whether the crate has the version, in its final form.
fn is_decoded(message: Option<&Message>, api: ApiKey, version: i16) -> bool {
    let Some(message) = message else { return false };
    let unstable = message.latest_unstable && version == message.versions.last;
    message.current_versions.contains(version) && version <= api.valid_versions().max && !unstable
}

fn response(key: i16, version: i16, body: &[u8]) {
    if guard::check_response(key, version, body).is_err() {
        return;
    }
    let Ok(api) = ApiKey::try_from(key) else { return };
    if !is_decoded(schema::response(key), api, version) {
        return;
    }
    let (decoded, allocated) = allocated_by(|| ResponseKind::decode(api, &mut Bytes::copy_from_slice(body), version));
    let decoded = match decoded {
        Ok(decoded) => decoded,
        // The newest versions of a few APIs are known to the crate by their numbers only.
        Err(error) if format!("{error:#}").contains("specified version not supported") => return,
        Err(error) => panic!("the guard accepts {api:?} v{version}, the decoder says {error:#}"),
    };
    let bound = guard::decoded_limit(body.len()) + body.len();
    assert!(allocated <= bound + 1024, "{api:?} v{version}: {allocated} bytes, {bound} allowed");
    let mut again = BytesMut::new();
    if decoded.encode(&mut again, version).is_ok() && legacy::floor(key) == Some(version) && version > 0 {
        _ = legacy::lower_response(key, version - 1, &again, &mut BytesMut::new());
    }
}

fn named(place: i16, version: i16, body: &[u8]) {
    let messages = schema::messages();
    let Some(message) = usize::try_from(place).ok().and_then(|place| messages.get(place)) else { return };
    _ = guard::check_named(message.name, version, body);
}

fn headers(frame: &[u8]) {
    let (_, allocated) = allocated_by(|| {
        _ = RequestHead::parse(&mut Bytes::copy_from_slice(frame));
        _ = parse_response_header(&mut Bytes::copy_from_slice(frame), 1);
        _ = guard::check_header(2, frame);
    });
    assert!(allocated <= 8 * frame.len() + 64 * 1024, "{allocated} bytes for a header");
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for message in schema::messages() {
        for version in message.versions.iter() {
            for seed in 0..2 {
                let body = sample::message(message, version, seed).bytes;
                seeds.push((format!("{}-{version}-{seed}", message.name), input(message, version, &body)));
            }
        }
    }
    seeds
}
