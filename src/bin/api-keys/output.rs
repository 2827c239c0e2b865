//! What commands print: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::text::{shown, shown_json};

/// Where output goes, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// One JSON document, or what `table` makes of it.
    pub(crate) fn show(self, value: &Value, table: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        match self.json {
            true => self.json(value),
            false => self.lines(&table(value)),
        }
    }

    /// A JSON document on its own line.
    pub(crate) fn json(self, value: &Value) -> Result<(), Failure> {
        self.lines(&shown_json(&value.to_string()))
    }

    /// Lines that are made safe already.
    pub(crate) fn lines(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        Ok(out.flush()?)
    }

    /// A sentence for people, on standard error: it is no row, and a program that reads the output does not get it.
    pub(crate) fn note(self, text: &str) -> Result<(), Failure> {
        match self.json {
            true => Ok(()),
            false => Ok(writeln!(io::stderr(), "{text}")?),
        }
    }

    /// Whether people read it, at a terminal.
    pub(crate) fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }
}

/// Rows under headings. In a terminal that is too narrow for them, each row is a list of its own: an id that is broken over lines cannot
/// be copied.
pub(crate) fn table(headings: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| shown(cell)).collect())
        .collect();
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table.add_rows(rows.clone());
    if let Some(width) = table.width() {
        let words: Vec<u16> = (0..headings.len())
            .map(|index| longest_word(headings, &rows, index))
            .collect();
        let needed: u32 = words.iter().map(|word| u32::from(*word) + PADDING).sum();
        if needed > u32::from(width) {
            return lists(headings, &rows);
        }
        let bounds = words
            .iter()
            .map(|word| Width::Fixed(word.saturating_add(PADDING as u16)));
        table.set_constraints(bounds.map(ColumnConstraint::LowerBoundary));
    }
    table.trim_fmt()
}

/// Of a column, on both sides together.
const PADDING: u32 = 2;

fn longest_word(headings: &[&str], rows: &[Vec<String>], index: usize) -> u16 {
    let cells = rows.iter().filter_map(|row| row.get(index)).map(String::as_str);
    let words = cells
        .chain(headings.get(index).copied())
        .flat_map(str::split_whitespace);
    let longest = words.map(|word| word.chars().count()).max().unwrap_or(0);
    u16::try_from(longest).unwrap_or(u16::MAX)
}

/// Each row as names and values, with a line between.
fn lists(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = headings
        .iter()
        .map(|heading| heading.chars().count())
        .max()
        .unwrap_or(0);
    let lists = rows.iter().map(|row| {
        let cells = headings.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        let lines = cells.map(|(heading, cell)| format!("{:width$}  {cell}", heading.to_uppercase()));
        lines.collect::<Vec<_>>().join("\n")
    });
    lists.collect::<Vec<_>>().join("\n\n")
}

/// Names and values, one on each line.
pub(crate) fn record(value: &Value) -> String {
    let Some(members) = value.as_object() else {
        return cell(value);
    };
    let width = members.keys().map(String::len).max().unwrap_or(0);
    let lines = members
        .iter()
        .filter(|(_, value)| !is_nothing(value))
        .map(|(name, value)| format!("{name:width$}  {}", shown(&cell(value))));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A value in one cell.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        Value::Object(members) => {
            let pairs = members.iter().filter(|(_, value)| !is_nothing(value));
            let pairs = pairs.map(|(name, value)| format!("{name}={}", cell(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// An error, on standard error.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    let sentence = failure.sentence();
    let text = match as_json {
        true => shown_json(&json!({"error": {"code": failure.exit_code(), "detail": sentence}}).to_string()),
        false => format!("api-keys: {}", shown(sentence)),
    };
    // If standard error is closed, there is nobody to read it.
    let _ = writeln!(io::stderr(), "{text}");
}
