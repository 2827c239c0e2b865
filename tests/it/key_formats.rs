//! Key formats: fixed keys of every preset, round trips with random settings, refusals.

use std::hint::black_box;

use proptest::prelude::*;
use proptest::sample::Index;
use regex::Regex;
use rstest::rstest;
use tower_api_key::ConfigError;
use tower_api_key::key::{
    Alphabet, ApiKey, Checksum, GenerateErrorKind, GeneratedKey, KeyFormat, KeyFormatBuilder, KeyFormats, ServerSecret,
    ServerSecrets,
};

const URL_SAFE_BODY: &str = "AbCdEfGh_JkLmNoPqRsTuVwXyZ0123456789-_AbCdE";
const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn server_secret(id: char) -> ServerSecret {
    ServerSecret::new(id, &[id as u8; 32]).unwrap()
}

fn keyed(id: char) -> Checksum {
    Checksum::Keyed(ServerSecrets::from(server_secret(id)))
}

fn all_presets() -> Vec<KeyFormat> {
    vec![
        KeyFormat::new("acme").unwrap(),
        KeyFormat::cmpz(),
        KeyFormat::pk(),
        KeyFormat::hk(),
        KeyFormat::gml(),
        KeyFormat::bare_hex(),
        KeyFormat::sanctum(),
        KeyFormat::django_rest_framework(),
        KeyFormat::seam("seam").unwrap(),
        KeyFormat::raw(),
    ]
}

