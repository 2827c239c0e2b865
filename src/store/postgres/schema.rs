//! The schema that holds the tables.

use super::fault::Unusable;
use crate::store::sql::Dialect;

/// The name of a schema, which needs no more than quotes.
#[derive(Clone, Debug)]
pub(super) struct Schema(Box<str>);

impl Schema {
    pub(super) fn new(name: &str) -> Result<Self, Unusable> {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins_well = !name.starts_with("pg_") && !name.starts_with(|c: char| c.is_ascii_digit());
        match (1..=LONGEST).contains(&name.len()) && begins_well && name.bytes().all(is_word) {
            true => Ok(Self(name.into())),
            false => Err(Unusable::SchemaName),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    pub(super) fn dialect(&self) -> Dialect {
        Dialect::postgres(&self.prefix())
    }

    /// A text in which `{s}` is what the names of tables start with, and `{r}` what the names of roles do.
    pub(super) fn rendered(&self, text: &str) -> String {
        text.replace("{s}", &self.prefix())
            .replace("{r}", &format!("{}_", self.0))
    }

    fn prefix(&self) -> String {
        format!("\"{}\".", self.0)
    }
}

/// PostgreSQL cuts names off after 63 bytes, and those of roles are longer by a word.
const LONGEST: usize = 48;
