//! What `doctor` finds on PostgreSQL.

use super::{of_user, shared};
use crate::doctor::finds;
use crate::postgres_server::{psql, schema_name};
use crate::support::{Cli, Said, said};

/// A schema of its own, so that its roles are its own, and a user with the role of the service.
struct Place {
    cli: Cli,
    schema: String,
    user: String,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            cli: Cli::empty(),
            schema: schema_name(),
            user: schema_name(),
        };
        place.configure("");
        let url = shared();
        place.cli.ok([
            "init",
            "--config",
            "config.toml",
            "--out",
            "operator.key",
            "--database",
            &url,
        ]);
        let (schema, user) = (&place.schema, &place.user);
        psql(
            &shared(),
            &format!("CREATE ROLE {user} LOGIN; GRANT {schema}_service TO {user}"),
        );
        place
    }

    fn configure(&self, more: &str) {
        let text = format!("[database]\nschema = \"{}\"\n{more}", self.schema);
        let path = self.cli.path("config.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn by_hand(&self, sql: &str) {
        psql(&shared(), &sql.replace("{s}", &self.schema).replace("{u}", &self.user));
    }

    fn doctor(&self, user: &str) -> Said {
        let mut command = self.cli.command(["doctor", "--json", "--config", "config.toml"]);
        command.env("DATABASE_URL", of_user(&shared(), user));
        said(command, "")
    }
}

#[test]
fn users_and_roles_are_judged() {
    let place = Place::new();
    let healthy = place.doctor(&place.user);
    assert_eq!(healthy.code, 0, "{healthy:?}");
    for (about, text) in [
        ("user", "may do no more than a service needs"),
        ("roles", "have what the migrations granted"),
        ("change log", "as the migrations made them"),
        ("clock", "the clock of the database agrees"),
        ("TLS", "no connection leaves this machine"),
    ] {
        finds(&healthy, about, Some(true), text);
    }
    finds(&place.doctor("postgres"), "user", Some(false), "is a superuser");

    let owner = schema_name();
    place.by_hand(&format!("CREATE ROLE {owner} LOGIN; GRANT {{s}}_owner TO {owner}"));
    finds(&place.doctor(&owner), "user", None, "can change the audit trail");

    // As the page on PostgreSQL grants it for retention.
    place.by_hand(
        "GRANT DELETE ON {s}.audit_events TO {s}_service; GRANT UPDATE (pruned_seq, pruned_hash) ON {s}.organization_state TO {s}_service",
    );
    let said = place.doctor(&place.user);
    assert_eq!(said.code, 0, "{said:?}");
    finds(&said, "roles", None, "may delete audit events");
    place.by_hand("GRANT TRUNCATE ON {s}.keys TO {u}");
    finds(&place.doctor(&place.user), "user", Some(false), "TRUNCATE ON keys");
    place.by_hand("REVOKE TRUNCATE ON {s}.keys FROM {u}; GRANT SELECT (hash) ON {s}.key_secrets TO {s}_reader");
    finds(
        &place.doctor(&place.user),
        "roles",
        Some(false),
        "SELECT (hash) ON key_secrets",
    );
    place.by_hand(
        "REVOKE SELECT (hash) ON {s}.key_secrets FROM {s}_reader; REVOKE DELETE ON {s}.refusals FROM {s}_service",
    );
    finds(
        &place.doctor(&place.user),
        "roles",
        Some(false),
        "may not do what it needs: DELETE ON refusals",
    );
    place.by_hand("REVOKE {s}_service FROM {u}");
    finds(&place.doctor(&place.user), "database", Some(false), "grant it the role");
}

#[test]
fn stopped_triggers_and_replaced_functions_are_found() {
    let place = Place::new();
    place.by_hand("ALTER TABLE {s}.keys DISABLE TRIGGER keys_log_update");
    let said = place.doctor("postgres");
    finds(&said, "change log", Some(false), "keys_log_update");
    // It was looked at, and not changed.
    finds(&place.doctor(&place.user), "change log", Some(false), "keys_log_update");
    place.by_hand(
        "ALTER TABLE {s}.keys ENABLE ALWAYS TRIGGER keys_log_update; CREATE OR REPLACE FUNCTION {s}.log_row() RETURNS trigger \
         LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    );
    finds(&place.doctor(&place.user), "change log", Some(false), "log_row");
}

#[test]
fn connection_in_clear_to_another_machine_is_found() {
    let cli = Cli::empty();
    let mut command = cli.command(["doctor", "--json"]);
    // Nobody has this address.
    command.env(
        "DATABASE_URL",
        "postgres://keys@192.0.2.1/keys?sslmode=disable&connect_timeout=1",
    );
    let said = said(command, "");
    assert_eq!(said.code, 1, "{said:?}");
    finds(&said, "TLS", Some(false), "192.0.2.1:5432");
    finds(&said, "database", Some(false), "192.0.2.1:5432");
}
