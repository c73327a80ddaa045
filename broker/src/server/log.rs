//! Log lines about connections: Kafka's loggers and words, what clients wrote escaped and cut, floods thinned out.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use milena_net::{Ended, FrameError};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::connection::End;

/// So many lines of one kind are written within [`WINDOW`]; further ones are counted.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// Of what a client wrote, no more is logged.
const REASON_CHARS_MAX: usize = 300;

/// Lines of one kind.
pub(super) struct Limited(Mutex<State>);

struct State {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Limited {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State { began: None, lines: 0, left_out: 0 }))
    }

    /// Writes a line, unless there were too many; the first one afterwards says how many are missing.
    pub(super) fn line(&self, write: impl FnOnce(&str)) {
        if let Some(note) = self.at(Instant::now()) {
            write(&note);
        }
    }

    fn at(&self, now: Instant) -> Option<String> {
        let mut state = self.0.lock();
        if state.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (state.began, state.lines) = (Some(now), 0);
        }
        if state.lines == LINES_MAX {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(match std::mem::take(&mut state.left_out) {
            0 => String::new(),
            left_out => format!(" ({left_out} lines like this one were left out)"),
        })
    }
}

/// Tells why a connection was closed by us.
pub(super) fn closed(peer: SocketAddr, end: &End) {
    static SIZE: Limited = Limited::new();
    static SAID: Limited = Limited::new();
    static TOLD: Limited = Limited::new();
    match end {
        End::Quiet => {}
        End::Size(error) => SIZE.line(|note| {
            tracing::warn!(
                target: "org.apache.kafka.common.network.Selector",
                "Unexpected error from {peer}; closing connection: {error}{}{note}", protocol(error)
            );
        }),
        End::Said(reason) => SAID.line(|note| {
            let reason = shown(reason);
            tracing::info!(target: "kafka.network.Processor", "Closing connection from {peer}: {reason}{note}");
        }),
        End::Told(Ended::Stalled) => TOLD.line(|note| {
            tracing::warn!(
                target: "kafka.network.Processor",
                "Closing connection from {peer}: it stood still and held memory that others waited for{note}"
            );
        }),
        End::Told(Ended::MadeRoom) => TOLD.line(|note| {
            tracing::info!(
                target: "kafka.network.Processor",
                "Closing connection from {peer}, the least recently used one: max.connections is exceeded{note}"
            );
        }),
    }
}

/// What speaks a protocol whose first bytes make such a length.
fn protocol(error: &FrameError) -> &'static str {
    let FrameError::Size { size, .. } = error else { return "" };
    match size.to_be_bytes() {
        [0x16, 3, ..] => "; it looks like TLS on a listener without",
        [b'G', b'E', b'T', b' '] | [b'P', b'O', b'S', b'T'] | [b'P', b'U', b'T', b' '] | [b'H', b'E', b'A', b'D'] => {
            "; it looks like HTTP"
        }
        _ => "",
    }
}

fn shown(text: &dyn Display) -> String {
    text.to_string().chars().take(REASON_CHARS_MAX).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_thinned_out_and_counted() {
        let (limited, now) = (Limited::new(), Instant::now());
        for _ in 0..LINES_MAX {
            assert_eq!(limited.at(now).as_deref(), Some(""));
        }
        assert_eq!((limited.at(now), limited.at(now)), (None, None));
        assert_eq!(limited.at(now + WINDOW).as_deref(), Some(" (2 lines like this one were left out)"));
        assert_eq!(limited.at(now + WINDOW).as_deref(), Some(""));
    }

    #[test]
    fn what_a_client_wrote_stays_on_its_line() {
        assert_eq!(shown(&"a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(shown(&"x".repeat(5000)).len(), REASON_CHARS_MAX);
    }

    #[test]
    fn other_protocols_are_recognised_by_the_length_they_make() {
        let hint = |bytes: [u8; 4]| protocol(&FrameError::Size { size: i32::from_be_bytes(bytes), max: 1 });
        assert_eq!(hint(*b"GET "), "; it looks like HTTP");
        assert_eq!(hint([0x16, 3, 1, 2]), "; it looks like TLS on a listener without");
        assert_eq!(hint([0xff; 4]), "");
    }
}
