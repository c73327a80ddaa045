//! Two answers side by side: every place where they differ.

use serde_json::Value;

/// One place where the two differ. A missing value is `None`.
#[derive(Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) path: Vec<String>,
    pub(crate) kafka: Option<Value>,
    pub(crate) milena: Option<Value>,
}

impl Difference {
    /// Some lines for a reader.
    pub(crate) fn report(&self) -> String {
        let show = |value: &Option<Value>| match value {
            None => "(absent)".to_owned(),
            Some(Value::String(text)) if text.contains('\n') => text.lines().fold(String::new(), |mut all, line| {
                all.push_str("\n            | ");
                all.push_str(line);
                all
            }),
            Some(value) => value.to_string(),
        };
        format!(
            "{}\n        Kafka:  {}\n        Milena: {}",
            self.path.join("."),
            show(&self.kafka),
            show(&self.milena)
        )
    }
}

/// All differences, in the order of the values.
pub(crate) fn differences(kafka: &Value, milena: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Some(kafka), Some(milena), &mut Vec::new(), &mut found);
    found
}

fn compare(kafka: Option<&Value>, milena: Option<&Value>, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    match (kafka, milena) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let mut names: Vec<&String> =
                left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))).collect();
            names.sort();
            for name in names {
                path.push(name.clone());
                compare(left.get(name), right.get(name), path, found);
                path.pop();
            }
        }
        (Some(Value::Array(left)), Some(Value::Array(right))) => {
            for index in 0..left.len().max(right.len()) {
                path.push(index.to_string());
                compare(left.get(index), right.get(index), path, found);
                path.pop();
            }
        }
        _ if kafka == milena => {}
        _ => found.push(Difference { path: path.clone(), kafka: kafka.cloned(), milena: milena.cloned() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_each_place_that_differs() {
        let found = differences(&json!({"a": [1, {"b": 2}], "c": 3}), &json!({"a": [1, {"b": 5}, 7]}));
        let paths: Vec<String> = found.iter().map(|difference| difference.path.join(".")).collect();
        assert_eq!(paths, ["a.1.b", "a.2", "c"]);
        assert_eq!(found[2].milena, None);
    }
}
