//! What is said about the likeliest mistakes.

use tower_api_key::config::{Config, ConfigFileErrorKind};

use super::refused;

/// A text, and the message about it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "[databse]\nurl = \"memory:\"\n",
        "line 1, column 2: unknown section or key `databse`; the sections are database, secrets, formats, hash, cache, limits, \
         sources, proxies, layer, audit, maintenance, server, log",
    ),
    (
        "url = \"memory:\"\n",
        "line 1, column 1: unknown section or key `url`; the sections are database, secrets, formats, hash, cache, limits, \
         sources, proxies, layer, audit, maintenance, server, log",
    ),
    (
        "[cache]\n  ttl = \"5m\"\n",
        "line 2, column 3: unknown key `ttl` in section `cache`; its keys are time_to_live, max_staleness, bytes, read_timeout",
    ),
    (
        "[hash.pool]\nthreads = 2\n",
        "line 2, column 1: unknown key `threads` in section `hash.pool`; its keys are workers, queue_per_worker, deadline, niceness",
    ),
    (
        "[cache]\ntime_to_live = 300\n",
        "line 2, column 16: `cache.time_to_live` must be a whole number with `ms`, `s`, `m` (minutes), `h` or `d` behind it, in \
         quotes: \"250ms\", \"90s\", \"1h30m\", \"90d\", got a number",
    ),
    (
        "[cache]\ntime_to_live = \"5 minutes\"\n",
        "line 2, column 16: `cache.time_to_live` must be a whole number with `ms`, `s`, `m` (minutes), `h` or `d` behind it, in \
         quotes: \"250ms\", \"90s\", \"1h30m\", \"90d\", got \"5 minutes\"",
    ),
    (
        "[cache]\ntime_to_live = \"1ms\"\n",
        "line 2, column 16: `cache.time_to_live` must be between 100ms and 86400s, got 1ms",
    ),
    (
        "[cache]\nbytes = \"64MB\"\n",
        "line 2, column 9: `cache.bytes` must be a number of bytes, or text with `KiB`, `MiB` or `GiB`: 65536, \"64KiB\", got \"64MB\"",
    ),
    (
        "[formats]\nprefix = \"acme\"\n",
        "line 1, column 1: `formats` must be a list of sections: write `[[formats]]`",
    ),
    (
        "[[database]]\nurl = \"memory:\"\n",
        "line 1, column 1: `database` must be one section: write `[database]`",
    ),
    (
        "[[formats]]\nprefix = \"acme_\"\n",
        "line 2, column 10: `formats.prefix` must have at most 32 characters of A-Z, a-z, 0-9, _ and -, with a letter or digit at \
         both ends (the _ behind it is added), got \"acme_\"",
    ),
    (
        "[[formats]]\npreset = \"github\"\n",
        "line 2, column 10: `formats.preset` must be one of \"hk\", \"pk\", \"cmpz\", \"gml\", \"bare_hex\", \
         \"django_rest_framework\", \"sanctum\", \"raw\", \"seam\", got \"github\"",
    ),
    (
        "[[formats]]\npreset = \"hk\"\nprefix = \"acme\"\n",
        "line 3, column 10: `formats.prefix` must not be beside `preset`, which sets all parts of the format",
    ),
    (
        "[[formats]]\npreset = \"seam\"\n",
        "line 2, column 10: `formats.preset` needs a `prefix` beside it",
    ),
    (
        "[[formats]]\nprefix = \"acme\"\nbody_length = 20\n",
        "line 3, column 15: `formats.body_length` must leave at least 128 bits for the secret, got 47 from 20 characters of Base62",
    ),
    (
        "[database]\nurl = \"mysql://root:hunter2@db/keys\"\n",
        "line 2, column 7: `database.url` cannot be used: unknown scheme `mysql` of the store's URL; known are `sqlite`, \
         `postgres`, `file` and `memory`",
    ),
    (
        "[database]\nurl = \"${DATABASE_URL}\"\n",
        "line 2, column 7: `database.url` must not have variables: they are not replaced here. Remove it to use `DATABASE_URL`",
    ),
    (
        "[database]\nurl = \"sqlite:~/keys.db\"\n",
        "line 2, column 7: `database.url` must not begin with `~`: write the folder out, or a path from the folder of this file",
    ),
    (
        "[database]\nurl = \"sqlite:keys.db\"\nschema = \"keys\"\n",
        "line 3, column 10: `database.schema` has no effect on the database of `database.url`, whose scheme is `sqlite`: remove it",
    ),
    (
        "[database]\njournal = true\n",
        "line 2, column 11: `database.journal` must be a path in quotes, or false",
    ),
    (
        "[hash]\nscheme = \"bcrypt\"\n",
        "line 2, column 10: `hash.scheme` must be one of \"argon2id\", \"bcrypt-sha256\", \"sha256\", got \"bcrypt\"",
    ),
    (
        "[hash]\nscheme = \"sha256\"\nmemory_kib = 65536\n",
        "line 3, column 14: `hash.memory_kib` is of scheme \"argon2id\" alone: remove it",
    ),
    (
        "[hash]\npasses = 7\n",
        "line 2, column 10: `hash.passes` must be between 1 and 6, got 7",
    ),
    (
        "[[sources]]\nheader = \"authorization\"\n",
        "line 2, column 10: `sources.header` header `authorization` holds something else than a key; write `authorization = \
         \"Bearer\"`",
    ),
    (
        "[[sources]]\nauthorization = \"Bearer\"\nheader = \"x-api-key\"\n",
        "line 1, column 1: section `sources` needs one of `authorization`, `header`, `basic`, `dangerous_query_parameter` and \
         `websocket_protocol`: write a section `[[sources]]` for each",
    ),
    (
        "[proxies]\nheader = \"x-forwarded-for\"\n",
        "line 1, column 1: section `proxies` needs `networks`, and `header` or `scheme_header`: what proxies write, and who they are",
    ),
    (
        "[proxies]\nheader = \"x-forwarded-proto\"\nnetworks = [\"10.0.0.0/8\"]\n",
        "line 2, column 10: `proxies.header` must be a header that holds an address, got `x-forwarded-proto`",
    ),
    (
        "[server]\nlisten = \"localhost:8080\"\n",
        "line 2, column 10: `server.listen` must be an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\", got \
         \"localhost:8080\"",
    ),
    (
        "[server]\nconcurrency = 0\n",
        "line 2, column 15: `server.concurrency` must be between 1 and 65536, got 0",
    ),
    (
        "[log]\nlevel = \"verbose\"\n",
        "line 2, column 9: `log.level` must be one of \"error\", \"warn\", \"info\", \"debug\", \"trace\", got \"verbose\"",
    ),
    (
        "[maintenance]\norigins = \"5m\"\n",
        "line 2, column 11: `maintenance.origins` must be at least an hour, got 300 seconds",
    ),
    (
        "[cache]\nbytes = \"1MiB\"\nbytes = \"2MiB\"\n",
        "line 3, column 1: invalid TOML: duplicate key",
    ),
];

