//! Kafka's message JSON: comments, common structs, version ranges. The format is described in Kafka's
//! `clients/src/main/resources/common/message/README.md`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::message::{Field, Message, Versions};

/// Parses one file; `None` for the few that describe no message.
pub(super) fn message(text: &str) -> Result<Option<Message>, String> {
    let json: Value = serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string())?;
    if json.get("validVersions").is_none() {
        return Ok(None);
    }
    let versions = versions(&json, "validVersions")?;
    let all = Versions { first: 0, last: i16::MAX };
    let mut structs = BTreeMap::new();
    for common in array(&json, "commonStructs") {
        structs.insert(string(common, "name")?, array(common, "fields"));
    }
    let flexible = match json.get("flexibleVersions") {
        Some(_) => self::versions(&json, "flexibleVersions")?,
        None => None,
    };
    let fields = match versions {
        Some(valid) => fields(array(&json, "fields"), &structs, valid)?,
        None => Vec::new(),
    };
    Ok(Some(Message {
        name: string(&json, "name")?.to_owned(),
        kind: string(&json, "type")?.to_owned(),
        api_key: json.get("apiKey").and_then(Value::as_i64),
        versions,
        flexible: flexible.and_then(|flexible| flexible.intersect(versions.unwrap_or(all))),
        latest_unstable: json.get("latestVersionUnstable").and_then(Value::as_bool).unwrap_or(false),
        fields,
    }))
}

type Structs<'a> = BTreeMap<&'a str, &'a [Value]>;

fn fields(list: &[Value], structs: &Structs<'_>, valid: Versions) -> Result<Vec<Field>, String> {
    let mut fields: Vec<Field> = Vec::new();
    for json in list {
        let name = string(json, "name")?;
        // Versions that are no longer valid vanish here, and with them the fields that only they had.
        let key = if json.get("versions").is_some() { "versions" } else { "taggedVersions" };
        let Some(versions) = versions(json, key)?.and_then(|own| own.intersect(valid)) else { continue };
        if fields.iter().any(|field| field.name == name) {
            return Err(format!("two fields are called {name}"));
        }
        let type_name = string(json, "type")?;
        let element = type_name.trim_start_matches("[]");
        let children = match json.get("fields") {
            Some(_) => array(json, "fields"),
            None => structs.get(element).copied().unwrap_or_default(),
        };
        let clipped = |key: &str| -> Result<Option<Versions>, String> {
            match json.get(key) {
                Some(_) => Ok(self::versions(json, key)?.and_then(|own| own.intersect(versions))),
                None => Ok(None),
            }
        };
        let tag = match (clipped("taggedVersions")?, number(json, "tag")) {
            (Some(tagged), Some(tag)) => Some((tag, tagged)),
            (None, _) => None,
            (Some(_), None) => return Err(format!("{name} is tagged but has no tag")),
        };
        fields.push(Field {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            versions,
            nullable: clipped("nullableVersions")?,
            tag,
            default: default(json, type_name),
            ignorable: json.get("ignorable").is_some_and(|value| value == true || value == "true"),
            entity: json.get("entityType").and_then(Value::as_str).map(str::to_owned),
            inflexible: json.get("flexibleVersions").is_some_and(|value| value == "none"),
            fields: self::fields(children, structs, versions)?,
        });
    }
    Ok(fields)
}

/// The default in plain decimal or text, `None` where it is the zero of the type anyway.
fn default(json: &Value, type_name: &str) -> Option<String> {
    let text = match json.get("default")? {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let text = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).map_or_else(|_| text.clone(), |value| value.to_string()),
        None => text,
    };
    let is_zero = match type_name {
        "bool" => text == "false",
        "uuid" => false,
        "string" | "bytes" => text.is_empty(),
        _ => text == "0" || text == "0.0",
    };
    (!is_zero).then_some(text)
}

/// Blanks `//` comments, leaving strings alone.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut escaped = false;
        let mut end = line.len();
        for (at, character) in line.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                '/' if !in_string && line[at..].starts_with("//") => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        out.push_str(&line[..end]);
        out.push('\n');
    }
    out
}

fn versions(json: &Value, key: &str) -> Result<Option<Versions>, String> {
    Versions::parse(string(json, key)?)
}

fn string<'a>(json: &'a Value, key: &str) -> Result<&'a str, String> {
    json.get(key).and_then(Value::as_str).ok_or_else(|| format!("no string {key} in {json}"))
}

/// Some files write a tag as a string.
fn number(json: &Value, key: &str) -> Option<u32> {
    match json.get(key)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u32::try_from(number).ok()),
    }
}

fn array<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_end_where_the_line_ends_and_strings_keep_their_slashes() {
        assert_eq!(without_comments("a // b\n\"x//y\", 1 // \"z\"\n"), "a \n\"x//y\", 1 \n");
    }

    #[test]
    fn defaults_are_plain_and_zeros_are_left_out() {
        let json: Value = serde_json::from_str(r#"{"default": "0x7fffffff"}"#).unwrap();
        assert_eq!(default(&json, "int32"), Some("2147483647".to_owned()));
        let json: Value = serde_json::from_str(r#"{"default": false}"#).unwrap();
        assert_eq!(default(&json, "bool"), None);
    }
}
