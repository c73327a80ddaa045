//! Which names a topic may have (`org.apache.kafka.common.internals.Topic`).

/// A name that no topic may have; displays as Kafka words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTopicName(pub String);

const MAX_NAME_LENGTH: usize = 249;
/// Bytes of a name that a message repeats at most.
const SHOWN_BYTES_MAX: usize = 2 * MAX_NAME_LENGTH;

/// As much of a name as a message repeats: one that is a little too long as a whole, as Kafka shows it; but what no topic
/// can be called may be 32 KiB long, and a request may ask for thousands of its partitions, each with a message of its own.
pub(super) fn shown(name: &str) -> &str {
    &name[..name.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// Checks a name: 1 to 249 of ASCII letters, digits, '.', '_' and '-', and neither "." nor "..".
pub fn validate_topic_name(name: &str) -> Result<(), InvalidTopicName> {
    let refuse = |text: String| Err(InvalidTopicName(format!("Topic name is invalid: {text}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed".to_owned());
    }
    if name == "." || name == ".." {
        return refuse(format!("'{name}' is not allowed"));
    }
    let length = name.encode_utf16().count();
    if length > MAX_NAME_LENGTH {
        let name = shown(name);
        return refuse(format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        let name = shown(name);
        return refuse(format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// The name with '.' and '_' made alike: two topics may not share it, because their metrics would.
pub(super) fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}
