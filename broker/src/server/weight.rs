//! What serving a request may cost, told from the first bytes of its frame.

use kafka_protocol::messages::ApiKey;

/// First version of Fetch whose answer is file ranges only; older ones are converted.
const FETCH_AS_STORED: i16 = 4;

/// What a request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// It writes records; its answer is small.
    Append,
    /// Its answer takes little memory.
    Light,
    /// Its answer may be far larger than itself.
    Answer,
}

/// The weight of a frame that holds at least an API key and a version; of any other it does not matter.
pub(super) fn weight(frame: &[u8]) -> Weight {
    let Some(&[a, b, c, d]) = frame.first_chunk() else { return Weight::Light };
    let (key, version) = (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]));
    if key == ApiKey::Produce as i16 {
        Weight::Append
    } else if key == ApiKey::ApiVersions as i16 || key == ApiKey::Fetch as i16 && version >= FETCH_AS_STORED {
        Weight::Light
    } else {
        Weight::Answer
    }
}
