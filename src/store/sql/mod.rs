//! What SQL stores share: columns, rows, statements and migrations.
//!
//! A store for a database adds an adapter: how a [`Value`] is bound, how a [`Row`] is read, and what runs the statements.

mod column;
mod fault;
mod follower;
mod list;
pub(super) mod migration;
mod read;
mod read_audit;
mod read_use;
mod record;
mod row;
mod statement;

pub(super) use self::column::{read_limits, read_policy, write_limits, write_policy};
pub(super) use self::fault::InvalidColumn;
pub(super) use self::follower::{Follower, LogRow, MOST_ROWS, OwnRows, Place, Reading};
pub(super) use self::list::{SqlCount, SqlList, count_values, end_of_count_values, end_values, page_values};
pub(super) use self::read_use::statistics_values;
pub(super) use self::record::{
    Value, audit_values, key_state_values, key_values, known_scope_values, organization_values, personal_values,
    plan_values, realm_values, refusal_count_values, refusal_values, revision_value, role_values, secret_values,
    server_secret_values, user_values,
};
pub(super) use self::row::{Columns, Mistyped, Row};
pub(super) use self::statement::Statements;
