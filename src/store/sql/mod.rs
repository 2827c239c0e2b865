//! What SQL stores share: columns, rows, statements and migrations.
//!
//! A store for a database adds an adapter: how a [`Value`] is bound, how a [`Row`] is read, and what runs the statements.

mod answer;
mod column;
mod command;
pub(super) mod copy;
mod database;
mod dialect;
mod fault;
mod follower;
mod history;
mod list;
#[cfg(test)]
pub(super) mod many_rows;
pub(super) mod migration;
mod read;
mod read_audit;
mod read_idempotency;
mod read_use;
mod record;
mod row;
mod statement;
mod value;

pub(super) use self::answer::{answer, find};
pub(super) use self::column::{read_limits, read_policy, write_limits, write_policy};
pub(super) use self::command::Command;
#[cfg(feature = "postgres")]
pub(super) use self::command::Made;
pub(super) use self::database::{Database, all, at_once, first};
pub(super) use self::dialect::{Dialect, Statement};
pub(super) use self::fault::InvalidColumn;
pub(super) use self::follower::{Follower, LogEntry, LogRow, MOST_ROWS, OwnRows, Place, Reading};
pub(super) use self::history::{is_there, latest, realm};
pub(super) use self::list::{SqlCount, SqlList, count_values, end_of_count_values, end_values, page_values};
pub(super) use self::read_use::statistics_values;
pub(super) use self::record::{
    audit_values, idempotency_values, key_state_values, key_values, known_scope_values, organization_values,
    personal_values, plan_values, realm_values, refusal_count_values, refusal_values, revision_value, role_values,
    secret_values, server_secret_values, user_values,
};
pub(super) use self::row::{Columns, Mistyped, Row};
pub(super) use self::statement::Statements;
pub(super) use self::value::Value;
