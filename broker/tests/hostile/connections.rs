//! Bytes that are no requests, and connections that are no clients.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use kafka_protocol::messages::ApiKey;

use crate::harness::{MIB, Random, Target, frame, memory_of, receive, send};

const API_VERSIONS: i16 = ApiKey::ApiVersions as i16;

#[test]
fn random_bytes_end_the_connection() {
    let target = Target::start();
    let mut random = Random::new();
    for _ in 0..300 {
        let length = random.next() as usize % 2000;
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let mut socket = target.connect();
        send(&mut socket, &bytes);
        // What the broker still waits for never comes.
        _ = socket.shutdown(Shutdown::Write);
        assert_eq!(receive(&mut socket), None, "{bytes:02x?}");
    }
    target.assert_serves();
}

#[test]
fn random_bytes_in_frames_of_the_right_length_end_the_connection_or_get_an_answer() {
    let target = Target::start();
    let mut random = Random::new();
    for _ in 0..2000 {
        let length = random.next() as usize % 300;
        let mut frame = (length as u32).to_be_bytes().to_vec();
        frame.extend((0..length).map(|_| random.next() as u8));
        // An API that exists, so that more than the header is looked at.
        if length > 4 {
            frame[4..8].copy_from_slice(&[0, (random.next() % 76) as u8, 0, (random.next() % 14) as u8]);
        }
        let mut socket = target.connect();
        send(&mut socket, &frame);
        _ = socket.shutdown(Shutdown::Write);
        _ = receive(&mut socket);
    }
    target.assert_serves();
}

#[test]
fn an_http_request_ends_the_connection() {
    let target = Target::start();
    assert!(target.closes_after(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"));
    assert!(target.closes_after(b"POST /topics/x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"));
    target.assert_serves();
}

#[test]
fn a_tls_client_hello_ends_the_connection() {
    let target = Target::start();
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend([0x5a; 506]);
    assert!(target.closes_after(&hello));
    target.assert_serves();
}

#[test]
fn a_length_that_is_no_frames_ends_the_connection_before_memory_is_taken() {
    let target = Target::start();
    let over = 100 * 1024 * 1024 + 1;
    let ((), memory) = memory_of(|| {
        for length in [-1, 0, i32::MIN, i32::MAX, over] {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend([0; 64]);
            assert!(target.closes_after(&bytes), "length {length}");
        }
    });
    assert!(memory < 8 * MIB, "{memory} bytes");
    target.assert_serves();
}

#[test]
fn a_frame_over_socket_request_max_bytes_is_refused_by_its_length_alone() {
    let target = Target::start_with(&[("socket.request.max.bytes", "1000")]);
    assert!(!target.closes_after(&frame(API_VERSIONS, 0, &[0; 900])));
    assert!(target.closes_after(&frame(API_VERSIONS, 0, &[0; 1000])));
    target.assert_serves();
}

#[test]
fn frames_that_are_announced_and_never_come_cost_nothing() {
    let target = Target::start();
    let (sockets, memory) = memory_of(|| {
        let sockets: Vec<TcpStream> = (0..100)
            .map(|_| {
                let mut socket = target.connect();
                send(&mut socket, &(100 * 1024 * 1024_i32).to_be_bytes());
                send(&mut socket, &[0; 100]);
                socket
            })
            .collect();
        target.assert_serves();
        sockets
    });
    assert!(memory < 32 * MIB, "{memory} bytes for {} announcements of 100 MiB", sockets.len());
    target.assert_serves();
}

#[test]
fn a_frame_that_is_cut_off_anywhere_ends_with_the_connection() {
    let target = Target::start();
    let whole = frame(API_VERSIONS, 3, &[2, b'a', 2, b'1', 0]);
    for cut in 0..whole.len() {
        let mut socket = target.connect();
        send(&mut socket, &whole[..cut]);
        socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive(&mut socket), None, "cut at {cut}");
    }
    target.assert_serves();
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let target = Target::start();
    let mut socket = target.connect();
    for byte in frame(API_VERSIONS, 3, &[2, b'a', 2, b'1', 0]) {
        socket.write_all(&[byte]).unwrap();
        std::thread::yield_now();
    }
    assert_eq!(receive(&mut socket).expect("an answer")[..6], [0, 0, 0, 7, 0, 0]);
    target.assert_serves();
}

#[test]
fn hundreds_of_connections_that_say_nothing_or_half_a_request_keep_nobody_out() {
    let target = Target::start();
    let (sockets, memory) = memory_of(|| {
        let sockets: Vec<TcpStream> = (0..400)
            .map(|number| {
                let mut socket = target.connect();
                let said = frame(API_VERSIONS, 0, &[]);
                send(&mut socket, &said[..number % said.len()]);
                if number % 3 == 0 {
                    // Closed in one direction only, and never read.
                    _ = socket.shutdown(Shutdown::Write);
                }
                socket
            })
            .collect();
        target.assert_serves();
        sockets
    });
    // Both ends of each connection are in this process.
    assert!(memory / sockets.len() < 32 * 1024, "{memory} bytes for {} connections", sockets.len());
    target.assert_serves();
}

#[test]
fn a_peer_that_asks_and_never_reads_takes_bounded_memory() {
    let target = Target::start();
    let (sockets, memory) = memory_of(|| {
        let ask = frame(ApiKey::DescribeConfigs as i16, 1, &describe_all_of_the_brokers_configs());
        let sockets: Vec<TcpStream> = (0..20)
            .map(|_| {
                let mut socket = target.connect();
                // As long as the broker takes requests.
                socket.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
                for _ in 0..20_000 {
                    if socket.write_all(&ask).is_err() {
                        break;
                    }
                }
                socket
            })
            .collect();
        target.assert_serves();
        sockets
    });
    assert!(memory < 64 * MIB, "{memory} bytes for {} peers", sockets.len());
    drop(sockets);
    target.assert_serves();
}

fn describe_all_of_the_brokers_configs() -> Vec<u8> {
    // One resource: type 4 (broker), name "1", all keys; no synonyms.
    [&1_i32.to_be_bytes()[..], &[4, 0, 1, b'1'], &(-1_i32).to_be_bytes(), &[0]].concat()
}

#[test]
fn answers_before_a_broken_frame_are_still_sent() {
    let target = Target::start();
    let mut socket = target.connect();
    let good = frame(API_VERSIONS, 0, &[]);
    send(&mut socket, &[&good[..], &good, &(-5_i32).to_be_bytes()].concat());
    for _ in 0..2 {
        assert_eq!(receive(&mut socket).expect("an answer")[..6], [0, 0, 0, 7, 0, 0]);
    }
    assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0);
    target.assert_serves();
}
