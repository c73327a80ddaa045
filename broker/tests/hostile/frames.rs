//! Frames of every API and version that is served, valid and lying. What is served is read from the table, so that a
//! version that comes to it comes to these tests.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use milena::handlers::APIS;
use milena_protocol::schema::{self, sample};

use crate::harness::{MIB, Random, Target, encoded, frame, memory_of, name, receive, send, uvarint};

const CLIENTS: usize = 4;
/// A Fetch may ask to wait for days; what matters has happened when the others have answered.
const PATIENCE: Duration = Duration::from_millis(20);

/// Sends a frame on a connection of its own and waits a moment for the answer, or for the end.
fn poke(address: SocketAddr, frame: &[u8]) {
    let Ok(mut socket) = TcpStream::connect(address) else { return };
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The broker may close before it has read everything.
    if socket.write_all(frame).is_ok() {
        _ = socket.read(&mut [0; 4096]);
    }
}

/// Has several clients send what `bodies` makes for every API and version; the number of frames.
fn poke_everything(
    address: SocketAddr,
    bodies: impl Fn(&'static schema::Message, i16) -> Vec<Vec<u8>> + Sync,
) -> usize {
    let versions: Vec<(i16, i16)> =
        APIS.iter().flat_map(|api| (api.min..=api.max).map(|version| (api.key, version))).collect();
    let work = |client: usize| {
        let mut sent = 0;
        for &(key, version) in versions.iter().skip(client).step_by(CLIENTS) {
            let message = schema::request(key).expect("every API is in the table");
            for body in bodies(message, version) {
                poke(address, &frame(key, version, &body));
                sent += 1;
            }
        }
        sent
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || work(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    })
}

#[test]
fn valid_frames_with_arbitrary_contents_are_answered_or_refused() {
    let target = Target::start();
    let base = Random::new().next();
    let sent = poke_everything(target.address, |message, version| {
        (0..25).map(|seed| sample::message(message, version, base.wrapping_add(seed)).bytes).collect()
    });
    assert!(sent > 2_000, "{sent} frames");
    target.assert_serves();
}

/// Every count and length of a sample says, one after the other: -2, -1, 0, what is left, one more, the largest there is.
#[test]
fn every_lie_about_a_count_or_a_length_at_every_place_is_survived() {
    let target = Target::start();
    let (sent, memory) = memory_of(|| {
        poke_everything(target.address, |message, version| {
            let mutations = (0..2).flat_map(|seed| sample::mutations(&sample::message(message, version, seed)));
            mutations.map(|mutation| mutation.bytes).collect()
        })
    });
    assert!(sent > 10_000, "{sent} frames");
    assert!(memory < 256 * MIB, "{memory} bytes for {sent} frames");
    target.assert_serves();
}

#[test]
fn arrays_of_the_least_elements_are_refused_or_cost_no_more_than_the_limit() {
    let target = Target::start();
    let (sent, memory) = memory_of(|| {
        poke_everything(target.address, |message, version| {
            let dense = |count, inner| sample::dense(message, version, count, inner).bytes;
            vec![dense(3_000, 0), dense(1, 100_000), dense(100_000, 0), dense(200, 200)]
        })
    });
    assert!(memory < 384 * MIB, "{memory} bytes for {sent} frames");
    target.assert_serves();
}

#[test]
fn text_that_is_not_utf8_in_any_string_is_survived() {
    let target = Target::start();
    let sent = poke_everything(target.address, |message, version| {
        let sample = sample::message(message, version, 3);
        let texts = sample.sites.iter().filter(|site| site.kind == sample::SiteKind::Text);
        texts
            .flat_map(|site| {
                [&[0xff][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], &[0xf5, 0x80, 0x80, 0x80]].map(|bad| {
                    let mut bytes = sample.bytes.clone();
                    let length = bad.len().min(site.range.len());
                    bytes[site.range.start..site.range.start + length].copy_from_slice(&bad[..length]);
                    bytes
                })
            })
            .collect()
    });
    assert!(sent > 500, "{sent} frames");
    target.assert_serves();
}

/// ApiVersions v3 with these tagged fields behind its two strings.
fn with_tags(tags: &[u8]) -> Vec<u8> {
    frame(ApiKey::ApiVersions as i16, 3, &[&[2, b'a', 2, b'1'], tags].concat())
}

#[test]
fn unknown_tags_by_the_thousand_are_skipped_as_in_kafka() {
    let target = Target::start();
    for count in [1_u32, 1000, 1200] {
        let tags = (0..count).flat_map(|tag| [uvarint(1000 + tag), vec![40], vec![0x5a; 40]].concat());
        let mut socket = target.connect();
        send(&mut socket, &with_tags(&[uvarint(count), tags.collect()].concat()));
        assert_eq!(receive(&mut socket).expect("an answer")[..6], [0, 0, 0, 7, 0, 0], "{count} tags");
    }
    target.assert_serves();
}

#[test]
fn duplicated_tags_and_one_of_megabytes_are_skipped_as_in_kafka() {
    let target = Target::start();
    let duplicated = [vec![3], [uvarint(9000), vec![1, 0]].concat().repeat(3)].concat();
    let huge = [vec![1], uvarint(9000), uvarint(5_000_000), vec![0; 5_000_000]].concat();
    for tags in [duplicated, huge] {
        let mut socket = target.connect();
        send(&mut socket, &with_tags(&tags));
        assert_eq!(receive(&mut socket).expect("an answer")[..6], [0, 0, 0, 7, 0, 0]);
    }
    target.assert_serves();
}

/// Metadata of a topic a hundred thousand times: the answer's size is in proportion, and so is the time.
#[test]
fn a_request_that_repeats_one_name_many_times_takes_no_quadratic_time() {
    use kafka_protocol::messages::MetadataRequest;
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    let target = Target::start();
    let topic = MetadataRequestTopic::default().with_name(Some(name("no-such-topic-at-all")));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic; 100_000])).with_allow_auto_topic_creation(false);
    let (answer, memory) = memory_of(|| target.ask_with(ApiKey::Metadata as i16, 8, &encoded(&request, 8)));
    assert!(memory < 128 * MIB, "{memory} bytes");
    assert!(answer.is_none_or(|answer| answer.len() < 16 * MIB));
    target.assert_serves();
}

