//! PostgreSQL: its clock, its triggers and functions, and who may do what.

use tower_api_key::store::{PostgresGrant, PostgresInspection, PostgresStore};

use super::Checks;
use super::rows::clock;
use crate::database::Database;
use crate::failure::{Failure, chain};

/// The version of the schema.
pub(super) async fn look(checks: &mut Checks, database: &Database, url: &str) -> Result<u32, Failure> {
    tls(checks, url);
    let found = database.config().postgres_builder().inspect(url).await?;
    clock(checks, "the clock of the database", found.clock_ahead);
    user(checks, &found);
    if found.schema_version > 0 {
        triggers(checks, &found);
        roles(checks, &found);
    }
    Ok(found.schema_version)
}

fn tls(checks: &mut Checks, url: &str) {
    match PostgresStore::exposed_to(url) {
        Ok(Some(server)) => checks.wrong(
            "TLS",
            format!(
                "the connection to {server} has none (sslmode=disable): the password, hashes and lookups cross the network in clear. \
                 Leave sslmode out, which asks for TLS"
            ),
        ),
        Ok(None) => checks.good("TLS", "no connection leaves this machine without it"),
        Err(error) => checks.wrong("TLS", chain(&error)),
    }
}

fn user(checks: &mut Checks, found: &PostgresInspection) {
    let user = &found.user;
    let service =
        "give the service a user of its own that has the role of the service alone, as docs/postgresql.md shows";
    if user.is_superuser {
        checks.wrong(
            "user",
            format!("{} is a superuser, whom nothing bounds: {service}", user.name),
        );
    } else if user.owns_tables {
        checks.note(
            "user",
            format!(
                "{} has the rights of the owner of the tables, and so can change the audit trail: right for migrations. For a service, \
                 {service}",
                user.name
            ),
        );
    } else if user.further_grants.is_empty() {
        checks.good("user", format!("{} may do no more than a service needs", user.name));
    } else {
        let (retention, others): (Vec<_>, Vec<_>) =
            user.further_grants.iter().partition(|grant| is_of_retention(grant));
        further(checks, "user", &user.name, &others, &retention);
    }
}

/// What maintenance that deletes old audit events needs, as `docs/postgresql.md` grants it.
fn is_of_retention(grant: &PostgresGrant) -> bool {
    let column = grant.column.as_deref();
    match grant.table.as_str() {
        "audit_events" => grant.privilege == "DELETE" && column.is_none(),
        "organization_state" => grant.privilege == "UPDATE" && matches!(column, Some("pruned_seq" | "pruned_hash")),
        _ => false,
    }
}

fn further(
    checks: &mut Checks,
    about: &'static str,
    whose: &str,
    others: &[&PostgresGrant],
    of_retention: &[&PostgresGrant],
) {
    if !others.is_empty() {
        let first = list(others.iter().map(ToString::to_string));
        checks.wrong(
            about,
            format!("{whose} may do what it does not need: {first}. REVOKE it"),
        );
    }
    if !of_retention.is_empty() {
        let what = list(of_retention.iter().map(ToString::to_string));
        checks.note(
            about,
            format!("{whose} may delete audit events, which their retention needs, and which a thief of its password could do too: {what}"),
        );
    }
}

fn triggers(checks: &mut Checks, found: &PostgresInspection) {
    let (triggers, functions) = (&found.stopped_triggers, &found.changed_functions);
    if triggers.is_empty() && functions.is_empty() {
        return checks.good(
            "change log",
            "its triggers and functions are as the migrations made them",
        );
    }
    if !triggers.is_empty() {
        checks.wrong(
            "change log",
            format!(
                "triggers are missing or disabled, so services are not told of changes, and read each key again: {}. ALTER TABLE … ENABLE \
                 ALWAYS TRIGGER …, or restore what was dropped",
                list(triggers.iter().cloned())
            ),
        );
    }
    if !functions.is_empty() {
        checks.wrong(
            "change log",
            format!(
                "functions are not those of this version, so changes may not be logged: {}. Restore them from a backup of the schema, and \
                 find out who replaced them",
                list(functions.iter().cloned())
            ),
        );
    }
}

fn roles(checks: &mut Checks, found: &PostgresInspection) {
    if !found.missing_roles.is_empty() {
        checks.note(
            "roles",
            format!(
                "these are missing, because the user of the migrations may not make roles: {}. An administrator makes them, as \
                 docs/postgresql.md shows, and then: api-keys migrate up",
                list(found.missing_roles.iter().cloned())
            ),
        );
    }
    if found.owners.len() > 1 {
        checks.wrong(
            "roles",
            format!(
                "the tables have several owners: {}. Make them one: ALTER TABLE … OWNER TO …",
                list(found.owners.iter().cloned())
            ),
        );
    }
    let (missing, further_ones) = (&found.missing_grants, &found.further_grants);
    if found.missing_roles.is_empty() && missing.is_empty() && further_ones.is_empty() {
        return checks.good("roles", "owner, service and reader have what the migrations granted");
    }
    for role in roles_of(missing) {
        let of_role = missing
            .iter()
            .filter(|grant| grant.role == role)
            .map(ToString::to_string);
        checks.wrong(
            "roles",
            format!("{role} may not do what it needs: {}. GRANT it", list(of_role)),
        );
    }
    for role in roles_of(further_ones) {
        let of_role = further_ones.iter().filter(|grant| grant.role == role);
        let (retention, others): (Vec<_>, Vec<_>) = of_role.partition(|grant| is_of_retention(grant));
        further(checks, "roles", &role, &others, &retention);
    }
}

fn roles_of(grants: &[PostgresGrant]) -> Vec<String> {
    let mut roles: Vec<String> = grants.iter().map(|grant| grant.role.clone()).collect();
    roles.dedup();
    roles
}

/// The first ones, and how many more there are.
fn list(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{shown} and {more} more"),
        _ => shown,
    }
}
