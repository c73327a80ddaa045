//! The table's text. The grammar is documented in `protocol/src/schema.rs`.

use std::fmt::Write;

use super::message::{Field, Message, Versions};

/// All messages, each with the versions that the current release has itself.
pub(super) fn table(messages: &[(Message, Versions)], current: &str, old: &str) -> String {
    let mut out = format!(
        "# Made by `cargo xtask schema` from the message JSON in the jars of Apache Kafka {current} and {old}.\n\
         # The grammar is described in schema.rs. Not edited by hand.\n"
    );
    for (message, current) in messages {
        // Every message has a version here: those without one were left out before.
        let all = message.versions.unwrap_or(*current);
        out.push('\n');
        line(&mut out, 0, &message_words(message, all, *current));
        fields(&mut out, &message.fields, 1, all);
    }
    out
}

fn message_words(message: &Message, all: Versions, current: Versions) -> Vec<String> {
    let mut words = vec![message.name.clone(), message.kind.clone()];
    words.extend(message.api_key.map(|key| format!("key={key}")));
    words.push(format!("versions={all}"));
    if current != all {
        words.push(format!("current={current}"));
    }
    words.extend(message.flexible.map(|range| format!("flexible={}", open(range, all))));
    words.extend(message.latest_unstable.then(|| "unstable".to_owned()));
    words
}

fn fields(out: &mut String, list: &[Field], depth: usize, all: Versions) {
    for field in list {
        let mut words = vec![field.name.clone(), field.type_name.clone(), open(field.versions, all).to_string()];
        words.extend(field.nullable.map(|range| format!("nullable={}", open(range, all))));
        words.extend(field.tag.map(|(tag, range)| format!("tag={tag}@{}", open(range, all))));
        words.extend(field.default.as_ref().map(|default| format!("default={default}")));
        words.extend(field.entity.as_ref().map(|entity| format!("entity={entity}")));
        words.extend(field.ignorable.then(|| "ignorable".to_owned()));
        words.extend(field.inflexible.then(|| "inflexible".to_owned()));
        line(out, depth, &words);
        fields(out, &field.fields, depth + 1, all);
    }
}

fn line(out: &mut String, depth: usize, words: &[String]) {
    let _ = writeln!(out, "{:indent$}{}", "", words.join(" "), indent = depth * 2);
}

/// A range that reaches the newest version is written with a plus, so that a new version changes few lines.
fn open(range: Versions, all: Versions) -> Versions {
    Versions { last: if range.last == all.last { i16::MAX } else { range.last }, ..range }
}
