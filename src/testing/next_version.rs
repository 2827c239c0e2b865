//! A schema that only tests know.

use crate::store::PostgresStoreBuilder;

/// The builder of a program of the next version, which has one more step of the schema: for tests of a rolling upgrade, beside a
/// program that does not know it. `{s}` stands for what the names of tables start with.
///
/// ```
/// use tower_api_key::store::PostgresStore;
/// use tower_api_key::testing::next_version;
///
/// let up = "ALTER TABLE {s}keys ADD COLUMN region text";
/// let builder = next_version(PostgresStore::builder(), up, "ALTER TABLE {s}keys DROP COLUMN region");
/// # let _ = builder;
/// ```
pub fn next_version(builder: PostgresStoreBuilder, up: &'static str, down: &'static str) -> PostgresStoreBuilder {
    builder.next_version(up, down)
}
