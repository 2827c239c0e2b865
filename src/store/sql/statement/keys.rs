//! Lists of keys, and their numbers: one set of statements for each index that leads to them.
//!
//! All take the values of `list`: how many rows and how many before them as ?1 and ?2, where the list begins as ?3 and ?4, where it
//! ends as ?5 and ?16, and the filters from ?6 to ?15.

use super::super::dialect::Dialect;
use super::lists::Lists;
use super::text::of;
use super::{BY_ID, BY_NAME, KEY, PAGE, SECRET, statements};

/// Filters: organization ?6, user ?7, status ?8, lookups from ?9 up to ?10, label ?11, environment ?12, creator ?13, ends after ?14 and until ?15.
/// NULL filters nothing, which is asked first where the rest is a query. The index that leads to the rows has served one of them already.
const FILTER: &str = "(i.organization_id = ?6 OR ?6 IS NULL) AND (i.user_id = ?7 OR ?7 IS NULL) AND (i.status = ?8 OR ?8 IS NULL) AND (CAST(?9 AS text) IS NULL OR EXISTS \
     (SELECT 1 FROM {s}key_secrets f WHERE f.key_id = i.id AND f.lookup >= ?9 AND f.lookup < ?10)) \
     AND (CAST(?11 AS text) IS NULL OR EXISTS (SELECT 1 FROM {s}key_labels l WHERE l.key_id = i.id AND l.label = ?11)) \
     AND (i.environment = ?12 OR ?12 IS NULL) AND (i.created_by_key = ?13 OR ?13 IS NULL) \
     AND (i.expires_at > ?14 OR i.expires_at IS NULL OR ?14 IS NULL) AND (i.expires_at <= ?15 OR ?15 IS NULL)";
const KEYS: &str = "{s}keys i";
/// CROSS, so that the labels lead to the keys.
const LABELLED: &str = "{s}key_labels g CROSS JOIN {s}keys i";
/// Labels, after key ?4 and up to ?16.
const BY_KEY: &str = "i.id = g.key_id AND g.label = ?11 AND g.key_id > ?4 AND g.key_id <= ?16";

statements! {
    KeyStatements {
        all: Lists, named: Lists, owned: Lists, owned_named: Lists, of_user: Lists, of_status: Lists,
        of_creator: Lists, labelled: Lists, owned_labelled: Lists
    }
    count_by_end,
}

impl KeyStatements {
    pub(super) fn new(dialect: &Dialect) -> Self {
        let (key, secret) = (of("k", KEY), of("s", SECRET));
        let lists = |from, range: &str, place: &str| {
            // By the key's own columns, which a cut-out range has.
            let order = place.replace("g.key_id", "id");
            // One statement, so that records and their secrets are of one point in time.
            let page = format!(
                "SELECT {key}, {secret} FROM (SELECT i.* FROM {from} WHERE {range} AND {FILTER} ORDER BY {place} {PAGE}) k \
                 LEFT JOIN {{s}}key_secrets s ON s.key_id = k.id ORDER BY {order}, s.position"
            );
            Lists::new(dialect, &page, from, range, FILTER, place)
        };
        let owned = |range: &str| format!("organization_id = ?6 AND {range}");
        let name = "name_folded, id";
        Self {
            all: lists(KEYS, BY_ID, "id"),
            named: lists(KEYS, BY_NAME, name),
            owned: lists(KEYS, &owned(BY_ID), "id"),
            owned_named: lists(KEYS, &owned(BY_NAME), name),
            of_user: lists(KEYS, &owned(&format!("user_id = ?7 AND {BY_ID}")), "id"),
            of_status: lists(KEYS, &owned(&format!("status = ?8 AND {BY_ID}")), "id"),
            of_creator: lists(KEYS, &format!("created_by_key = ?13 AND {BY_ID}"), "id"),
            labelled: lists(LABELLED, BY_KEY, "g.key_id"),
            owned_labelled: lists(LABELLED, &format!("g.organization_id = ?6 AND {BY_KEY}"), "g.key_id"),
            // Of a status: those that end between two times, or after one and never. ?16 is a value as in all of them.
            count_by_end: {
                let of = "SELECT 1 FROM {s}keys WHERE organization_id = ?6 AND status = ?8";
                let text = format!(
                    "SELECT count(*) FROM (SELECT 1 FROM ({of} AND expires_at > coalesce(?14{{n}}, -9223372036854775807) \
                     AND expires_at <= coalesce(?15{{n}}, 9223372036854775807) \
                     UNION ALL {of} AND expires_at IS NULL AND ?15 IS NULL) ended WHERE ?16{{id}} IS NOT NULL {PAGE}) counted"
                );
                dialect.render(&text)
            },
        }
    }
}
