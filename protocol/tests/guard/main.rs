//! The guard against kafka-protocol's decoder: what the decoder can read the guard lets through, and what the guard
//! lets through the decoder reads within the memory that the guard announced.

mod allocations;
mod codecs;
mod honest;

use bytes::Bytes;
use codecs::Codec;
use milena_protocol::guard::{self, GuardError};
use milena_protocol::schema::{self, Kind, sample};
use proptest::prelude::*;

const SEEDS: u64 = 12;

fn check(codec: &Codec, version: i16, body: &[u8]) -> Result<(), GuardError> {
    let check = if codec.is_request { guard::check } else { guard::check_response };
    check(codec.api_key, version, body)
}

/// The one property that matters: nothing accepted surprises the decoder.
fn accepted_bodies_decode_within_their_bound(codec: &Codec, version: i16, body: &[u8], what: &str) -> bool {
    if check(codec, version, body).is_err() {
        return false;
    }
    let decoded = (codec.decode)(Bytes::copy_from_slice(body), version);
    let name = codec.message().name;
    let (read, _) = match decoded.again {
        Ok(again) => again,
        Err(error) => panic!("{name} v{version}, {what}: the guard accepts, the decoder says {error}\n{body:02x?}"),
    };
    let limit = guard::decoded_limit(body.len());
    assert!(decoded.allocated <= limit, "{name} v{version}, {what}: {} above {limit}", decoded.allocated);
    if codec.is_request {
        let measured = guard::measure(codec.api_key, version, body).expect("it was accepted a moment ago");
        assert!(decoded.allocated <= measured.decoded_bytes, "{name} v{version}, {what}: more than {measured:?}");
        assert_eq!(read, measured.body_bytes, "{name} v{version}, {what}: bytes read");
    }
    true
}

#[test]
fn sampled_bodies_pass_decode_and_encode_to_the_same_bytes() {
    for codec in codecs::all() {
        for version in codec.versions() {
            for seed in 0..SEEDS {
                let body = sample::message(codec.message(), version, seed).bytes;
                let name = codec.message().name;
                check(&codec, version, &body).unwrap_or_else(|error| panic!("{name} v{version} seed {seed}: {error}"));
                let (read, again) = (codec.decode)(Bytes::from(body.clone()), version)
                    .again
                    .unwrap_or_else(|error| panic!("{name} v{version} seed {seed}: {error}"));
                assert_eq!(read, body.len(), "{name} v{version} seed {seed}");
                assert_eq!(again, body, "{name} v{version} seed {seed}");
            }
        }
    }
}

#[test]
fn hostile_variants_are_refused_or_decode_within_their_bound() {
    let (mut refused, mut accepted) = (0, 0);
    for codec in codecs::all() {
        for version in codec.versions() {
            for seed in 0..3 {
                let sample = sample::message(codec.message(), version, seed);
                for mutation in sample::mutations(&sample) {
                    let (what, body) = (&mutation.what, &mutation.bytes);
                    if accepted_bodies_decode_within_their_bound(&codec, version, body, what) {
                        accepted += 1;
                    } else {
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!(refused > accepted, "{refused} refused, {accepted} accepted");
}

#[test]
fn versions_that_only_we_serve_survive_hostile_variants_too() {
    for message in schema::messages().iter().filter(|message| message.kind == Kind::Request) {
        let api_key = message.key.unwrap();
        for version in message.versions.iter() {
            let sample = sample::message(message, version, 7);
            let measured = guard::measure(api_key, version, &sample.bytes).unwrap();
            assert_eq!(measured.body_bytes, sample.bytes.len(), "{} v{version}", message.name);
            for mutation in sample::mutations(&sample) {
                if let Ok(measured) = guard::measure(api_key, version, &mutation.bytes) {
                    assert!(measured.decoded_bytes <= guard::decoded_limit(mutation.bytes.len()));
                }
            }
        }
    }
}

#[test]
fn records_and_data_pass_by_their_names() {
    for message in schema::messages() {
        for version in message.versions.iter() {
            let sample = sample::message(message, version, 11);
            if let Err(error) = guard::check_named(message.name, version, &sample.bytes) {
                panic!("{} v{version}: {error}", message.name);
            }
        }
    }
}

#[test]
fn dense_bodies_stay_within_their_bound_or_are_refused() {
    for codec in codecs::all() {
        for version in codec.versions() {
            for (count, inner) in [(1, 3000), (3000, 0), (300, 10), (10, 1000)] {
                let body = sample::dense(codec.message(), version, count, inner).bytes;
                let what = format!("{count} times {inner} least elements");
                accepted_bodies_decode_within_their_bound(&codec, version, &body, &what);
            }
        }
    }
}

#[test]
fn thousands_of_unknown_tags_take_no_more_than_announced() {
    let codecs = codecs::all();
    let metadata = codecs.iter().find(|codec| codec.api_key == 3 && codec.is_request).unwrap();
    let version = metadata.versions.max;
    for order in ["ascending", "descending", "shuffled", "all the same"] {
        let tag_of = |number: u32| match order {
            "ascending" => number,
            "descending" => 20_000 - number,
            "shuffled" => number.wrapping_mul(7919) % 10_007,
            _ => 9000,
        };
        for count in [1, 2, 11, 12, 100, 5000] {
            let sample = sample::dense(metadata.message(), version, 0, 0);
            let tags = sample.sites.iter().rfind(|site| site.kind == sample::SiteKind::TagCount).unwrap();
            let mut body = sample.bytes[..tags.range.start].to_vec();
            body.extend(varint(count));
            for number in 0..count {
                body.extend(varint(1000 + tag_of(number)));
                body.push(40);
                body.extend([0; 40]);
            }
            let what = format!("{count} unknown tags, {order}");
            assert!(accepted_bodies_decode_within_their_bound(metadata, version, &body, &what), "{what}");
        }
    }
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[test]
fn the_table_and_the_crate_agree_on_versions() {
    for codec in codecs::all() {
        let message = codec.message();
        let header_version =
            if codec.is_request { schema::request_header_version } else { schema::response_header_version };
        assert_eq!(codec.versions.min, message.current_versions.first, "{}", message.name);
        assert!(codec.versions.max <= message.current_versions.last, "{}", message.name);
        for version in codec.versions() {
            let ours = header_version(codec.api_key, version);
            assert_eq!(ours, Some((codec.header_version)(version)), "{} v{version}", message.name);
        }
    }
}

#[test]
fn bytes_after_a_complete_body_are_ignored() {
    for codec in codecs::all() {
        let version = codec.versions.max;
        let mut body = sample::message(codec.message(), version, 5).bytes;
        body.extend([0xff; 16]);
        assert!(check(&codec, version, &body).is_ok(), "{}", codec.message().name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_refused_or_decode_within_their_bound(
        body in proptest::collection::vec(prop_oneof![3 => 0_u8..4, 1 => any::<u8>()], 0..400),
    ) {
        for codec in codecs::all() {
            for version in codec.versions() {
                accepted_bodies_decode_within_their_bound(&codec, version, &body, "random bytes");
            }
        }
    }

    #[test]
    fn samples_with_a_few_bytes_changed_are_refused_or_decode_within_their_bound(
        seed in any::<u64>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for codec in codecs::all() {
            for version in codec.versions() {
                let mut body = sample::message(codec.message(), version, seed).bytes;
                for (place, byte) in &changes {
                    if !body.is_empty() {
                        let place = place.index(body.len());
                        body[place] = *byte;
                    }
                }
                accepted_bodies_decode_within_their_bound(&codec, version, &body, "changed bytes");
            }
        }
    }
}
