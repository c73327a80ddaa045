//! The three requests that the benchmark sends itself, by hand: Metadata v1 (does it answer yet?), CreateTopics v2 and
//! DeleteTopics v1. Everything else is the real client's business.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::shell::Outcome;

const METADATA: (i16, i16) = (3, 1);
const CREATE_TOPICS: (i16, i16) = (19, 2);
const DELETE_TOPICS: (i16, i16) = (20, 1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const OPERATION_TIMEOUT_MS: i32 = 20_000;
/// No answer to these requests is longer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How many brokers a Metadata answer names. An error means: does not answer yet.
pub(crate) fn brokers_known(address: SocketAddr) -> Outcome<i32> {
    let no_topics = Body::default().count(0);
    Answer(&call(address, METADATA, &no_topics)?).i32()
}

/// Creates a topic with one replica and waits until the broker says so.
pub(crate) fn create_topic(address: SocketAddr, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Outcome {
    let no_assignments = 0;
    let mut body = Body::default().count(1).string(name).i32(partitions).i16(1).count(no_assignments);
    body = body.count(configs.len());
    for (key, value) in configs {
        body = body.string(key).string(value);
    }
    let answer = call(address, CREATE_TOPICS, &body.i32(OPERATION_TIMEOUT_MS).bool(false))?;
    expect_no_error(&answer).map_err(|error| format!("cannot create topic {name}: {error}").into())
}

/// Deletes a topic.
pub(crate) fn delete_topic(address: SocketAddr, name: &str) -> Outcome {
    let answer = call(address, DELETE_TOPICS, &Body::default().count(1).string(name).i32(OPERATION_TIMEOUT_MS))?;
    expect_no_error(&answer).map_err(|error| format!("cannot delete topic {name}: {error}").into())
}

/// Both answers begin with the throttle time and an array of (name, error code).
fn expect_no_error(answer: &[u8]) -> Outcome {
    let mut answer = Answer(answer);
    let _throttle_time_ms = answer.i32()?;
    let _topics = answer.i32()?;
    let name_length = usize::try_from(answer.i16()?)?;
    answer.take(name_length)?;
    match answer.i16()? {
        0 => Ok(()),
        code => Err(format!("error code {code}").into()),
    }
}

/// Sends one request on a connection of its own; the body of the answer.
fn call(address: SocketAddr, (api_key, version): (i16, i16), body: &Body) -> Outcome<Vec<u8>> {
    let correlation_id = 1;
    let header = Body::default().i16(api_key).i16(version).i32(correlation_id).string("bench");
    let length = Body::default().count(header.0.len() + body.0.len());
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(&[&length.0[..], &header.0, &body.0].concat())?;
    let mut prefix = [0; 8];
    stream.read_exact(&mut prefix)?;
    let frame_length = usize::try_from(Answer(&prefix).i32()?)?;
    let mut answer = vec![0; frame_length.saturating_sub(4).min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The fields of a request, appended one after the other.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn bool(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// The length of an array, or of a frame.
    fn count(self, value: usize) -> Self {
        self.i32(value as i32)
    }

    fn string(self, value: &str) -> Self {
        let mut body = self.i16(value.len() as i16);
        body.0.extend(value.as_bytes());
        body
    }
}

/// What is left to read of an answer.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, bytes: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or("the answer is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i16(&mut self) -> Outcome<i16> {
        Ok(i16::from_be_bytes(self.take(2)?.try_into()?))
    }

    fn i32(&mut self) -> Outcome<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer_with(error_code: i16) -> Vec<u8> {
        Body::default().i32(0).count(1).string("t").i16(error_code).0
    }

    #[test]
    fn reads_the_error_code_of_a_topic() {
        assert!(expect_no_error(&answer_with(0)).is_ok());
        assert_eq!(expect_no_error(&answer_with(36)).unwrap_err().to_string(), "error code 36");
    }

    #[test]
    fn an_answer_cut_short_is_an_error() {
        let whole = answer_with(0);
        for length in 0..whole.len() {
            assert!(expect_no_error(&whole[..length]).is_err(), "{length} bytes");
        }
    }
}
