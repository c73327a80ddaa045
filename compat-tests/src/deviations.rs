//! The file `compat-tests/deviations`: what is made equal before answers are compared, and where Milena is meant to
//! differ. One line each, with its reason.
//!
//! ```text
//! normalise <scenario> <path> <how> : <reason>
//! deviation <scenario> <path> : <reason>
//! ```
//! `<scenario>` and the dotted parts of `<path>` may hold `*`; `**` stands for any number of parts. `<how>` is
//! - `any`: whatever the value, it counts as equal,
//! - `id`: the nil uuid stays, every other one is the same,
//! - `positive`: numbers of 1 and above are the same,
//! - `sorted`: the list's order is free,
//! - `keyed:<field>`: the list becomes a map by this field of its items (its order is free, too),
//! - `/pattern/replacement/`: every match in a text is replaced.
//!
//! A line that no comparison needed fails the run: what is no longer true must go.

use std::cell::Cell;

use regex::Regex;
use serde_json::{Value, json};

use crate::Outcome;

/// All lines of the file.
pub(crate) struct Deviations {
    lines: Vec<Line>,
}

struct Line {
    number: usize,
    text: String,
    scenario: String,
    path: Vec<String>,
    action: Action,
    used: Cell<bool>,
}

enum Action {
    Any,
    Id,
    Positive,
    Sorted,
    Keyed(String),
    Replace(Regex, String),
    Deviation,
}

impl Deviations {
    /// Reads the text of the file.
    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|(index, line)| Line::parse(index + 1, line))
            .collect::<Outcome<_>>()?;
        Ok(Self { lines })
    }

    /// Makes `value` comparable: applies all normalising lines that are about this scenario.
    pub(crate) fn normalise(&self, scenario: &str, value: &mut Value) {
        for line in self.lines.iter().filter(|line| glob(&line.scenario, scenario)) {
            if !matches!(line.action, Action::Deviation) {
                line.apply(value, &mut Vec::new());
            }
        }
    }

    /// Whether a difference at this path is meant.
    pub(crate) fn is_meant(&self, scenario: &str, path: &[String]) -> bool {
        let mut meant = false;
        for line in &self.lines {
            let applies = matches!(line.action, Action::Deviation) && glob(&line.scenario, scenario);
            if applies && fits(&line.path, path) {
                line.used.set(true);
                meant = true;
            }
        }
        meant
    }

    /// The lines that changed nothing in this run.
    pub(crate) fn unused(&self) -> Vec<String> {
        let unused = self.lines.iter().filter(|line| !line.used.get());
        unused.map(|line| format!("compat-tests/deviations:{}: {}", line.number, line.text)).collect()
    }
}

impl Line {
    fn parse(number: usize, text: &str) -> Outcome<Self> {
        let wrong = |what: &str| format!("compat-tests/deviations:{number}: {what}: {text}");
        let (rule, reason) = text.split_once(" : ").ok_or_else(|| wrong("no ' : ' before the reason"))?;
        if reason.trim().is_empty() {
            return Err(wrong("no reason").into());
        }
        let mut words = rule.splitn(4, ' ').map(str::trim);
        let (kind, scenario, path) = (words.next(), words.next(), words.next());
        let (Some(scenario), Some(path)) = (scenario, path) else {
            return Err(wrong("no scenario or no path").into());
        };
        let how = words.next().unwrap_or_default();
        let action = match (kind, how) {
            (Some("deviation"), "") => Action::Deviation,
            (Some("normalise"), "any") => Action::Any,
            (Some("normalise"), "id") => Action::Id,
            (Some("normalise"), "positive") => Action::Positive,
            (Some("normalise"), "sorted") => Action::Sorted,
            (Some("normalise"), how) if how.starts_with("keyed:") => Action::Keyed(how["keyed:".len()..].to_owned()),
            (Some("normalise"), how) if how.starts_with('/') && how.ends_with('/') => {
                let parts: Vec<&str> = how[1..how.len() - 1].splitn(2, '/').collect();
                let [pattern, replacement] = parts[..] else { return Err(wrong("no replacement").into()) };
                Action::Replace(Regex::new(pattern)?, replacement.to_owned())
            }
            _ => return Err(wrong("neither a normalise nor a deviation line").into()),
        };
        Ok(Self {
            number,
            text: text.to_owned(),
            scenario: scenario.to_owned(),
            path: path.split('.').map(str::to_owned).collect(),
            action,
            used: Cell::new(false),
        })
    }

