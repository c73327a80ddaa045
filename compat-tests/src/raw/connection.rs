//! One connection: frames out, frames in.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{RequestHeader, ResponseHeader},
    protocol::{Decodable, Encodable, HeaderVersion, Request},
};
use serde_json::{Value, json};

use super::text;
use crate::{Outcome, debug_json::to_json};

/// How long an answer may take before it counts as none. Long, because a busy machine must not fail a test.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What came back for one request.
pub(crate) enum Answer<T> {
    /// A response, and how many bytes stood behind its end.
    Response(Box<T>, usize),
    /// The broker closed the connection.
    Closed,
    /// Nothing came within the time.
    Silence,
    /// Bytes that are no response of this version.
    Undecodable(String),
}

impl<T: std::fmt::Debug> Answer<T> {
    /// The answer as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Response(response, 0) => to_json(response),
            Self::Response(response, trailing) => json!({"response": to_json(response), "trailing bytes": trailing}),
            Self::Closed => json!("connection closed"),
            Self::Silence => json!("no answer"),
            Self::Undecodable(error) => json!({"undecodable": error}),
        }
    }

    /// The response, if there is one.
    pub(crate) fn response(self) -> Option<T> {
        match self {
            Self::Response(response, _) => Some(*response),
            _ => None,
        }
    }
}

/// A connection to a broker.
pub(crate) struct Connection {
    stream: TcpStream,
    correlation_id: i32,
    client_id: &'static str,
}

impl Connection {
    /// Connects as client "compat".
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        Self::open_as(address, "compat")
    }

    /// Connects with this client id in every header.
    pub(crate) fn open_as(address: &str, client_id: &'static str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self { stream, correlation_id: 0, client_id })
    }

    /// For waits shorter than the usual.
    pub(crate) fn set_answer_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(timeout))
    }

    /// Sends a request and reads its response.
    pub(crate) fn call<R: Request>(&mut self, version: i16, request: &R) -> Outcome<Answer<R::Response>> {
        self.send(version, request)?;
        self.receive::<R>(version)
    }

    /// As `call`, for a version that has the same bytes as an older one that the message structs know.
    pub(crate) fn call_like<R: Request>(
        &mut self,
        version: i16,
        like: i16,
        request: &R,
    ) -> Outcome<Answer<R::Response>> {
        let mut body = BytesMut::new();
        request.encode(&mut body, like).map_err(|error| format!("{error:#}"))?;
        self.send_body(R::KEY, version, R::header_version(like), &body)?;
        self.receive::<R>(like)
    }

    /// Sends a request and reads nothing.
    pub(crate) fn send<R: Request>(&mut self, version: i16, request: &R) -> Outcome {
        let mut body = BytesMut::new();
        request.encode(&mut body, version).map_err(|error| format!("{error:#}"))?;
        self.send_body(R::KEY, version, R::header_version(version), &body)
    }

    /// Sends any body under any key, version and header version.
    pub(crate) fn send_body(&mut self, key: i16, version: i16, header_version: i16, body: &[u8]) -> Outcome {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(text(self.client_id)));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, header_version).map_err(|error| format!("{error:#}"))?;
        frame.put_slice(body);
        self.send_frame(&frame)
    }

    /// Sends bytes with their length in front.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) -> Outcome {
        let mut bytes = Vec::with_capacity(frame.len() + 4);
        bytes.put_i32(i32::try_from(frame.len())?);
        bytes.put_slice(frame);
        self.send_bytes(&bytes)
    }

    /// Sends bytes as they are. A connection that is gone is noticed at the read.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Outcome {
        match self.stream.write_all(bytes) {
            Err(error) if !is_close(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads the response of the request that was sent last.
    pub(crate) fn receive<R: Request>(&mut self, version: i16) -> Outcome<Answer<R::Response>> {
        let expected = self.correlation_id;
        self.receive_checked::<R>(version, |id| id == expected)
    }

    /// Reads the response of any earlier request.
    pub(crate) fn receive_any<R: Request>(&mut self, version: i16) -> Outcome<Answer<R::Response>> {
        self.receive_checked::<R>(version, |_| true)
    }

    fn receive_checked<R: Request>(
        &mut self,
        version: i16,
        is_expected: impl Fn(i32) -> bool,
    ) -> Outcome<Answer<R::Response>> {
        let frame = match self.receive_frame()? {
            Answer::Response(frame, _) => *frame,
            Answer::Closed => return Ok(Answer::Closed),
            Answer::Silence => return Ok(Answer::Silence),
            Answer::Undecodable(error) => return Ok(Answer::Undecodable(error)),
        };
        let mut bytes = frame.clone();
        let header_version = <R::Response as HeaderVersion>::header_version(version);
        let header = match ResponseHeader::decode(&mut bytes, header_version) {
            Ok(header) => header,
            Err(error) => return Ok(Answer::Undecodable(format!("header: {error:#} in {frame:?}"))),
        };
        if !is_expected(header.correlation_id) {
            return Ok(Answer::Undecodable(format!("correlation id {} of {frame:?}", header.correlation_id)));
        }
        // A body that is no answer of this version may make the decoder read counts from anywhere.
        match R::Response::decode(&mut bytes, version) {
            Ok(response) => Ok(Answer::Response(Box::new(response), bytes.len())),
            Err(error) => Ok(Answer::Undecodable(format!("{error:#} in {frame:?}"))),
        }
    }

    /// Reads one frame, without its length.
    pub(crate) fn receive_frame(&mut self) -> Outcome<Answer<Bytes>> {
        let mut length = [0; 4];
        if let Some(answer) = end_of(self.stream.read_exact(&mut length))? {
            return Ok(answer);
        }
        let length = usize::try_from(i32::from_be_bytes(length))?;
        let mut frame = vec![0; length];
        if let Some(answer) = end_of(self.stream.read_exact(&mut frame))? {
            return Ok(answer);
        }
        Ok(Answer::Response(Box::new(frame.into()), 0))
    }
}

fn end_of(read: io::Result<()>) -> Outcome<Option<Answer<Bytes>>> {
    match read {
        Ok(()) => Ok(None),
        Err(error) if is_close(&error) => Ok(Some(Answer::Closed)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Ok(Some(Answer::Silence))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_close(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}