#[rstest]
#[case::cmpz(
    KeyFormat::cmpz(),
    "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV",
    "cmpz",
    None,
    "01234567",
    37
)]
#[case::pk_test(KeyFormat::pk(), &format!("pk_test_{URL_SAFE_BODY}"), "pk", Some("test"), "AbCdEfGh", 51)]
#[case::pk_live(KeyFormat::pk(), &format!("pk_live_{URL_SAFE_BODY}"), "pk", Some("live"), "AbCdEfGh", 51)]
#[case::hk_test(KeyFormat::hk(), &format!("hk_test_{URL_SAFE_BODY}"), "hk", Some("test"), "AbCdEfGh", 51)]
#[case::hk_live(KeyFormat::hk(), &format!("hk_live_{URL_SAFE_BODY}"), "hk", Some("live"), "AbCdEfGh", 51)]
#[case::gml(KeyFormat::gml(), &format!("gml_1767225600_{HEX}"), "gml", None, "0123456789ab", 79)]
#[case::bare_hex(KeyFormat::bare_hex(), HEX, "", None, "0123456789ab", 64)]
#[case::sanctum(
    KeyFormat::sanctum(),
    "7|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd",
    "",
    None,
    "7",
    42
)]
#[case::django(
    KeyFormat::django_rest_framework(),
    "kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTUV",
    "",
    None,
    "kYtGbYr2",
    41
)]
#[case::seam(
    KeyFormat::seam("mycompany").unwrap(),
    "mycompany_BRTRKFsL_51FwqftsmMDHHbJAMEXXHCgG", "mycompany", None, "BRTRKFsL", 43
)]
fn preset_reads_keys_of_its_system(
    #[case] format: KeyFormat,
    #[case] text: &str,
    #[case] prefix: &str,
    #[case] environment: Option<&str>,
    #[case] lookup: &str,
    #[case] length: usize,
) {
    assert_eq!(text.len(), length);
    let key = format.parse(text.as_bytes()).unwrap();
    assert_eq!(key.text(), text);
    assert_eq!(
        (key.prefix(), key.environment(), key.lookup()),
        (prefix, environment, lookup)
    );
    assert!(text.ends_with(key.body()));
    assert!(text.ends_with(key.secret()));
    assert!(key.secret().len() < key.body().len());
    assert_eq!(key.hint(), &text[text.len() - 4..]);

    let (shorter, longer) = (text[..text.len() - 1].to_owned(), format!("{text}0"));
    // A secret of Sanctum may have 40 to 48 characters.
    assert_eq!(format.parse(longer.as_bytes()).is_ok(), text.contains('|'));
    for wrong in [
        shorter,
        format!(" {text}"),
        format!("{text}\n"),
        text.replacen(key.hint(), "+pBc", 1),
        text.replacen(key.hint(), "b\u{e9}1", 1),
    ] {
        assert!(format.parse(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn upper_case_hex_is_malformed() {
    assert!(KeyFormat::bare_hex().parse(HEX.to_uppercase().as_bytes()).is_err());
}

#[test]
fn raw_key_has_sha256_of_itself_as_lookup() {
    let raw = KeyFormat::raw();
    let key = raw.parse(b"abcdefghijklmnopqrstuvwxyz").unwrap();
    // SHA-256 of the alphabet, a published vector.
    let hash = "71c480df93d6ae2f1efad1447c66c9525e316218cf51fc8d9ed832f2daf18b73";
    assert_eq!(key.lookup(), hash);
    assert_eq!(key.secret(), "abcdefghijklmnopqrstuvwxyz");
    assert_eq!(key.body(), key.text());
    assert!(format!("{key:?}").contains("71c480df"));
    assert!(!format!("{key:?}").contains("71c480df9"));
    for wrong in [
        "fifteen-letters",
        "sixteen letters.",
        "sixteen-letter\u{e9}",
        "sixteen-letters\t",
    ] {
        assert!(raw.parse(wrong.as_bytes()).is_err(), "{wrong:?}");
    }
}

#[test]
fn sanctum_id_has_one_spelling_and_bounded_length() {
    let format = KeyFormat::sanctum();
    let secret = "a".repeat(40);
    for id in ["1", "18446744073709551615"] {
        assert_eq!(format.parse(format!("{id}|{secret}").as_bytes()).unwrap().lookup(), id);
    }
    for wrong in ["", "0", "07", "-1", "1x", "184467440737095516150", "1|2"] {
        assert!(
            format.parse(format!("{wrong}|{secret}").as_bytes()).is_err(),
            "{wrong:?}"
        );
    }
    for length in 0..=60 {
        let key = format!("1|{}", "a".repeat(length));
        assert_eq!(format.parse(key.as_bytes()).is_ok(), (40..=48).contains(&length));
    }
}

#[test]
fn timestamp_is_part_of_the_body() {
    let format = KeyFormat::gml();
    let text = format!("gml_1767225600_{HEX}");
    let other = format!("gml_1767225601_{HEX}");
    let (one, two) = (
        format.parse(text.as_bytes()).unwrap(),
        format.parse(other.as_bytes()).unwrap(),
    );
    assert_eq!((one.prefix(), one.lookup()), (two.prefix(), two.lookup()));
    assert_ne!(one.body(), two.body());
    for wrong in ["", "0", "01767225600", "17672256a0", "1767225600000", "-5"] {
        assert!(
            format.parse(format!("gml_{wrong}_{HEX}").as_bytes()).is_err(),
            "{wrong:?}"
        );
    }
}

#[test]
fn default_format_has_its_documented_lengths() {
    let format = KeyFormat::new("acme").unwrap();
    let new = format.generate(Some("live")).unwrap();
    let text = new.key().expose_secret();
    assert_eq!(text.len(), "acme_live_".len() + 12 + 32 + 6);
    let key = format.parse(text.as_bytes()).unwrap();
    assert_eq!(key.lookup().len(), 12);
    assert_eq!(key.secret().len(), 32 + 6);
    assert_eq!(key.body().len(), 50);
    assert_eq!(new.hint(), key.hint());
    let prefixes: Vec<&str> = format.environments().collect();
    assert_eq!((format.prefix(), prefixes), ("acme", vec!["live", "test"]));
}

/// So this key parses. The environment of its record refuses it.
#[test]
fn environment_is_not_part_of_the_crc() {
    let format = KeyFormat::new("acme").unwrap();
    let live = format.generate(Some("live")).unwrap();
    let forged = live.key().expose_secret().replace("_live_", "_test_");
    let key = format.parse(forged.as_bytes()).unwrap();
    assert_eq!(key.environment(), Some("test"));

    // With a keyed checksum it does not parse.
    let format = KeyFormat::builder("acme").checksum(keyed('a')).build().unwrap();
    let live = format.generate(Some("live")).unwrap();
    let forged = live.key().expose_secret().replace("_live_", "_test_");
    assert!(format.parse(forged.as_bytes()).is_err());
}

#[test]
fn checksum_covers_every_character() {
    for checksum in [Checksum::Crc32, keyed('a')] {
        let format = KeyFormat::builder("acme").checksum(checksum).build().unwrap();
        let new = format.generate(Some("live")).unwrap();
        let right = new.key().expose_secret().as_bytes();
        for place in 0..right.len() {
            for byte in (0..=u8::MAX).filter(|&byte| byte != right[place]) {
                let mut wrong = right.to_vec();
                wrong[place] = byte;
                assert!(format.parse(&wrong).is_err(), "{byte} at {place}");
            }
        }
    }
}

#[test]
fn separator_has_the_alphabet_on_both_sides() {
    let format = KeyFormat::django_rest_framework();
    for wrong in [
        "kYtGbYr_.0123456789ABCDEFGHIJKLMNOPQRSTUV",
        "kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTU_",
        "kYtGbYr2_0123456789ABCDEFGHIJKLMNOPQRSTUV",
        "kYtGbYr.20123456789ABCDEFGHIJKLMNOPQRSTUV",
    ] {
        assert!(format.parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn crc32_is_that_of_github_tokens() {
    let format = KeyFormat::builder("ghp")
        .without_environments()
        .body_length(30)
        .lookup_length(8)
        .build()
        .unwrap();
    let key = format.parse(b"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").unwrap();
    assert_eq!(key.lookup(), "zQWBuTSO");
    assert!(format.parse(b"ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq16").is_err());
}

#[test]
fn server_secret_rotates_and_forged_key_is_malformed() {
    let format = |secrets: ServerSecrets| {
        KeyFormat::builder("acme")
            .checksum(Checksum::Keyed(secrets))
            .build()
            .unwrap()
    };
    let before = format(ServerSecrets::from(server_secret('a')));
    let announced = format(ServerSecrets::new(server_secret('a'), [server_secret('b')]).unwrap());
    let rotated = format(ServerSecrets::new(server_secret('b'), [server_secret('a')]).unwrap());
    let after = format(ServerSecrets::from(server_secret('b')));
    // The same id with other bytes, which an attacker would have to guess.
    let stranger = ServerSecret::new('a', b"another secret of thirty-two bytes").unwrap();
    let stranger = format(ServerSecrets::from(stranger));

    let parses = |format: &KeyFormat, new: &GeneratedKey| format.parse(new.key().expose_secret().as_bytes()).is_ok();
    let old = before.generate(Some("live")).unwrap();
    let new = rotated.generate(Some("live")).unwrap();
    let forged = stranger.generate(Some("live")).unwrap();
    assert_eq!(old.key().expose_secret().len(), "acme_live_".len() + 44 + 11);
    assert!(parses(&before, &old) && parses(&announced, &old) && parses(&rotated, &old) && !parses(&after, &old));
    assert!(!parses(&before, &new) && parses(&announced, &new) && parses(&rotated, &new) && parses(&after, &new));
    for format in [&before, &announced, &rotated, &after] {
        assert!(!parses(format, &forged));
    }
}

/// Fixed, because all existing keys would stop working if it changed.
#[test]
fn keyed_checksum_has_its_known_value() {
    let format = KeyFormat::builder("acme").checksum(keyed('k')).build().unwrap();
    let text = format!("acme_live_0123456789AB0123456789ABCDEFGHIJKLMNOPQRSTUV{KEYED_VECTOR}");
    assert!(format.parse(text.as_bytes()).is_ok());
}

/// Computed in Python: `hmac.new(b"k" * 32, b"acme_live_0123...UV", "sha256")`, the first eight bytes
/// big-endian, modulo 62^10, in base62 behind the id.
const KEYED_VECTOR: &str = "kAn52hmjhYo";

#[test]
fn several_formats_are_distinguished() {
    let formats = KeyFormats::new(all_presets()).unwrap();
    assert_eq!(formats.iter().len(), 10);
    for format in formats.iter() {
        let environments: Vec<Option<&str>> = match format.environments().next() {
            None => vec![None],
            Some(_) => format.environments().map(Some).collect(),
        };
        for environment in environments {
            let Ok(new) = format.generate(environment) else {
                continue;
            };
            let key = formats.parse(new.key().expose_secret().as_bytes()).unwrap();
            assert_eq!((key.prefix(), key.environment()), (format.prefix(), environment));
            assert_eq!(key.lookup(), new.lookup().as_str());
        }
    }
    let key = formats.parse(b"7|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd").unwrap();
    assert_eq!((key.prefix(), key.lookup()), ("", "7"));
    let key = formats.parse(b"whatever-else-there-was").unwrap();
    assert_eq!((key.prefix(), key.lookup().len()), ("", 64));

    let one = KeyFormats::from(KeyFormat::cmpz());
    let key = one.parse(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV").unwrap();
    assert_eq!((key.prefix(), key.lookup()), ("cmpz", "01234567"));
}

#[test]
fn formats_that_share_a_key_are_refused() {
    let build = |builder: KeyFormatBuilder| builder.build().unwrap();
    let acme = || KeyFormat::new("acme").unwrap();
    let plain = |prefix: &str| {
        KeyFormat::builder(prefix)
            .without_environments()
            .checksum(Checksum::None)
    };
    let refused: Vec<(&str, Vec<KeyFormat>)> = vec![
        ("none", vec![]),
        (
            "too many",
            (0..17).map(|i| KeyFormat::new(&format!("p{i}")).unwrap()).collect(),
        ),
        ("twice", vec![acme(), acme()]),
        ("raw first", vec![KeyFormat::raw(), acme()]),
        ("raw twice", vec![acme(), KeyFormat::raw(), KeyFormat::raw()]),
        (
            "checksum or body",
            vec![
                acme(),
                build(KeyFormat::builder("acme").body_length(50).checksum(Checksum::None)),
            ],
        ),
        (
            "other lookup",
            vec![
                KeyFormat::cmpz(),
                build(plain("cmpz").body_length(32).lookup_length(10)),
            ],
        ),
        (
            "environment or prefix",
            vec![
                build(KeyFormat::builder("acme").environments(["live"])),
                build(KeyFormat::builder("acme_live").without_environments()),
            ],
        ),
        (
            "environment or body",
            vec![
                build(
                    KeyFormat::builder("acme")
                        .environments(["live"])
                        .alphabet(Alphabet::Base64Url)
                        .body_length(43),
                ),
                build(
                    KeyFormat::builder("acme")
                        .without_environments()
                        .alphabet(Alphabet::Base64Url)
                        .body_length(48),
                ),
            ],
        ),
        (
            "hex within base62",
            vec![KeyFormat::bare_hex(), build(plain("").body_length(64))],
        ),
        (
            "time or body",
            vec![
                KeyFormat::gml(),
                build(plain("gml").alphabet(Alphabet::Base64Url).body_length(75)),
            ],
        ),
        (
            "separator or body",
            vec![
                KeyFormat::seam("a").unwrap(),
                build(
                    plain("a")
                        .alphabet(Alphabet::Base64Url)
                        .body_length(33)
                        .lookup_length(10),
                ),
            ],
        ),
    ];
    for (what, formats) in refused {
        assert!(KeyFormats::new(formats).is_err(), "{what}");
    }
    let accepted: Vec<(&str, Vec<KeyFormat>)> = vec![
        (
            "other length",
            vec![acme(), build(KeyFormat::builder("acme").body_length(45))],
        ),
        (
            "other environments",
            vec![acme(), build(KeyFormat::builder("acme").environments(["dev"]))],
        ),
        (
            "no underscore in base62",
            vec![
                build(KeyFormat::builder("acme").environments(["live"])),
                build(KeyFormat::builder("acme").without_environments().body_length(49)),
            ],
        ),
        ("raw last", vec![acme(), KeyFormat::raw()]),
    ];
    for (what, formats) in accepted {
        assert!(KeyFormats::new(formats).is_ok(), "{what}");
    }
}

/// With the secret of a realm its keys would be as long as those of the other one.
#[test]
fn both_lengths_of_the_default_format_exclude_others() {
    let plain = |length| {
        let builder = KeyFormat::builder("acme").body_length(length).checksum(Checksum::None);
        KeyFormats::new([KeyFormat::new("acme").unwrap(), builder.build().unwrap()])
    };
    assert!(plain(44 + 6).is_err() && plain(44 + 11).is_err());
    assert!(plain(44 + 5).is_ok() && plain(44 + 7).is_ok() && plain(44 + 12).is_ok());
}

#[rstest]
#[case::prefix_empty("prefix", KeyFormat::new("").map(drop))]
#[case::prefix_space("prefix", KeyFormat::new("ac me").map(drop))]
#[case::prefix_underscore_at_end("prefix", KeyFormat::new("acme_").map(drop))]
#[case::prefix_underscore_at_start("prefix", KeyFormat::new("_acme").map(drop))]
#[case::prefix_not_ascii("prefix", KeyFormat::new("\u{e4}cme").map(drop))]
#[case::prefix_colon("prefix", KeyFormat::new("ac:me").map(drop))]
#[case::prefix_long("prefix", KeyFormat::new(&"a".repeat(33)).map(drop))]
#[case::prefix_of_seam("prefix", KeyFormat::seam("").map(drop))]
#[case::environment_underscore("environments", acme(|b| b.environments(["live", "live_eu"])))]
#[case::environment_twice("environments", acme(|b| b.environments(["live", "live"])))]
#[case::environment_empty("environments", acme(|b| b.environments([""])))]
#[case::environment_upper_case("environments", acme(|b| b.environments(["Live"])))]
#[case::environment_long("environments", acme(|b| b.environments(["a".repeat(17)])))]
#[case::environments_many("environments", acme(|b| b.environments((0..17).map(|i| format!("e{i}")))))]
#[case::environment_without_prefix("environments", KeyFormat::builder("").build().map(drop))]
#[case::lookup_none("lookup length", acme(|b| b.lookup_length(0)))]
#[case::lookup_few_bits("lookup length", acme(|b| b.lookup_length(5)))]
#[case::lookup_few_hex_bits("lookup length", acme(|b| b.alphabet(Alphabet::Hex).body_length(64).lookup_length(7)))]
#[case::lookup_long("lookup length", acme(|b| b.body_length(60).lookup_length(25)))]
#[case::secret_weak("body length", acme(|b| b.body_length(12 + 21)))]
#[case::secret_weak_hex("body length", acme(|b| b.alphabet(Alphabet::Hex).body_length(12 + 31)))]
#[case::secret_none("body length", acme(|b| b.body_length(12)))]
#[case::body_shorter_than_lookup("body length", acme(|b| b.body_length(3)))]
#[case::hashed_weak("body length", acme(|b| b.hashed_lookup().body_length(21)))]
#[case::key_long("body length", acme(|b| b.body_length(257 - 10 - 11)))]
#[case::key_huge("body length", acme(|b| b.body_length(usize::MAX)))]
#[case::key_long_by_timestamp("body length", acme(|b| b.timestamp().body_length(223)))]
#[case::separator_in_alphabet("separator", acme(|b| b.alphabet(Alphabet::Base64Url).separator('_')))]
#[case::separator_letter("separator", acme(|b| b.separator('x')))]
#[case::separator_colon("separator", acme(|b| b.separator(':')))]
#[case::separator_wide("separator", acme(|b| b.separator('\u{17c}')))]
#[case::separator_of_nothing("separator", acme(|b| b.hashed_lookup().separator('.')))]
fn impossible_setting_is_named_in_the_error(#[case] setting: &str, #[case] result: Result<(), ConfigError>) {
    let error = result.unwrap_err();
    assert_eq!(error.setting(), setting, "{error}");
}

fn acme(options: impl Fn(KeyFormatBuilder) -> KeyFormatBuilder) -> Result<(), ConfigError> {
    options(KeyFormat::builder("acme")).build().map(drop)
}

#[test]
fn settings_at_their_bounds_work() {
    acme(|b| b.body_length(12 + 22)).unwrap();
    acme(|b| b.body_length(256 - 10 - 11)).unwrap();
    acme(|b| b.timestamp().body_length(222)).unwrap();
    acme(|b| b.lookup_length(6)).unwrap();
    acme(|b| b.body_length(46).lookup_length(24)).unwrap();
    KeyFormat::new(&"a".repeat(32)).unwrap();
    KeyFormat::new("my-company_2").unwrap();
}

#[test]
fn generate_refuses_import_only_and_unknown_environment() {
    let kind = |format: KeyFormat, environment| format.generate(environment).unwrap_err().kind();
    let acme = KeyFormat::new("acme").unwrap();
    assert_eq!(kind(acme.clone(), None), GenerateErrorKind::UnknownEnvironment);
    assert_eq!(kind(acme, Some("prod")), GenerateErrorKind::UnknownEnvironment);
    assert_eq!(
        kind(KeyFormat::cmpz(), Some("live")),
        GenerateErrorKind::UnknownEnvironment
    );
    assert_eq!(kind(KeyFormat::sanctum(), None), GenerateErrorKind::ImportOnly);
    assert_eq!(kind(KeyFormat::raw(), None), GenerateErrorKind::ImportOnly);
}

#[test]
fn keys_of_hostile_lengths_are_malformed() {
    for format in all_presets() {
        let raw = format.scanner_regex().is_none();
        for length in [0, 256, 257, 100_000] {
            for byte in [b'a', b'0', b'_', 0, 0xff] {
                let mut key = format!("{}_", format.prefix()).into_bytes();
                key.resize(length.max(key.len()), byte);
                key.truncate(length);
                let takes = raw && length == 256 && byte.is_ascii_graphic();
                assert_eq!(format.parse(&key).is_ok(), takes, "{format:?} {length} {byte}");
            }
        }
    }
}

#[test]
fn parsing_allocates_nothing() {
    let formats = KeyFormats::new([
        KeyFormat::cmpz(),
        KeyFormat::pk(),
        KeyFormat::gml(),
        KeyFormat::builder("keyed").checksum(keyed('a')).build().unwrap(),
        KeyFormat::new("acme").unwrap(),
    ])
    .unwrap();
    for format in formats.iter() {
        let environment = format.environments().next();
        let new = format.generate(environment).unwrap();
        let text = new.key().expose_secret();
        let broken = text.replace(&text[text.len() - 4..], "????");
        let counted = allocation_counter::measure(|| {
            let key = formats.parse(black_box(text.as_bytes())).unwrap();
            black_box((key.lookup(), key.body(), key.environment()));
            assert!(formats.parse(black_box(broken.as_bytes())).is_err());
        });
        assert_eq!(counted.count_total, 0, "{format:?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let secret = "0123456789ABCDEFGHIJKLMNOPQRSTUV";
    let format = KeyFormat::cmpz();
    let text = format!("cmpz_{secret}");
    let key = format.parse(text.as_bytes()).unwrap();
    assert_eq!(
        format!("{key:?}"),
        r#"ParsedKey { prefix: "cmpz", environment: None, lookup: "01234567", .. }"#
    );
    let new = format.generate(None).unwrap();
    let text = new.key().expose_secret().to_owned();
    assert!(!format!("{new:?}").contains(&text[13..]));

    let secrets = ServerSecrets::new(server_secret('Q'), [server_secret('Z')]).unwrap();
    let format = KeyFormat::builder("acme").checksum(Checksum::Keyed(secrets));
    for shown in [format!("{format:?}"), format!("{:?}", format.build().unwrap())] {
        assert_eq!(shown.matches("[redacted]").count(), 2, "{shown}");
        assert!(!shown.contains("81, 81") && !shown.contains("QQ"), "{shown}");
    }
    let error = KeyFormat::cmpz().parse(b"cmpz_wrong").unwrap_err();
    assert_eq!(error.to_string(), "malformed API key");
    assert_eq!(format!("{error:?}"), "MalformedKey(())");
}

static_assertions::assert_not_impl_any!(ServerSecret: Clone, PartialEq, std::fmt::Display);
static_assertions::assert_not_impl_any!(ServerSecrets: PartialEq, std::fmt::Display);
static_assertions::assert_not_impl_any!(ApiKey: Clone, PartialEq, std::fmt::Display);
static_assertions::assert_not_impl_any!(GeneratedKey: Clone, PartialEq, std::fmt::Display);
static_assertions::assert_not_impl_any!(tower_api_key::key::ParsedKey<'static>: PartialEq, std::fmt::Display);
static_assertions::assert_impl_all!(KeyFormats: Send, Sync, Clone);

#[test]
fn scanner_regex_finds_keys_in_a_text() {
    for (format, key) in [
        (KeyFormat::cmpz(), "cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV".to_owned()),
        (KeyFormat::pk(), format!("pk_test_{URL_SAFE_BODY}")),
        (KeyFormat::pk(), format!("pk_test_{}-", &URL_SAFE_BODY[..42])),
        (KeyFormat::gml(), format!("gml_1767225600_{HEX}")),
        (KeyFormat::bare_hex(), HEX.to_owned()),
        (
            KeyFormat::sanctum(),
            "7|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl".to_owned(),
        ),
        (
            KeyFormat::django_rest_framework(),
            "kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTUV".to_owned(),
        ),
        (
            KeyFormat::seam("seam").unwrap(),
            "seam_BRTRKFsL_51FwqftsmMDHHbJAMEXXHCgG".to_owned(),
        ),
    ] {
        assert!(format.parse(key.as_bytes()).is_ok(), "{key}");
        let regex = Regex::new(&format.scanner_regex().unwrap()).unwrap();
        for text in [
            key.clone(),
            format!("KEY=\"{key}\"\n"),
            format!("curl -H 'x-api-key: {key}' host"),
        ] {
            assert_eq!(
                regex.find(&text).map(|found| found.as_str()),
                Some(&*key),
                "{regex} in {text}"
            );
        }
        assert!(!regex.is_match(&format!("{key}0")), "{regex}");
        assert!(!regex.is_match(&key[..key.len() - 9]), "{regex}");
    }
    assert_eq!(KeyFormat::raw().scanner_regex(), None);
}

fn settings() -> impl Strategy<Value = KeyFormat> {
    settings_with(0..4)
}

/// Checksums: 0 for none, 1 for CRC-32, 2 for a keyed one, 3 for that of a realm.
fn settings_with(checksums: std::ops::Range<u8>) -> impl Strategy<Value = KeyFormat> {
    let environments = prop_oneof![
        Just(vec![]),
        Just(vec!["live", "test"]),
        Just(vec!["production", "staging-2", "dev"])
    ];
    let alphabet = prop_oneof![Just(Alphabet::Base62), Just(Alphabet::Base64Url), Just(Alphabet::Hex)];
    let separator = prop_oneof![3 => Just(None), 1 => Just(Some('.')), 1 => Just(Some('|')), 1 => Just(Some('~'))];
    (
        "[A-Za-z0-9]([A-Za-z0-9_-]{0,6}[A-Za-z0-9])?",
        environments,
        alphabet,
        8..=24usize,
        32..=100usize,
        separator,
        any::<bool>(),
        prop::bool::weighted(0.2),
        checksums,
    )
        .prop_map(
            |(prefix, environments, alphabet, lookup, secret, separator, timestamp, hashed, checksum)| {
                let mut builder = KeyFormat::builder(&prefix)
                    .environments(environments)
                    .alphabet(alphabet)
                    .lookup_length(lookup)
                    .body_length(lookup + secret)
                    .checksum(match checksum {
                        0 => Checksum::None,
                        1 => Checksum::Crc32,
                        3 => Checksum::Realm,
                        _ => Checksum::Keyed(ServerSecrets::new(server_secret('a'), [server_secret('b')]).unwrap()),
                    });
                if timestamp {
                    builder = builder.timestamp();
                }
                if hashed {
                    builder = builder.hashed_lookup();
                } else if let Some(separator) = separator {
                    builder = builder.separator(separator);
                }
                builder.build().unwrap()
            },
        )
}

fn environment_of(format: &KeyFormat, pick: Index) -> Option<String> {
    let environments: Vec<&str> = format.environments().collect();
    (!environments.is_empty()).then(|| pick.get(&environments).to_string())
}

proptest! {
    #[test]
    fn new_key_parses_into_the_same_parts(format in settings(), pick in any::<Index>()) {
        let environment = environment_of(&format, pick);
        let new = format.generate(environment.as_deref()).unwrap();
        let text = new.key().expose_secret();
        let key = format.parse(text.as_bytes()).unwrap();
        prop_assert_eq!(key.text(), text);
        prop_assert_eq!(key.lookup(), new.lookup().as_str());
        prop_assert_eq!(key.prefix(), format.prefix());
        prop_assert_eq!(key.environment(), environment.as_deref());
        let head = match &environment {
            Some(environment) => format!("{}_{environment}_", format.prefix()),
            None => format!("{}_", format.prefix()),
        };
        prop_assert_eq!(format!("{head}{}", key.body()), text);
        let again = format.generate(environment.as_deref()).unwrap();
        prop_assert_ne!(again.lookup(), new.lookup());
    }

    #[test]
    fn checksum_refuses_a_changed_character(
        format in settings_with(1..3),
        pick in any::<Index>(),
        place in any::<Index>(),
        byte in 0u8..=255,
    ) {
        let environment = environment_of(&format, pick);
        let new = format.generate(environment.as_deref()).unwrap();
        let mut key = new.key().expose_secret().as_bytes().to_vec();
        let place = place.index(key.len());
        prop_assume!(key[place] != byte);
        key[place] = byte;
        prop_assert!(format.parse(&key).is_err());
    }

    /// Parsed keys are used as text, even without a checksum.
    #[test]
    fn key_with_non_ascii_byte_is_malformed(format in settings(), pick in any::<Index>(), place in any::<Index>(), byte in 128u8..=255) {
        let new = format.generate(environment_of(&format, pick).as_deref()).unwrap();
        for key in [new.key().expose_secret(), &format!("12|{}", "a".repeat(40)), &"r".repeat(60)] {
            let formats = [format.clone(), KeyFormat::sanctum(), KeyFormat::raw()];
            prop_assert!(formats.iter().any(|format| format.parse(key.as_bytes()).is_ok()));
            let mut key = key.as_bytes().to_vec();
            let place = place.index(key.len());
            key[place] = byte;
            prop_assert!(formats.iter().all(|format| format.parse(&key).is_err()));
        }
    }

    /// Swapped characters stay in the alphabet, so only the checksum detects them.
    #[test]
    fn default_format_refuses_swapped_neighbours(place in 0..49usize) {
        let format = KeyFormat::new("acme").unwrap();
        let new = format.generate(Some("live")).unwrap();
        let mut key = new.key().expose_secret().as_bytes().to_vec();
        prop_assume!(key[10 + place] != key[11 + place]);
        key.swap(10 + place, 11 + place);
        prop_assert!(format.parse(&key).is_err());
    }

    #[test]
    fn scanner_regex_finds_new_keys_and_no_cut_ones(format in settings(), pick in any::<Index>(), place in any::<Index>()) {
        let regex = Regex::new(&format.scanner_regex().unwrap()).unwrap();
        let new = format.generate(environment_of(&format, pick).as_deref()).unwrap();
        let key = new.key().expose_secret();
        let text = format!("key: {key}, again '{key}'");
        let found: Vec<&str> = regex.find_iter(&text).map(|found| found.as_str()).collect();
        prop_assert_eq!(found, vec![key, key]);

        let place = place.index(key.len());
        let foreign = format!("{}!{}", &key[..place], &key[place + 1..]);
        prop_assert!(!regex.is_match(&foreign), "{} in {}", regex, foreign);
        let long = format!("{key}a");
        prop_assert!(!regex.is_match(&long), "{} in {}", regex, long);
    }

    #[test]
    fn no_bytes_panic(format in settings(), tail in prop::collection::vec(any::<u8>(), 0..300), keep in any::<Index>()) {
        let _ = format.parse(&tail);
        let environment = format.environments().next().map(str::to_owned);
        let new = format.generate(environment.as_deref()).unwrap();
        let mut key = new.key().expose_secret().as_bytes().to_vec();
        key.truncate(keep.index(key.len()));
        prop_assert!(format.parse(&key).is_err());
        key.extend(&tail);
        let _ = format.parse(&key);
        let presets = KeyFormats::new(all_presets()).unwrap();
        let _ = presets.parse(&key);
        let _ = presets.parse(&tail);
    }

    #[test]
    fn accepted_formats_share_no_key(one in similar(), two in similar()) {
        if KeyFormats::new([one.clone(), two.clone()]).is_ok() {
            for (format, other) in [(&one, &two), (&two, &one)] {
                let new = format.generate(format.environments().last()).unwrap();
                prop_assert!(other.parse(new.key().expose_secret().as_bytes()).is_err(), "{:?} {:?}", one, two);
            }
        }
    }
}

/// Formats with small differences.
fn similar() -> impl Strategy<Value = KeyFormat> {
    (
        prop_oneof![Just("a"), Just("a_b")],
        prop_oneof![Just(vec![]), Just(vec!["b"]), Just(vec!["c", "b"])],
        prop_oneof![Just(Alphabet::Base62), Just(Alphabet::Base64Url)],
        40..=45usize,
        prop_oneof![Just(None), Just(Some('.')), Just(Some('~'))],
        prop_oneof![Just(Checksum::None), Just(Checksum::Crc32), Just(Checksum::Realm)],
    )
        .prop_map(|(prefix, environments, alphabet, length, separator, checksum)| {
            let mut builder = KeyFormat::builder(prefix)
                .environments(environments)
                .alphabet(alphabet)
                .body_length(length)
                .checksum(checksum);
            if let Some(separator) = separator {
                builder = builder.separator(separator);
            }
            builder.build().unwrap()
        })
}
