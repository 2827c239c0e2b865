//! The schema, as numbered steps up and down.
//!
//! Each database keeps a ledger of the steps it has seen, with a checksum of each: a step that was edited after it was
//! applied somewhere would leave databases that claim one schema and have another. Checksums are frozen from the first
//! release.

#[cfg(feature = "postgres")]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use super::fault::MigrationError;

/// What a database may require of the program that opens it. Raised by the release that first understands a schema which
/// older programs must not use.
pub(in crate::store) const PROGRAM: u32 = 3;

/// The row of the ledger of a database into which a copy was begun that is not finished. The checksum is the id of the source's realm.
/// It asks for a program that there is none of, so that those of before refuse the database as well.
pub(in crate::store) const COPY: i64 = 1_000_000;
pub(in crate::store) const COPY_NAME: &str = "unfinished copy";

/// One step of the schema. Versions count from 1 without gaps. In the texts, `{s}` is what the names of tables start with.
#[derive(Clone, Copy)]
pub(in crate::store) struct Migration {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) up: &'static str,
    pub(in crate::store) down: &'static str,
    /// Programs below this are refused once the step is applied.
    pub(in crate::store) min_program: u32,
}

#[cfg(feature = "postgres")]
pub(in crate::store) const POSTGRES: &[Migration] = &[
    Migration {
        name: "keys",
        up: include_str!("migrations/postgres/0001_keys.up.sql"),
        down: include_str!("migrations/postgres/0001_keys.down.sql"),
        min_program: 3,
    },
    // An older program makes no rows of it, and repeats nothing either.
    Migration {
        name: "idempotency",
        up: include_str!("migrations/postgres/0002_idempotency.up.sql"),
        down: include_str!("migrations/postgres/0002_idempotency.down.sql"),
        min_program: 3,
    },
];

/// Who may do what with the tables of PostgreSQL. `{r}` is what the names of roles start with.
#[cfg(feature = "postgres")]
pub(in crate::store) const ROLES: &str = include_str!("migrations/postgres/roles.sql");

#[cfg(feature = "sqlite")]
pub(in crate::store) const SQLITE: &[Migration] = &[
    Migration {
        name: "keys",
        up: include_str!("migrations/sqlite/0001_keys.up.sql"),
        down: include_str!("migrations/sqlite/0001_keys.down.sql"),
        min_program: 1,
    },
    // An older program would insert secrets without their form: keys that a new realm does not accept.
    Migration {
        name: "realm",
        up: include_str!("migrations/sqlite/0002_realm.up.sql"),
        down: include_str!("migrations/sqlite/0002_realm.down.sql"),
        min_program: 2,
    },
    Migration {
        name: "slugs",
        up: include_str!("migrations/sqlite/0003_slugs.up.sql"),
        down: include_str!("migrations/sqlite/0003_slugs.down.sql"),
        min_program: 2,
    },
    // An older program knows neither policies nor disabled users, and would admit what they refuse; it would also link events
    // without the audit key.
    Migration {
        name: "life",
        up: include_str!("migrations/sqlite/0004_life.up.sql"),
        down: include_str!("migrations/sqlite/0004_life.down.sql"),
        min_program: 3,
    },
    // An older program makes no rows of it, and repeats nothing either.
    Migration {
        name: "idempotency",
        up: include_str!("migrations/sqlite/0005_idempotency.up.sql"),
        down: include_str!("migrations/sqlite/0005_idempotency.down.sql"),
        min_program: 3,
    },
];

/// A row of the ledger.
pub(in crate::store) struct Applied {
    pub(in crate::store) version: u32,
    pub(in crate::store) name: String,
    pub(in crate::store) checksum: String,
    pub(in crate::store) min_program: u32,
}

/// The schema that asks for a newer program than this one. A process that runs on while another one migrates looks for it: it would
/// admit what the next version refuses.
pub(in crate::store) struct Outgrown {
    found: AtomicU32,
    known: u32,
}

impl Outgrown {
    /// Of a program that knows these steps.
    pub(in crate::store) fn by(migrations: &[Migration]) -> Self {
        Self {
            found: AtomicU32::new(0),
            known: number(migrations.len()),
        }
    }

    /// What reads it; NULL while there is none. A copy that is not finished is no schema.
    pub(in crate::store) fn asked() -> String {
        format!("SELECT max(version) FROM {{s}}schema_migrations WHERE min_program > {PROGRAM} AND version < {COPY}")
    }

