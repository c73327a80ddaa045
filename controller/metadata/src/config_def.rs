//! Definitions of configuration keys: types, defaults, validators and Kafka's messages.
//!
//! The machinery of `org.apache.kafka.common.config.ConfigDef`, without its class loading: a CLASS is any name, and
//! who defines the key says by a validator which ones it takes. The tables themselves stand elsewhere
//! (`topic_config` here, the broker's keys in the broker).

use std::collections::BTreeSet;
use std::fmt;

/// The type of a key, with the numbers of DescribeConfigs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
#[expect(missing_docs, reason = "Kafka's names")]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    /// The number that DescribeConfigs answers.
    pub fn id(self) -> i8 {
        self as i8
    }

    /// The name as Kafka's messages spell it.
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::String => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }

    /// Whether values are never shown.
    pub fn is_sensitive(self) -> bool {
        self == ConfigType::Password
    }
}

/// How much a key matters, in the documentation's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "Kafka's names")]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// A parsed value.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each variant is named after the type it holds")]
pub enum Value {
    Boolean(bool),
    /// STRING, CLASS and PASSWORD.
    String(String),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    List(Vec<String>),
}

impl Value {
    /// The value of a BOOLEAN.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Boolean(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of an INT, SHORT or LONG.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(i64::from(*value)),
            Value::Short(value) => Some(i64::from(*value)),
            Value::Long(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Double(value) => Some(*value),
            _ => self.as_i64().map(|value| value as f64),
        }
    }

    /// The value of a STRING, CLASS or PASSWORD.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a LIST.
    pub fn as_list(&self) -> Option<&[String]> {
        match self {
            Value::List(value) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// As `ConfigDef.convertToString` writes it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => write!(formatter, "{value}"),
            Value::String(value) => formatter.write_str(value),
            Value::Int(value) => write!(formatter, "{value}"),
            Value::Short(value) => write!(formatter, "{value}"),
            Value::Long(value) => write!(formatter, "{value}"),
            Value::Double(value) => formatter.write_str(&java_double(*value)),
            Value::List(values) => formatter.write_str(&values.join(",")),
        }
    }
}

/// As `Double.toString` writes it: always with a decimal point, and with an exponent outside [1e-3, 1e7).
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let magnitude = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if mantissa.contains('.') => format!("{mantissa}E{exponent}"),
        Some((mantissa, exponent)) => format!("{mantissa}.0E{exponent}"),
        None => text,
    }
}

/// What a value must satisfy beyond its type.
#[derive(Debug, Clone, Copy)]
pub enum Validator {
    /// Anything.
    None,
    /// A number of at least this.
    AtLeast(i64),
    /// A number within these bounds, both inclusive.
    Between(i64, i64),
    /// A DOUBLE within these bounds, both inclusive.
    BetweenDouble(f64, f64),
    /// A DOUBLE of at least this.
    AtLeastDouble(f64),
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// One of these strings, whatever their case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A string that is not empty.
    NonEmpty,
    /// A list; elements that come again are dropped when it is parsed.
    List {
        /// The elements that are allowed; empty when any are.
        allowed: &'static [&'static str],
        /// Whether the list may be empty.
        empty_allowed: bool,
    },
    /// Whatever the function says of (key, value); its error is the text after "Invalid value v for configuration k: ".
    Custom(fn(&str, &Value) -> Result<(), String>),
}

/// A value that a key does not take. Displays as Kafka words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidConfig(pub String);

impl InvalidConfig {
    /// `ConfigException(name, value, message)`.
    pub fn new(name: &str, value: &str, message: &str) -> Self {
        InvalidConfig(format!("Invalid value {value} for configuration {name}: {message}"))
    }
}

/// The definition of one key.
#[derive(Debug, Clone, Copy)]
pub struct ConfigDef {
    /// The key.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its default as one would write it; None for null.
    pub default: Option<&'static str>,
    /// What values it takes.
    pub validator: Validator,
    /// How much it matters.
    pub importance: Importance,
    /// Kafka's documentation of it.
    pub documentation: &'static str,
}

impl ConfigDef {
    /// A key that takes anything of its type.
    pub const fn new(name: &'static str, kind: ConfigType, default: Option<&'static str>) -> Self {
        ConfigDef { name, kind, default, validator: Validator::None, importance: Importance::Medium, documentation: "" }
    }

    /// The same key with a validator.
    #[must_use]
    pub const fn valid(mut self, validator: Validator) -> Self {
        self.validator = validator;
        self
    }

    /// The same key with its importance.
    #[must_use]
    pub const fn importance(mut self, importance: Importance) -> Self {
        self.importance = importance;
        self
    }

    /// The same key with its documentation.
    #[must_use]
    pub const fn doc(mut self, documentation: &'static str) -> Self {
        self.documentation = documentation;
        self
    }

    /// The default's value; None for null.
    pub fn default_value(&self) -> Option<Value> {
        self.default.map(|text| self.parse_type(text).expect("a default is of its key's type"))
    }

    /// Parses and validates a value.
    pub fn parse(&self, text: &str) -> Result<Value, InvalidConfig> {
        let value = self.parse_type(text)?;
        self.validate(&value)?;
        Ok(value)
    }

