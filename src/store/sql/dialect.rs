//! What databases write differently, and a statement as one of them takes it.

use super::value::Value;

/// How a database writes what statements have in common.
pub(in crate::store) struct Dialect {
    /// What the names of tables start with.
    schema: Box<str>,
    /// In front of the number of a parameter.
    sign: char,
    /// Words in braces, and what they stand for.
    words: &'static [(&'static str, &'static str)],
}

/// A statement with the names of one schema, and which values it takes.
pub(in crate::store) struct Statement {
    text: Box<str>,
    /// Where the value of each parameter stands among those that are given.
    values: Box<[usize]>,
}

impl Dialect {
    pub(in crate::store) fn sqlite(schema: &str) -> Self {
        Self {
            schema: schema.into(),
            sign: '?',
            words: SQLITE,
        }
    }

    #[cfg(feature = "postgres")]
    pub(in crate::store) fn postgres(schema: &str) -> Self {
        Self {
            schema: schema.into(),
            sign: '$',
            words: POSTGRES,
        }
    }

    /// Whether it is that of PostgreSQL.
    pub(in crate::store) fn is_postgres(&self) -> bool {
        self.sign == '$'
    }

    /// A statement from a text in which `{s}` is what the names of tables start with, and parameters are numbered, `?1`. Statements
    /// of one family take the same values, of which each names some. A database that has to know the type of each parameter
    /// does not accept numbers that are left out, so they are numbered anew.
    pub(in crate::store) fn render(&self, text: &str) -> Statement {
        let mut words = text.to_owned();
        for (word, meaning) in self.words {
            words = words.replace(word, meaning);
        }
        let words = words.replace("{s}", &self.schema);
        let mut parts = words.split('?');
        let mut text = parts.next().unwrap_or_default().to_owned();
        let mut values = Vec::new();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let number: usize = number.parse().unwrap_or_default();
            let value = number.saturating_sub(1);
            let index = values.iter().position(|known| *known == value);
            let index = index.unwrap_or_else(|| {
                values.push(value);
                values.len() - 1
            });
            text.push(self.sign);
            text.push_str(&(index + 1).to_string());
            text.push_str(rest);
        }
        Statement {
            text: text.into(),
            values: values.into(),
        }
    }
}

impl Statement {
    pub(in crate::store) fn text(&self) -> &str {
        &self.text
    }

    /// The values of its parameters, of those that are given; `None` if one is missing. A database would take it for NULL, and a
    /// list would have what its filter excludes.
    pub(in crate::store) fn values<'g, 'v>(&self, given: &'g [Value<'v>]) -> Option<Vec<&'g Value<'v>>> {
        self.values.iter().map(|index| given.get(*index)).collect()
    }
}

/// The types of parameters need not be said, and ids are found out by their length.
const SQLITE: &[(&str, &str)] = &[
    ("{id}", ""),
    ("{n}", ""),
    ("{is_id}", "length(organization_id) = 16"),
    ("{state}", ""),
    ("{found}", "{s}key_secrets s"),
    ("{of_lookup}", "WHERE s.lookup = ?1"),
    // What is no JSON is read as such, which is an error of this row alone.
    (
        "{role_scopes}",
        "CASE WHEN k.roles = '[]' THEN NULL WHEN NOT json_valid(k.roles) THEN '' ELSE (SELECT \
         json_group_array(CASE WHEN json_valid(r.scopes) THEN json(r.scopes) END) \
         FROM json_each(k.roles) e JOIN {s}roles r ON r.name = e.value) END",
    ),
];

/// Columns that say which server answers, and from which database, come first: also of a lookup that is not there, a standby
/// knows no more than what it has been sent.
#[cfg(feature = "postgres")]
const POSTGRES: &[(&str, &str)] = &[
    ("{id}", "::uuid"),
    ("{n}", "::bigint"),
    ("{is_id}", "TRUE"),
    ("{standby}", "pg_catalog.pg_is_in_recovery()"),
    ("{realm}", "(SELECT realm_id FROM {s}realm WHERE one)"),
    ("{state}", "x.is_standby, x.realm, "),
    (
        "{found}",
        "(SELECT pg_catalog.pg_is_in_recovery() AS is_standby, (SELECT realm_id FROM {s}realm WHERE one) AS realm) x \
         LEFT JOIN {s}key_secrets s ON s.lookup = ?1",
    ),
    ("{of_lookup}", ""),
    // LIMIT 1, so that each role is looked up by its name.
    (
        "{role_scopes}",
        "CASE WHEN k.roles = '[]' THEN NULL ELSE (SELECT coalesce(pg_catalog.jsonb_agg(r.scopes), '[]') \
         FROM pg_catalog.jsonb_array_elements_text(k.roles) e (name) \
         CROSS JOIN LATERAL (SELECT r.scopes FROM {s}roles r WHERE r.name = e.name LIMIT 1) r) END",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_without_gaps_and_found_again() {
        let dialect = Dialect::sqlite("t_");
        let statement = dialect.render("SELECT a FROM {s}t WHERE b = ?4{id} AND (c > ?16 OR c < ?4) LIMIT ?1");
        assert_eq!(
            statement.text(),
            "SELECT a FROM t_t WHERE b = ?1 AND (c > ?2 OR c < ?1) LIMIT ?3"
        );
        let given: Vec<Value<'_>> = (1..=16).map(Value::Integer).collect();
        let numbers = |values: Vec<&Value<'_>>| values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>();
        let values = statement.values(&given).map(numbers);
        assert_eq!(values.unwrap(), ["Integer(4)", "Integer(16)", "Integer(1)"]);
        assert!(statement.values(&given[..15]).is_none());
    }
}