    pub(in crate::store) fn is(&self, found: Option<u32>) {
        self.found.store(found.unwrap_or(0), Ordering::Release);
    }

    pub(in crate::store) fn check(&self) -> Result<(), MigrationError> {
        match self.found.load(Ordering::Acquire) {
            0 => Ok(()),
            found => Err(MigrationError::Newer {
                found,
                known: self.known,
            }),
        }
    }
}

impl Applied {
    /// Whether it says that a copy into this database is not finished.
    pub(in crate::store) fn is_unfinished_copy(&self) -> bool {
        i64::from(self.version) == COPY && self.name == COPY_NAME
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Migration {
    /// Over the texts with Unix line ends: a checkout on Windows may have changed them.
    pub(in crate::store) fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.name, self.up, self.down] {
            let part = part.replace("\r\n", "\n");
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        crate::key::hex::encode(&hash.finalize())
    }
}

/// The names of the triggers that all steps leave, with `{s}` in front.
pub(in crate::store) fn triggers_of(migrations: &[Migration]) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for line in migrations.iter().flat_map(|migration| migration.up.lines()) {
        let name = |statement| {
            let rest: &str = line.strip_prefix(statement)?;
            rest.split(|c: char| c == ';' || c.is_whitespace()).next()
        };
        if let Some(name) = name("CREATE TRIGGER ").or_else(|| name("CREATE CONSTRAINT TRIGGER ")) {
            names.insert(name);
        } else if let Some(name) = name("DROP TRIGGER ") {
            names.remove(name);
        }
    }
    names
}

/// The functions that all steps leave, and their sources, with `{s}` in them.
#[cfg(feature = "postgres")]
pub(in crate::store) fn functions_of(migrations: &[Migration]) -> BTreeMap<&'static str, &'static str> {
    let mut functions = BTreeMap::new();
    for migration in migrations {
        let name = |text: &'static str| text.split('(').next().unwrap_or_default().trim();
        let dropped = migration.up.split("DROP FUNCTION {s}").skip(1);
        for text in dropped {
            functions.remove(name(text));
        }
        let mut parts = migration.up.split("$function$");
        // Between two marks is a source; before the first stands its name.
        while let (Some(before), Some(source)) = (parts.next(), parts.next()) {
            let named = before.rsplit("FUNCTION {s}").next();
            functions.insert(name(named.unwrap_or_default()), source);
        }
    }
    functions
}

/// How many steps a database has seen, from its ledger ordered by version, if this program may use it.
///
/// Steps that this program does not know are those of a later version; what counts is which programs they allow.
pub(in crate::store) fn check(applied: &[Applied], migrations: &[Migration]) -> Result<usize, MigrationError> {
    if applied.iter().any(Applied::is_unfinished_copy) {
        return Err(MigrationError::UnfinishedCopy);
    }
    let newest = applied.last().map_or(0, |row| row.version);
    if applied.iter().any(|row| row.min_program > PROGRAM) {
        return Err(MigrationError::Newer {
            found: newest,
            known: number(migrations.len()),
        });
    }
    for (index, row) in applied.iter().enumerate() {
        if row.version as usize != index + 1 {
            return Err(MigrationError::Gap {
                version: number(index + 1),
            });
        }
        let known = migrations.get(index);
        if known.is_some_and(|known| known.checksum() != row.checksum) {
            return Err(MigrationError::Altered {
                version: row.version,
                name: row.name.clone(),
            });
        }
    }
    Ok(applied.len())
}

/// Which steps are to be undone, last first, to get from `found` down to `version`.
pub(in crate::store) fn way_down(
    found: usize,
    version: u32,
    migrations: &[Migration],
) -> Result<impl Iterator<Item = usize> + use<>, MigrationError> {
    let (target, known) = (version as usize, migrations.len());
    if target > known {
        return Err(MigrationError::NoSuchVersion {
            version,
            known: number(known),
        });
    }
    if found > known {
        return Err(MigrationError::Newer {
            found: number(found),
            known: number(known),
        });
    }
    if target > found {
        return Err(MigrationError::NotThatFar {
            version,
            found: number(found),
        });
    }
    Ok((target..found).rev())
}

pub(in crate::store) fn number(version: usize) -> u32 {
    u32::try_from(version).unwrap_or(u32::MAX)
}