    fn apply(&self, value: &mut Value, at: &mut Vec<String>) {
        // Inner values first, so that a sorted list is sorted by what is compared.
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    at.push(name.clone());
                    self.apply(field, at);
                    at.pop();
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    at.push(index.to_string());
                    self.apply(item, at);
                    at.pop();
                }
            }
            _ => {}
        }
        if fits(&self.path, at) {
            self.change(value);
        }
    }

    fn change(&self, value: &mut Value) {
        // Two items of one key would hide each other.
        if let (Action::Keyed(key), Value::Array(items)) = (&self.action, &*value) {
            let mut keys: Vec<String> = items.iter().map(|item| item[key].to_string()).collect();
            keys.sort();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return;
            }
        }
        let changed = match (&self.action, &*value) {
            (Action::Any, _) => json!("(any)"),
            (Action::Id, Value::String(text)) if !text.chars().all(|c| c == '0' || c == '-') => json!("(id)"),
            (Action::Positive, Value::Number(number)) if number.as_i64().is_some_and(|number| number > 0) => {
                json!("(positive)")
            }
            (Action::Sorted, Value::Array(items)) => {
                let mut items = items.clone();
                items.sort_by_key(Value::to_string);
                Value::Array(items)
            }
            (Action::Keyed(key), Value::Array(items)) => {
                let name = |item: &Value| match &item[key] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                items.iter().map(|item| (name(item), item.clone())).collect()
            }
            (Action::Replace(pattern, replacement), Value::String(text)) => {
                json!(pattern.replace_all(text, replacement.as_str()))
            }
            _ => return,
        };
        if changed != *value || matches!(self.action, Action::Sorted | Action::Keyed(_)) {
            self.used.set(true);
        }
        *value = changed;
    }
}

/// Names of settings hold dots: a path is compared by what stands between all dots.
fn fits(pattern: &[String], path: &[String]) -> bool {
    let parts: Vec<&str> = path.iter().flat_map(|part| part.split('.')).collect();
    path_matches(pattern, &parts)
}

fn path_matches(pattern: &[String], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == "**" => (0..=path.len()).any(|skipped| path_matches(rest, &path[skipped..])),
        Some((first, rest)) => {
            path.split_first().is_some_and(|(part, path)| glob(first, part) && path_matches(rest, path))
        }
    }
}

/// Whether `text` fits a pattern whose `*` stand for any text.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|&skipped| rest.is_char_boundary(skipped))
                .any(|skipped| glob(after, &rest[skipped..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(lines: &str, mut value: Value) -> Value {
        Deviations::parse(lines).unwrap().normalise("produce errors", &mut value);
        value
    }

    #[test]
    fn a_value_that_may_be_anything_is_hidden_wherever_it_stands() {
        let value = normalised("normalise * **.time any : clock", json!({"a": [{"time": 5}], "time": 7, "b": 1}));
        assert_eq!(value, json!({"a": [{"time": "(any)"}], "time": "(any)", "b": 1}));
    }

    #[test]
    fn a_nil_id_is_told_from_a_real_one() {
        let value = json!({"x": {"id": "00000000-0000-0000-0000-000000000000"}, "y": {"id": "f0a"}});
        let value = normalised("normalise produce* *.id id : random", value);
        assert_eq!(value, json!({"x": {"id": "00000000-0000-0000-0000-000000000000"}, "y": {"id": "(id)"}}));
    }

    #[test]
    fn sorts_by_what_is_left_after_other_lines() {
        let lines = "normalise * list sorted : free order\nnormalise * text /[0-9]+/N/ : numbers";
        let value = normalised(lines, json!({"list": [{"b": 2}, {"a": 1}], "text": "at 17"}));
        assert_eq!(value, json!({"list": [{"a": 1}, {"b": 2}], "text": "at N"}));
    }

    #[test]
    fn an_unused_line_is_named() {
        let deviations = Deviations::parse("# a note\n\ndeviation * gone : was true once\n").unwrap();
        assert!(!deviations.is_meant("x", &["here".to_owned()]));
        assert_eq!(deviations.unused(), ["compat-tests/deviations:3: deviation * gone : was true once"]);
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        assert!(Deviations::parse("deviation * path").is_err());
        assert!(Deviations::parse("deviation * path : ").is_err());
    }
}
