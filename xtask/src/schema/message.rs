//! A message as the JSON describes it, its versions clipped to those that are valid.

use std::cmp::Ordering;
use std::fmt;

/// First and last version, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) first: i16,
    pub(super) last: i16,
}

impl Versions {
    /// Parses `none`, `3`, `3-5` and `3+`.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let number = |digits: &str| digits.parse::<i16>().map_err(|_| format!("not a version range: {text:?}"));
        if text == "none" {
            return Ok(None);
        }
        let (first, last) = if let Some(first) = text.strip_suffix('+') {
            (number(first)?, i16::MAX)
        } else if let Some((first, last)) = text.split_once('-') {
            (number(first)?, number(last)?)
        } else {
            (number(text)?, number(text)?)
        };
        Ok((first <= last).then_some(Self { first, last }))
    }

    pub(super) fn contains(self, version: i16) -> bool {
        (self.first..=self.last).contains(&version)
    }

    pub(super) fn all(self) -> impl Iterator<Item = i16> {
        self.first..=self.last
    }

    pub(super) fn intersect(self, other: Self) -> Option<Self> {
        let both = Self { first: self.first.max(other.first), last: self.last.min(other.last) };
        (both.first <= both.last).then_some(both)
    }

    /// The union, if it has no gap.
    pub(super) fn union(self, other: Self) -> Option<Self> {
        let touches = self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1);
        touches.then_some(Self { first: self.first.min(other.first), last: self.last.max(other.last) })
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.last == i16::MAX {
            write!(formatter, "{}+", self.first)
        } else if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    pub(super) name: String,
    /// The JSON's `type`: request, response, header, data, metadata, coordinator-key, coordinator-value.
    pub(super) kind: String,
    pub(super) api_key: Option<i64>,
    /// `None`: no version is valid any more.
    pub(super) versions: Option<Versions>,
    pub(super) flexible: Option<Versions>,
    pub(super) latest_unstable: bool,
    pub(super) fields: Vec<Field>,
}

impl Message {
    /// Requests and responses by key, then everything else by kind, key and name.
    pub(super) fn sort_key(&self) -> impl Ord + use<> {
        let on_the_wire = matches!(self.kind.as_str(), "request" | "response");
        let group = if on_the_wire { String::new() } else { self.kind.clone() };
        (group, self.api_key, self.kind.clone(), self.name.clone())
    }

    /// The same message as if only `versions` of it were valid.
    pub(super) fn clipped_to(&self, versions: Versions) -> Self {
        Self {
            versions: self.versions.and_then(|own| own.intersect(versions)),
            flexible: self.flexible.and_then(|own| own.intersect(versions)),
            fields: clipped(&self.fields, versions),
            ..self.clone()
        }
    }

    /// What a version puts on the wire, one line per field: the measure of equality between two descriptions.
    pub(super) fn projection(&self, version: i16) -> Vec<String> {
        let mut lines = vec![format!("flexible {}", self.flexible.is_some_and(|range| range.contains(version)))];
        project(&self.fields, version, 0, &mut lines);
        lines
    }
}

fn clipped(fields: &[Field], versions: Versions) -> Vec<Field> {
    let clip = |field: &Field| {
        Some(Field {
            versions: field.versions.intersect(versions)?,
            nullable: field.nullable.and_then(|own| own.intersect(versions)),
            tag: field.tag.and_then(|(tag, own)| Some((tag, own.intersect(versions)?))),
            fields: clipped(&field.fields, versions),
            ..field.clone()
        })
    };
    fields.iter().filter_map(clip).collect()
}

fn project(fields: &[Field], version: i16, depth: usize, lines: &mut Vec<String>) {
    let at = |range: Option<Versions>| range.is_some_and(|range| range.contains(version));
    let mut present: Vec<&Field> = fields.iter().filter(|field| field.versions.contains(version)).collect();
    // Tagged fields have no place in the order but their tag.
    present.sort_by(|left, right| match (left.tag_at(version), right.tag_at(version)) {
        (None, None) => Ordering::Equal,
        (left, right) => left.cmp(&right),
    });
    for field in present {
        let is_array = field.type_name.starts_with("[]");
        let type_name = match (field.fields.is_empty(), is_array) {
            (true, _) => field.type_name.as_str(),
            (false, true) => "[]struct",
            (false, false) => "struct",
        };
        lines.push(format!(
            "{depth} {} {type_name} nullable={} tag={:?} inflexible={}",
            field.name,
            at(field.nullable),
            field.tag_at(version),
            field.inflexible
        ));
        project(&field.fields, version, depth + 1, lines);
    }
}

/// One field of a message or of a struct in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// As in the JSON: `int32`, `[]string`, `[]TopicData`, `records`.
    pub(super) type_name: String,
    pub(super) versions: Versions,
    pub(super) nullable: Option<Versions>,
    pub(super) tag: Option<(u32, Versions)>,
    /// The JSON's default when it is not the type's own zero.
    pub(super) default: Option<String>,
    pub(super) ignorable: bool,
    pub(super) entity: Option<String>,
    /// Written in the old form even in flexible versions (the request header's client id).
    pub(super) inflexible: bool,
    /// The struct's fields, for `TopicData` and `[]TopicData`.
    pub(super) fields: Vec<Field>,
}

impl Field {
    fn tag_at(&self, version: i16) -> Option<u32> {
        self.tag.filter(|(_, range)| range.contains(version)).map(|(tag, _)| tag)
    }
}
