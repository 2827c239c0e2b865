//! Commands on rows that the management API has routes for.

mod bulk;
mod catalogue;
mod org;
mod user;

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

pub(crate) use self::bulk::Bulk;
pub(crate) use self::catalogue::{Plan, Role, Scope};
pub(crate) use self::org::{Org, Stats};
pub(crate) use self::user::User;
use super::pages::pages;
use crate::failure::Failure;
use crate::output::{cell, record, table};
use crate::text::{encoded, minute, shown};
use crate::work::Work;

/// Asks, and shows the row.
async fn call(work: &Work, method: Method, path: &str, body: Value) -> Result<(), Failure> {
    let row = work.api.call(method, path, body).await?;
    match row {
        // What was deleted is not there any more.
        Value::Null => Ok(()),
        row => work.output.show(&row, record),
    }
}

/// Shows a row.
async fn show(work: &Work, path: &str) -> Result<(), Failure> {
    call(work, Method::GET, path, Value::Null).await
}

/// Lists rows: those for which the filters are so, at most so many, with a column for each heading and member.
async fn list_rows(
    work: &Work,
    path: &str,
    filters: &[(&str, Option<&str>)],
    most: usize,
    columns: &[(&str, &str)],
) -> Result<(), Failure> {
    let mut query = format!("{path}?limit=200");
    for (name, value) in filters {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
    // A path is the name of its rows.
    pages(work, &query, most, path.trim_start_matches('/'), |items| {
        let rows = items.iter().map(|row| {
            let cells = columns.iter().map(|(_, member)| minute(&cell(&row[*member])));
            cells.collect()
        });
        table(&headings, rows)
    })
    .await
}

/// Deletes a row, after a question.
async fn delete(work: &Work, what: &str, name: &str, path: &str) -> Result<(), Failure> {
    work.confirm(&format!("Delete the {what} {}", shown(name)))?;
    call(work, Method::DELETE, path, Value::Null).await
}

/// How many rows a list shows.
#[derive(Args, Debug)]
pub(crate) struct Most {
    /// At most so many
    #[arg(long, value_name = "NUMBER", default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

/// The members that were given.
fn members(pairs: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Map<String, Value> {
    let given = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

/// A change needs one at least.
fn changes(body: Map<String, Value>) -> Result<Value, Failure> {
    match body.is_empty() {
        true => Err(Failure::Usage(
            "there is nothing to change: give at least one option".to_owned(),
        )),
        false => Ok(body.into()),
    }
}

fn text(value: Option<String>) -> Option<Value> {
    value.map(Value::from)
}

/// What was given, unless nothing was.
fn list(values: Vec<String>) -> Option<Value> {
    (!values.is_empty()).then(|| json!(values))
}

fn limits(texts: &[String]) -> Result<Option<Value>, Failure> {
    let limits: Result<Vec<Value>, Failure> = texts.iter().map(|text| super::keys::limit(text)).collect();
    Ok(match limits? {
        limits if limits.is_empty() => None,
        limits => Some(limits.into()),
    })
}