    /// Parses a value by its type only (`ConfigDef.parseType`): surrounding blanks do not count.
    pub fn parse_type(&self, text: &str) -> Result<Value, InvalidConfig> {
        let trimmed = text.trim_matches(|character| character <= ' ');
        let not_a_number =
            || InvalidConfig::new(self.name, text, &format!("Not a number of type {}", self.kind.name()));
        Ok(match self.kind {
            ConfigType::Boolean => {
                if trimmed.eq_ignore_ascii_case("true") {
                    Value::Boolean(true)
                } else if trimmed.eq_ignore_ascii_case("false") {
                    Value::Boolean(false)
                } else {
                    return Err(InvalidConfig::new(self.name, text, "Expected value to be either true or false"));
                }
            }
            ConfigType::String | ConfigType::Class => Value::String(trimmed.to_owned()),
            ConfigType::Password => Value::String(text.to_owned()),
            ConfigType::Int => Value::Int(trimmed.parse().map_err(|_| not_a_number())?),
            ConfigType::Short => Value::Short(trimmed.parse().map_err(|_| not_a_number())?),
            ConfigType::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
            ConfigType::Double => Value::Double(parse_java_double(trimmed).ok_or_else(not_a_number)?),
            ConfigType::List if trimmed.is_empty() => Value::List(Vec::new()),
            ConfigType::List => {
                let mut items: Vec<_> =
                    trimmed.split(',').map(|item| item.trim_matches(char::is_whitespace).to_owned()).collect();
                if matches!(self.validator, Validator::List { .. }) {
                    let mut seen = BTreeSet::new();
                    items.retain(|item| seen.insert(item.clone()));
                }
                Value::List(items)
            }
        })
    }

    /// Checks a value of the key's type against its validator.
    pub fn validate(&self, value: &Value) -> Result<(), InvalidConfig> {
        let refuse = |message: &str| Err(InvalidConfig::new(self.name, &java_object(value), message));
        match self.validator {
            Validator::None => Ok(()),
            Validator::AtLeast(min) => match value.as_f64() {
                Some(number) if number < min as f64 => refuse(&format!("Value must be at least {min}")),
                _ => Ok(()),
            },
            Validator::Between(min, max) => match value.as_f64() {
                Some(number) if number < min as f64 => refuse(&format!("Value must be at least {min}")),
                Some(number) if number > max as f64 => refuse(&format!("Value must be no more than {max}")),
                _ => Ok(()),
            },
            Validator::AtLeastDouble(min) => match value.as_f64() {
                Some(number) if number < min => refuse(&format!("Value must be at least {}", java_number(min))),
                _ => Ok(()),
            },
            Validator::BetweenDouble(min, max) => match value.as_f64() {
                Some(number) if number < min => refuse(&format!("Value must be at least {}", java_number(min))),
                Some(number) if number > max => refuse(&format!("Value must be no more than {}", java_number(max))),
                _ => Ok(()),
            },
            Validator::OneOf(allowed) => match value.as_str() {
                Some(text) if !allowed.contains(&text) => {
                    refuse(&format!("String must be one of: {}", allowed.join(", ")))
                }
                _ => Ok(()),
            },
            Validator::OneOfIgnoringCase(allowed) => match value.as_str() {
                Some(text) if !allowed.iter().any(|option| option.eq_ignore_ascii_case(text)) => {
                    refuse(&format!("String must be one of (case insensitive): {}", allowed.join(", ")))
                }
                _ => Ok(()),
            },
            Validator::NonEmpty => match value.as_str() {
                Some("") => refuse("String must be non-empty"),
                _ => Ok(()),
            },
            Validator::List { allowed, empty_allowed } => self.validate_list(value, allowed, empty_allowed),
            Validator::Custom(check) => check(self.name, value).or_else(|message| refuse(&message)),
        }
    }

    fn validate_list(&self, value: &Value, allowed: &[&str], empty_allowed: bool) -> Result<(), InvalidConfig> {
        let Some(items) = value.as_list() else { return Ok(()) };
        let name = self.name;
        if items.is_empty() && !empty_allowed {
            let text = if allowed.is_empty() {
                format!("Configuration '{name}' must not be empty.")
            } else {
                format!("Configuration '{name}' must not be empty. Valid values include: [{}]", allowed.join(", "))
            };
            return Err(InvalidConfig(text));
        }
        for item in items {
            if item.is_empty() {
                return Err(InvalidConfig(format!("Configuration '{name}' values must not be empty.")));
            }
            if !allowed.is_empty() && !allowed.contains(&item.as_str()) {
                return Err(InvalidConfig::new(name, item, &format!("String must be one of: {}", allowed.join(", "))));
            }
        }
        Ok(())
    }
}

/// `String.valueOf` of a parsed value, as exceptions show it: lists in brackets.
fn java_object(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.join(", ")),
        other => other.to_string(),
    }
}

/// A bound as Kafka's definitions write it: whole ones are integers there.
fn java_number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{}", value as i64) } else { java_double(value) }
}

/// `Double.parseDouble` of a trimmed string, hexadecimal notation apart.
fn parse_java_double(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    match unsigned {
        "NaN" => return Some(f64::NAN),
        "Infinity" => return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        _ => {}
    }
    let number = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    if !number.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        return None;
    }
    number.parse().ok()
}