#[test]
fn message_says_where_what_and_what_to_do() {
    for (text, message) in MISTAKES {
        assert_eq!(refused(text), *message, "{text}");
    }
}

#[test]
fn kinds_tell_mistakes_apart() {
    for (text, kind, place) in [
        ("[a", ConfigFileErrorKind::Syntax, Some((1, 3))),
        ("[log]\na = 1", ConfigFileErrorKind::UnknownKey, Some((2, 1))),
        ("[log]\nformat = 1", ConfigFileErrorKind::InvalidValue, Some((2, 10))),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert_eq!((error.kind(), error.place()), (kind, place), "{error}");
        assert!(error.path().is_none());
    }
}

/// Columns count characters, as editors do.
#[test]
fn place_is_that_of_editors() {
    assert!(refused("# é\n\n[log] # ü\r\n  a = 1\n").starts_with("line 4, column 3: "));
    assert!(refused("audit = { anchor_file = \"ü\", x = 1 }\n").starts_with("line 1, column 30: "));
}

#[test]
fn secrets_are_not_in_messages() {
    for text in [
        "[database]\nurl = \"hunter2\"\n",
        "[database]\nurl = \"postgres://u:hunter2@h/${DB}\"\n",
        "[database]\nurl = \"postgres://u:hunter2@h/db\"\nbusy_timeout = \"1s\"\n",
        "[database]\nurl = \"sqlite://u:hunter2@h/keys.db\"\n",
        "[database]\nurl = postgres://u:hunter2@h/db\n",
        "[database]\nurl = \"postgres://u:hunter2@h/db\n",
        "[database]\n\"postgres://u:hunter2@h/db\" = 1\n",
        "\"hunter2:x\" = 1\n",
        "[database]\nurl = [\"postgres://u:hunter2@h/db\"]\n",
        "[server]\nlisten = \"postgres://u:hunter2@h/db\"\n",
        "[log]\nlevel = \"postgres://u:hunter2@h/db\"\n",
        "[cache]\nbytes = \"postgres://u:hunter2@h/db\"\n",
    ] {
        let error = Config::parse(text).unwrap_err();
        let said = crate::support::chain(&error);
        assert!(!said.contains("hunter2"), "{said}");
    }
    let config = super::config("[database]\nurl = \"postgres://u:hunter2@h/db\"\n");
    assert!(!format!("{config:?} {:?}", config.database_url()).contains("hunter2"));
    assert_eq!(
        config.database_url().unwrap().expose_secret(),
        "postgres://u:hunter2@h/db"
    );
}

