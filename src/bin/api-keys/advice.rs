//! Advice of the library, which names its functions, in words of the command line and the configuration file.

/// What a message advises in code, and the same for who runs this program.
const IN_THE_PROGRAM: [(&str, &str); 13] = [
    (
        "allow tables beside others with `SqliteStoreBuilder::beside_other_tables`",
        "allow tables beside others by `beside_other_tables = true` in the configuration file",
    ),
    (
        "; `SqliteStoreBuilder::exclusive` is for a file that one process has alone, so stop the other one, or open the file in both \
         without it",
        ", and this needs it alone: stop the other one first",
    ),
    (
        "make a backup with `SqliteStore::backup` or `VACUUM INTO`",
        "make a backup with `api-keys backup` or `VACUUM INTO`",
    ),
    (
        "set that of the keys with `PostgresStoreBuilder::schema`",
        "set that of the keys by `schema` in the configuration file",
    ),
    (
        "`PostgresStoreBuilder::without_migrations`, `migrations = false` in a configuration file, leaves it as it is",
        "`migrations = false` in the configuration file leaves it as it is",
    ),
    (
        "choose another name with `PostgresStoreBuilder::schema`, `schema` in a configuration file",
        "choose another name by `schema` in the configuration file",
    ),
    (
        "give that secret to `ApiKeysBuilder::realm_secret`, or accept these keys without verifying their checksums with \
         `ApiKeysBuilder::dangerous_unverified_checksums`",
        "the service that has it in its code can open the database, and this program cannot",
    ),
    (
        "name a file with a root key in API_KEYS_ROOT_KEY_FILE, or call `ApiKeysBuilder::root_keys`",
        "name a file with a root key in API_KEYS_ROOT_KEY_FILE or by --root-key-file",
    ),
    (
        "in the file that API_KEYS_ROOT_KEY_FILE names or to `ApiKeysBuilder::root_keys`",
        "in the file that --root-key-file or API_KEYS_ROOT_KEY_FILE names",
    ),
    (
        "make it one of its own with `ApiKeysBuilder::adopt`",
        "make it one of its own with `api-keys adopt`",
    ),
    ("`AuditTrail::anchor_file` makes it", "`api-keys audit anchor` makes it"),
    (
        "the file was opened with `SqliteStoreBuilder::copy_target`, and no store has been copied into it yet",
        "the file is the target of a copy that has not begun",
    ),
    (
        "the schema was opened with `PostgresStoreBuilder::copy_target`, and no store has been copied into it yet",
        "the schema is the target of a copy that has not begun",
    ),
];

/// A message of the library without names that only code can call.
pub(crate) fn in_the_program(mut text: String) -> String {
    for (code, program) in IN_THE_PROGRAM {
        text = text.replace(code, program);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Of messages that this program cannot cause, or that the log of `serve` has for developers of services as well.
    const ELSEWHERE: [&str; 14] = [
        "ApiKeys::open",
        "ApiKeysBuilder::formats",
        "ApiKeysBuilder::open",
        "ApiKeysBuilder::realm_secret",
        "AuthContext::hold",
        "FileStoreBuilder::dangerous_plaintext",
        "FileStoreBuilder::formats",
        "KeySource::authorization",
        "KeySource::basic",
        "KeySource::websocket_protocol",
        "PostgresStore::open",
        "PostgresStoreBuilder::journal",
        "ProblemJson::with_body",
        "SqliteStoreBuilder::exclusive",
    ];

    /// The texts of the library's code: lines that are no comments, with broken texts joined.
    fn library() -> String {
        let (mut folders, mut all) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], String::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("bin") && !path.ends_with("testing") {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = fs::read_to_string(path).unwrap();
                    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                    all.extend(code.flat_map(|line| [line, "\n"]));
                }
            }
        }
        let broken = Regex::new(r"\\\n\s*").unwrap();
        let all = broken.replace_all(&all, "").into_owned();
        all.replace("{FILE_VARIABLE}", "API_KEYS_ROOT_KEY_FILE")
    }

    #[test]
    fn advice_is_as_the_library_gives_it() {
        let library = library();
        for (code, program) in IN_THE_PROGRAM {
            assert!(library.contains(code), "{code}");
            assert!(!program.contains("::"), "{program}");
        }
    }

    #[test]
    fn no_other_message_names_what_only_code_can_call() {
        let names = Regex::new("`[A-Z][A-Za-z]+::[a-z_]+").unwrap();
        let library = in_the_program(library());
        let mut left: Vec<&str> = names.find_iter(&library).map(|name| &name.as_str()[1..]).collect();
        left.sort_unstable();
        left.dedup();
        assert_eq!(left, ELSEWHERE);
    }
}
