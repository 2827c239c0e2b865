//! The roles of a schema, and what operators hear of them.

use tokio_postgres::Transaction;

use super::schema::Schema;
use crate::store::StoreError;
use crate::store::sql::migration::ROLES;

/// What was done about the roles of a schema, to be logged once it is committed.
#[must_use]
pub(super) struct Granted {
    roles: Vec<Role>,
    /// What the user may not do, a line for each.
    left_out: Vec<String>,
}

struct Role {
    name: String,
    is_new: bool,
    purpose: &'static str,
}

/// Makes the roles that are missing, and grants all of them what is theirs, as far as the user may.
pub(super) async fn grant(transaction: &Transaction<'_>, schema: &Schema) -> Result<Granted, StoreError> {
    transaction.batch_execute(&schema.rendered(ROLES)).await?;
    let names: Vec<String> = PURPOSES.iter().map(|(role, _)| schema.rendered(role)).collect();
    let row = transaction.query_one(SAID, &[&names]).await?;
    let (there, new, left_out): (Vec<String>, Vec<String>, Vec<String>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let roles = names.into_iter().zip(PURPOSES).filter(|(name, _)| there.contains(name));
    let roles = roles.map(|(name, (_, purpose))| Role {
        is_new: new.contains(&name),
        name,
        purpose,
    });
    Ok(Granted {
        roles: roles.collect(),
        left_out,
    })
}

impl Granted {
    pub(super) fn log(self) {
        for Role { name, is_new, purpose } in self.roles {
            tracing::info!(
                role = name,
                is_new,
                purpose,
                "to use this role, run: GRANT {name} TO <user>;"
            );
        }
        for what in self.left_out {
            tracing::warn!(what, "left out, because the user of the migrations may not do it");
        }
    }
}

const PURPOSES: [(&str, &str); 3] = [
    ("{r}owner", "owns the tables: for the user of migrations"),
    ("{r}service", "checks and manages keys: for the user of the service"),
    (
        "{r}reader",
        "reads all but hashes, secrets and personal fields: for reports",
    ),
];

/// Which of these roles are there, which of them are new, and what was left out.
const SAID: &str = "SELECT ARRAY(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY($1)), \
     pg_catalog.string_to_array(coalesce(pg_catalog.current_setting('tower_api_key.new_roles', TRUE), ''), ','), \
     pg_catalog.string_to_array(coalesce(pg_catalog.current_setting('tower_api_key.left_out', TRUE), ''), pg_catalog.chr(10))";
