//! One description out of two releases: the versions an older release still had are added to those of the newer.

use super::message::{Field, Message, Versions};

/// The newer description, with the versions below its floor taken from the older one.
///
/// Where both have a version the newer one counts: it may rename a field. Fails if the result would describe any
/// version differently from its source.
pub(super) fn merge(old: &Message, new: &Message) -> Result<Message, String> {
    let (Some(old_versions), Some(versions)) = (old.versions, new.versions) else { return Ok(new.clone()) };
    if old_versions.first >= versions.first {
        return Ok(new.clone());
    }
    let old = old.clipped_to(Versions { first: old_versions.first, last: versions.first - 1 });
    let merged = Message {
        versions: union(&new.name, old.versions, new.versions)?,
        flexible: union(&new.name, old.flexible, new.flexible)?,
        fields: merge_fields(&new.name, &old.fields, &new.fields)?,
        ..new.clone()
    };
    for (source, version) in (old_versions.first..versions.first)
        .map(|version| (&old, version))
        .chain(versions.all().map(|version| (new, version)))
    {
        let (is, should) = (merged.projection(version), source.projection(version));
        if is != should {
            return Err(format!("{} v{version}: merged\n{is:#?}\nbut the source says\n{should:#?}", new.name));
        }
    }
    Ok(merged)
}

fn union(what: &str, left: Option<Versions>, right: Option<Versions>) -> Result<Option<Versions>, String> {
    match (left, right) {
        (Some(left), Some(right)) => match left.union(right) {
            Some(union) => Ok(Some(union)),
            None => Err(format!("{what}: versions {left} and {right} leave a gap")),
        },
        (one, other) => Ok(one.or(other)),
    }
}

/// Fields that only the old release has keep their place among their neighbours.
fn merge_fields(path: &str, old: &[Field], new: &[Field]) -> Result<Vec<Field>, String> {
    let mut merged = Vec::new();
    let mut old_left = old;
    for field in new {
        let Some(place) = old_left.iter().position(|candidate| candidate.name == field.name) else {
            merged.push(field.clone());
            continue;
        };
        let (before, from) = old_left.split_at(place);
        merged.extend_from_slice(before);
        merged.push(merge_field(path, &from[0], field)?);
        old_left = &from[1..];
    }
    merged.extend_from_slice(old_left);
    Ok(merged)
}

fn merge_field(path: &str, old: &Field, new: &Field) -> Result<Field, String> {
    let path = format!("{path}.{}", new.name);
    let tag = match (old.tag, new.tag) {
        (Some((old_tag, _)), Some((new_tag, _))) if old_tag != new_tag => {
            return Err(format!("{path}: tag {old_tag} became {new_tag}"));
        }
        (Some((tag, old)), Some((_, new))) => union(&path, Some(old), Some(new))?.map(|versions| (tag, versions)),
        (one, other) => one.or(other),
    };
    let Some(versions) = old.versions.union(new.versions) else {
        return Err(format!("{path}: versions {} and {} leave a gap", old.versions, new.versions));
    };
    Ok(Field {
        versions,
        nullable: union(&path, old.nullable, new.nullable)?,
        tag,
        fields: merge_fields(&path, &old.fields, &new.fields)?,
        ..new.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    fn message(versions: &str, fields: &str) -> Message {
        let text =
            format!(r#"{{"name": "X", "type": "request", "validVersions": "{versions}", "fields": [{fields}]}}"#);
        json::message(&text).unwrap().unwrap()
    }

    #[test]
    fn fields_of_removed_versions_come_back_at_their_place() {
        let old = message(
            "0-3",
            r#"{"name": "A", "type": "int8", "versions": "0+"}, {"name": "B", "type": "int8", "versions": "0-1"},
               {"name": "C", "type": "int8", "versions": "1+"}"#,
        );
        let new = message(
            "2-4",
            r#"{"name": "A", "type": "int8", "versions": "0+"}, {"name": "C", "type": "int8", "versions": "1+"},
               {"name": "D", "type": "int8", "versions": "4+"}"#,
        );
        let merged = merge(&old, &new).unwrap();
        let fields: Vec<_> = merged.fields.iter().map(|field| format!("{} {}", field.name, field.versions)).collect();
        assert_eq!(fields, ["A 0-4", "B 0-1", "C 1-4", "D 4"]);
    }

    #[test]
    fn a_changed_type_below_the_floor_is_refused() {
        let old = message("0-1", r#"{"name": "A", "type": "int8", "versions": "0+"}"#);
        let new = message("1-2", r#"{"name": "A", "type": "int16", "versions": "0+"}"#);
        assert!(merge(&old, &new).is_err());
    }
}
