//! Commands on rows that the management API has routes for.

mod bulk;
mod catalogue;
mod org;
mod user;

use http::Method;
use serde_json::{Map, Value, json};

pub(crate) use self::bulk::Bulk;
pub(crate) use self::catalogue::{Plan, Role, Scope};
pub(crate) use self::org::{Org, Stats};
pub(crate) use self::user::User;
use super::Work;
use super::pages::pages;
use crate::args::Command;
use crate::failure::Failure;
use crate::output::record;

pub(super) async fn run(work: &Work, command: Command) -> Result<(), Failure> {
    match command {
        Command::Org(org) => org.run(work).await,
        Command::User(user) => user.run(work).await,
        Command::Plan(plan) => plan.run(work).await,
        Command::Role(role) => role.run(work).await,
        Command::Scope(scope) => scope.run(work).await,
        Command::Bulk(bulk) => bulk.run(work).await,
        Command::Stats(stats) => stats.run(work).await,
        other => super::keys::run(work, other).await,
    }
}

/// Asks, and shows the row.
async fn call(work: &Work, method: Method, path: &str, body: Value) -> Result<(), Failure> {
    let row = work.api.call(method, path, body).await?;
    match row {
        // What was deleted is not there any more.
        Value::Null => Ok(()),
        row => work.output.show(&row, record),
    }
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
