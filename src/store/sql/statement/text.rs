//! Parts of statements, made from lists of columns.

/// How many columns a list has.
pub(in crate::store::sql) const fn count(columns: &str) -> usize {
    let (mut number, mut index) = (1, 0);
    while index < columns.len() {
        if columns.as_bytes()[index] == b',' {
            number += 1;
        }
        index += 1;
    }
    number
}

/// The columns of the table that a query calls so.
pub(super) fn of(table: &str, columns: &str) -> String {
    format!("{table}.{}", columns.replace(", ", &format!(", {table}.")))
}

/// A parameter for each column.
pub(super) fn numbers(columns: &str) -> String {
    let numbers: Vec<String> = (1..=count(columns)).map(|number| format!("?{number}")).collect();
    numbers.join(", ")
}

pub(super) fn insert(table: &str, columns: &str) -> String {
    format!("INSERT INTO {{s}}{table} ({columns}) VALUES ({})", numbers(columns))
}

/// That all columns but the first ones are as they are given after those of an update.
pub(super) fn unchanged(columns: &str, first: usize) -> String {
    let others = columns.split(", ").skip(first);
    let same = (count(columns) + 1..)
        .zip(others)
        .map(|(number, column)| format!("{column} IS NOT DISTINCT FROM ?{number}"));
    same.collect::<Vec<_>>().join(" AND ")
}

/// Sets all columns but the first ones, in the row that has those as they are given. A revision is raised by one.
pub(super) fn update(table: &str, columns: &str, first: usize) -> String {
    let (mut row, mut set) = (Vec::new(), Vec::new());
    for (number, column) in (1..).zip(columns.split(", ")) {
        if number <= first {
            row.push(format!("{column} = ?{number}"));
        }
        if column == "revision" {
            set.push(format!("revision = ?{number}{{n}} + 1"));
        } else if number > first {
            set.push(format!("{column} = ?{number}"));
        }
    }
    format!("UPDATE {{s}}{table} SET {} WHERE {}", set.join(", "), row.join(" AND "))
}

/// The first text after all that start so, in the order of their bytes.
pub(in crate::store) fn after_prefix(prefix: &str) -> String {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        let next = match last {
            '\u{d7ff}' => Some('\u{e000}'),
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            text.push(next);
            return text;
        }
    }
    // After every text there is: this many of the last character are in no name.
    char::MAX.to_string().repeat(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_table_name_its_columns_in_order() {
        let columns = "id, revision, name";
        assert_eq!((count(columns), count("id")), (3, 1));
        assert_eq!(of("o", columns), "o.id, o.revision, o.name");
        assert_eq!(
            insert("t", columns),
            "INSERT INTO {s}t (id, revision, name) VALUES (?1, ?2, ?3)"
        );
        let raised = "UPDATE {s}t SET revision = ?2{n} + 1, name = ?3 WHERE id = ?1 AND revision = ?2";
        assert_eq!(update("t", columns, 2), raised);
        assert_eq!(
            update("t", "id, n, a, b", 2),
            "UPDATE {s}t SET a = ?3, b = ?4 WHERE id = ?1 AND n = ?2"
        );
    }

    #[test]
    fn text_after_a_prefix_is_the_next_one() {
        for (prefix, after) in [("a", "b"), ("az", "a{"), ("é", "ê"), ("\u{d7ff}", "\u{e000}")] {
            assert_eq!(after_prefix(prefix), after);
            assert!(format!("{prefix}\u{10ffff}").as_str() < after);
        }
        assert_eq!(after_prefix("a\u{10ffff}"), "b");
        assert!(after_prefix("").as_str() > "\u{10ffff}name");
    }
}