/// One topic's name of 32 KiB and thousands of its partitions: Fetch, ListOffsets and DescribeLogDirs copied the name for
/// every partition, and ElectLeaders put it into a message for each. A frame of 200 KB took gigabytes.
#[test]
fn a_long_name_with_many_partitions_is_kept_once() {
    let target = Target::start();
    let (sent, memory) = memory_of(|| {
        poke_everything(target.address, |message, version| {
            vec![sample::shared_text(message, version, 32_767, 30_000).bytes]
        })
    });
    assert!(memory < 256 * MIB, "{memory} bytes for {sent} frames");
    target.assert_serves();
}

/// A resource costs eight bytes to name and tens of thousands to describe.
#[test]
fn a_resource_that_is_named_many_times_is_described_once() {
    let target = Target::start();
    // As many as a small frame may hold, and the same id written in many ways.
    let resource = |zeros: usize| {
        let name = format!("{}1", "0".repeat(zeros));
        [&[4][..], &(name.len() as u16).to_be_bytes(), name.as_bytes(), &(-1_i32).to_be_bytes()].concat()
    };
    let resources = [resource(0).repeat(2_000), (0..800).flat_map(resource).collect()].concat();
    let body = [&2_800_i32.to_be_bytes()[..], &resources, &[1]].concat();
    let (answer, memory) = memory_of(|| target.ask_with(ApiKey::DescribeConfigs as i16, 1, &body));
    assert!(memory < 64 * MIB, "{memory} bytes");
    let answer = answer.expect("an honest size");
    assert!(answer.len() < MIB, "{} bytes", answer.len());
    target.assert_serves();
}
