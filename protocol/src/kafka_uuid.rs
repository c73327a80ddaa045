//! Kafka's text form of a UUID: 22 characters of URL-safe base64 without padding.
//!
//! Source: `org.apache.kafka.common.Uuid`. Kafka never hands out an id that is reserved (below 100) or whose text
//! begins with `-`, because a command line would take it for an option.

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_CHARS: usize = 22;

/// Kafka's text of `id`: always 22 characters.
pub fn encode(id: Uuid) -> String {
    // 128 bits are 21 groups of six and one of two; the last character carries its two bits at the top.
    let bits = id.as_u128();
    (0..TEXT_CHARS)
        .map(|index| {
            let six = if index + 1 < TEXT_CHARS { bits >> (122 - 6 * index) } else { bits << 4 };
            char::from(ALPHABET[(six & 63) as usize])
        })
        .collect()
}

/// The id that `text` names, or `None` if it is not 22 characters of URL-safe base64 (padding `==` is accepted).
///
/// As Java's decoder does, this ignores the four bits of the last character that carry nothing.
pub fn decode(text: &str) -> Option<Uuid> {
    let text = text.strip_suffix("==").unwrap_or(text).as_bytes();
    if text.len() != TEXT_CHARS {
        return None;
    }
    let mut bits: u128 = 0;
    for (index, character) in text.iter().enumerate() {
        let six = ALPHABET.iter().position(|candidate| candidate == character)? as u128;
        bits = if index + 1 < TEXT_CHARS { (bits << 6) | six } else { (bits << 2) | (six >> 4) };
    }
    Some(Uuid::from_u128(bits))
}

/// Whether Kafka would hand `id` out: not one of the first hundred, which are reserved, and no leading `-`.
pub fn is_usable(id: Uuid) -> bool {
    id.as_u128() >= 100 && !encode(id).starts_with('-')
}

/// A usable version 4 id from random bytes, or `None` if Kafka would draw again.
pub fn from_random_bytes(bytes: [u8; 16]) -> Option<Uuid> {
    let mut bytes = bytes;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    Some(Uuid::from_bytes(bytes)).filter(|id| is_usable(*id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_the_ids_that_kafka_reserves_as_kafka_does() {
        assert_eq!(encode(Uuid::from_u128(0)), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(encode(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(encode(Uuid::from_u128(u128::MAX)), "_____________________w");
    }

    #[test]
    fn refuses_texts_of_another_length_or_alphabet() {
        for text in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAA+A", "ÄAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn never_hands_out_a_text_that_looks_like_an_option() {
        assert!(!is_usable(decode("-AAAAAAAAAAAAAAAAAAAAA").unwrap()));
        assert!(!is_usable(Uuid::nil()));
        assert!(!is_usable(Uuid::from_u128(99)));
    }

    proptest! {
        #[test]
        fn every_id_survives_its_text(bits: u128) {
            let id = Uuid::from_u128(bits);
            prop_assert_eq!(encode(id).len(), 22);
            prop_assert_eq!(decode(&encode(id)), Some(id));
        }

        #[test]
        fn random_ids_are_version_4(bytes: [u8; 16]) {
            if let Some(id) = from_random_bytes(bytes) {
                prop_assert_eq!(id.get_version_num(), 4);
                prop_assert!(is_usable(id));
            }
        }

        #[test]
        fn decoding_any_text_never_panics(text: String) {
            let _ = decode(&text);
        }
    }
}
