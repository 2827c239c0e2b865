//! TOML as values.

use ::toml::Spanned;
use ::toml::de::{DeTable, DeValue, Error};

use super::problem::Fault;
use super::value::{Field, Kind, Value};

/// The last line of a file: without it, the file was cut off.
const END: &str = "end";
/// In bytes.
const LARGEST_SEARCHED: usize = 64 << 10;
/// What a file without any key need not name: its end shows that none was cut off.
const KEYS: &str = "keys";

/// The values of a TOML text, without the table `end`, which must be the last line that says anything.
///
/// TOML is valid wherever it is cut between two lines, and the last key of a cut file has lost its networks and its expiry.
pub(super) fn parse(text: &str) -> Result<Value<'_>, Fault> {
    let parsed = DeTable::parse(text).map_err(|error| first_fault(text, error))?;
    let mut table = table(parsed.get_ref());
    let ends = table.iter().position(|field| field.name == END);
    match ends.map(|index| table.swap_remove(index)) {
        Some(end)
            if matches!(&end.value.kind, Kind::Table(fields) if fields.is_empty()) && last_line(text) == "[end]" => {}
        _ => {
            let problem = "the last line must be `[end]`; otherwise the file may have been cut off";
            return Err(Fault::new(text.trim_end().len(), problem));
        }
    }
    if !table.iter().any(|field| field.name == KEYS) {
        table.push(Field {
            at: text.len(),
            name: KEYS.into(),
            value: Value {
                at: text.len(),
                kind: Kind::List(Vec::new()),
            },
        });
    }
    Ok(Value {
        at: 0,
        kind: Kind::Table(table),
    })
}

/// The first fault in the order of the text. The parser may report another one first, such as a list without an end.
fn first_fault(text: &str, reported: Error) -> Fault {
    let place = |error: &Error| error.span().map_or(text.len(), |span| span.start);
    // A text can have more errors than it has bytes: those of a large one are not collected.
    let errors = match text.len() <= LARGEST_SEARCHED {
        true => DeTable::parse_recoverable(text).1,
        false => Vec::new(),
    };
    let first = errors.into_iter().min_by_key(place).unwrap_or(reported);
    // Not its `Display`, which shows the line.
    Fault::new(place(&first), format!("invalid TOML: {}", first.message()))
}

/// The last line, apart from comments, with its own comment and the white space left out.
fn last_line(text: &str) -> &str {
    let mut lines = text.lines().rev().map(str::trim);
    let last = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    let last = last.unwrap_or_default();
    last.split_once('#').map_or(last, |(line, _)| line.trim_end())
}

fn table<'t>(table: &DeTable<'t>) -> Vec<Field<'t>> {
    let fields = table.iter().map(|(name, value)| Field {
        at: name.span().start,
        name: name.get_ref().clone(),
        value: self::value(value),
    });
    let mut fields: Vec<Field<'t>> = fields.collect();
    // In the order of the text, so that the first fault in it is the one that is reported.
    fields.sort_by_key(|field| field.at);
    fields
}

fn value<'t>(value: &Spanned<DeValue<'t>>) -> Value<'t> {
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.clone()),
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Number(number),
            Err(_) => Kind::Other,
        },
        DeValue::Datetime(date) => Kind::Date(date.to_string()),
        DeValue::Array(values) => Kind::List(values.iter().map(self::value).collect()),
        DeValue::Table(fields) => Kind::Table(table(fields)),
        DeValue::Float(_) | DeValue::Boolean(_) => Kind::Other,
    };
    Value {
        at: value.span().start,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of as many errors as there are lines, each would keep some 100 bytes.
    #[test]
    fn errors_take_no_more_memory_than_the_text() {
        let most = |line: &str| {
            let text = line.repeat((1 << 20) / line.len());
            let counted = allocation_counter::measure(|| drop(parse(&text).map(drop).unwrap_err()));
            counted.bytes_max
        };
        let valid = most("\n");
        for line in ["=\n", "a\n", "[a]\n", "x=\"\\q\\q\\q\\q\"\n"] {
            let invalid = most(line);
            assert!(
                invalid < 2 * valid,
                "{line:?}: {invalid} bytes, and {valid} without errors"
            );
        }
    }
}