#[test]
fn each_section_refuses_unknown_keys() {
    for section in [
        "[database]",
        "[secrets]",
        "[[formats]]",
        "[hash]",
        "[hash.pool]",
        "[cache]",
        "[limits]",
        "[[sources]]",
        "[proxies]",
        "[layer]",
        "[audit]",
        "[maintenance]",
        "[server]",
        "[log]",
    ] {
        for text in [
            format!("{section}\nnot_a_key = 1\n"),
            format!("{section}\nnot_a_key = {{ a = 1 }}\n"),
        ] {
            let error = Config::parse(&text).unwrap_err();
            assert_eq!(error.kind(), ConfigFileErrorKind::UnknownKey, "{error}");
            assert_eq!(error.place(), Some((2, 1)));
            assert!(error.to_string().contains("`not_a_key`"), "{error}");
        }
    }
    let error = Config::parse("[cache.inner]\nbytes = 1\n").unwrap_err();
    assert_eq!(error.kind(), ConfigFileErrorKind::UnknownKey, "{error}");
}

/// Each value goes where it is checked, and comes back as an error there.
#[test]
fn values_out_of_bounds_are_refused_with_the_bounds() {
    for (text, bounds) in [
        ("[database]\nmax_connections = 1", "between 2 and 1000"),
        ("[[formats]]\nprefix = \"a\"\nlookup_length = 25", "between 6 and 24"),
        (
            "[[formats]]\nprefix = \"a\"\nenvironments = [\"LIVE\"]",
            "1 to 16 characters of a-z",
        ),
        ("[[formats]]\nprefix = \"a\"\nseparator = \"ab\"", "one character"),
        ("[[formats]]\nprefix = \"a\"\nseparator = \"x\"", "one of | . _ - ~"),
        ("[hash]\nmemory_kib = 262145", "between 32 and 262144"),
        ("[hash]\nlanes = 9", "between 1 and 8"),
        (
            "[hash]\nmemory_kib = 262144\npasses = 3",
            "times passes must be between",
        ),
        ("[hash.pool]\nworkers = 65", "between 1 and 64"),
        ("[hash.pool]\nqueue_per_worker = 0", "between 1 and 1024"),
        ("[hash.pool]\ndeadline = \"61s\"", "between 10ms and 60s"),
        ("[hash.pool]\nniceness = -1", "between 0 and 19, got -1"),
        ("[cache]\nmax_staleness = \"2h\"", "between 1ms and 3600s"),
        ("[cache]\nbytes = 1000", "at least 1048576"),
        ("[cache]\nread_timeout = \"2m\"", "between 1ms and 60s"),
        ("[limits]\nbuckets = 0", "between 1 and"),
        ("[[sources]]\nauthorization = \"Api Key\"", "must be a token"),
        ("[[sources]]\nauthorization = \"basic\"", "write `basic = "),
        ("[[sources]]\nwebsocket_protocol = \"a,b\"", "must be a token"),
        ("[[sources]]\ndangerous_query_parameter = \"a b\"", "must be letters"),
        (
            "[[sources]]\nheader = \"x-a\"\nleave_others = true",
            "only a scheme of `Authorization`",
        ),
        (
            "[[sources]]\nheader = \"x-a\"\nchallenge = true",
            "is for `basic` alone",
        ),
        (
            "[[sources]]\nheader = \"x-a\"\n[[sources]]\nheader = \"X-A\"",
            "must be different",
        ),
        (
            "[proxies]\nscheme_header = \"x-forwarded-for\"\nnetworks = [\"::1\"]",
            "a scheme",
        ),
        (
            "[proxies]\nheader = \"forwarded\"\nnetworks = [\"10.0.0.0/33\"]",
            "`proxies.networks`",
        ),
        ("[layer]\nchallenge_realm = \"\"", "1 to 128 characters"),
        ("[layer]\nenvironment = \"prod\"", "one of the accepted formats'"),
        ("[maintenance]\nchange_log = \"1m\"", "at least an hour"),
        ("[maintenance]\naudit_events = \"1m\"", "at least an hour"),
        ("[maintenance]\nrefusals = \"1m\"", "at least an hour"),
        ("[maintenance]\nexpired_keys = \"1m\"", "at least an hour"),
        ("[maintenance]\nrevoked_keys = \"1m\"", "at least an hour"),
        ("[server]\nrequest_timeout = \"11m\"", "between 100ms and 600s"),
        ("[server]\nbody_limit = 10", "between 1024 (1 KiB) and"),
        ("[secrets]\nformer_root_key_file = \"a\"", "needs a `root_key_file`"),
    ] {
        let error = Config::parse(text).unwrap_err();
        assert_eq!(error.kind(), ConfigFileErrorKind::InvalidValue, "{error}");
        assert!(error.place().is_some_and(|place| place.0 >= 1), "{error}");
        assert!(error.to_string().contains(bounds), "{text}: {error}");
    }
}

#[cfg(feature = "legacy-hashes")]
#[test]
fn bcrypt_cost_is_bounded() {
    let said = refused("[hash]\nscheme = \"bcrypt-sha256\"\ncost = 15\n");
    assert_eq!(said, "line 3, column 8: `hash.cost` must be between 4 and 14, got 15");
}

#[cfg(not(feature = "legacy-hashes"))]
#[test]
fn bcrypt_names_its_feature() {
    let said = refused("[hash]\nscheme = \"bcrypt-sha256\"\n");
    assert!(said.contains("feature `legacy-hashes`"), "{said}");
}
