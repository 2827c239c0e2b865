//! JSON as values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::problem::Fault;
use super::value::{Field, Kind, Value};

/// Tables in lists in tables: what the form of keys needs, and some more.
const DEEPEST: usize = 8;

/// The values of a JSON text. Each is kept as a part of the text, whose address in the text is its place.
pub(super) fn parse(text: &str) -> Result<Value<'_>, Fault> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| syntax(text, 0, &error))?;
    value(text, raw, 0)
}

fn value<'t>(text: &'t str, raw: &'t RawValue, depth: usize) -> Result<Value<'t>, Fault> {
    let part = raw.get();
    let at = place(text, part);
    let fault = |error: serde_json::Error| syntax(text, at, &error);
    if depth > DEEPEST {
        return Err(Fault::new(at, "too many lists and tables inside of one another"));
    }
    let kind = match part.as_bytes().first() {
        Some(b'"') => Kind::Text(self::text(part).map_err(fault)?),
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(part).map_err(fault)?;
            let values = values.into_iter().map(|raw| value(text, raw, depth + 1));
            Kind::List(values.collect::<Result<_, Fault>>()?)
        }
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(part).map_err(fault)?;
            let fields = fields.into_iter().map(|(name, raw)| {
                let value = value(text, raw, depth + 1)?;
                let at = value.at;
                Ok(Field { at, name, value })
            });
            Kind::Table(fields.collect::<Result<_, Fault>>()?)
        }
        Some(b'n') => Kind::Null,
        _ => part.parse().map_or(Kind::Other, Kind::Number),
    };
    Ok(Value { at, kind })
}

/// Borrowed where it has no escapes.
fn text(part: &str) -> serde_json::Result<Cow<'_, str>> {
    match serde_json::from_str(part) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str(part).map(Cow::Owned),
    }
}

fn place(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// The part of the text that is not JSON begins at `start`.
fn syntax(text: &str, start: usize, error: &serde_json::Error) -> Fault {
    let part = text.get(start..).unwrap_or_default();
    let line: usize = part
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let at = start + line + error.column().saturating_sub(1);
    let problem = match error.classify() {
        // What it says of the form is a text of its own. Of the content, it would show the value.
        Category::Syntax | Category::Eof => {
            let said = error.to_string();
            let said = said.split(" at line ").next().unwrap_or_default();
            format!("invalid JSON: {said}")
        }
        Category::Data | Category::Io => "invalid JSON".to_owned(),
    };
    Fault::new(at, problem)
}

/// A table, with every field that it has: a map would keep the last of two.
struct Fields<'t>(Vec<(Cow<'t, str>, &'t RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = entries.next_entry::<String, &'de RawValue>()? {
            fields.push((Cow::Owned(name), value));
        }
        Ok(Fields(fields))
    }
}
