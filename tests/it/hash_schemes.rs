//! Hashes of every scheme, made by other software, and hostile texts in their place.
// Helpers outside of `#[test]` functions unwrap too: a panic there is a failed test.

use std::error::Error;

use proptest::prelude::*;
use rstest::rstest;
use tower_api_key::hash::{
    Argon2Params, HashPolicy, HashPool, InvalidHash, InvalidHashKind, PoolErrorKind, sha256, validate, verify_sha256,
};
use tower_api_key::key::{ApiKey, SecretHash};

const KEY: &str = "acme_live_0123456789ABabcdefghijklmnopqrstuvwxyzABCDEF0mLq17";

fn key(text: &str) -> ApiKey {
    ApiKey::from(String::from(text))
}

fn hash(text: &str) -> SecretHash {
    SecretHash::new(text).unwrap()
}

/// The error of verifying a key with this text. Asserts that no worker ran.
async fn refused(text: &str) -> InvalidHashKind {
    let pool = HashPool::builder().build();
    let error = pool.verify(&hash(text), &key(KEY)).await.expect_err(text);
    assert_eq!(error.kind(), PoolErrorKind::InvalidHash, "{text}");
    assert_eq!(error.retry_after(), None, "{text}");
    assert_eq!(pool.hashes_run(), 0, "{text}");
    let source = error.source().and_then(|source| source.downcast_ref::<InvalidHash>());
    let kind = source.expect("the source must say what is wrong").kind();
    assert_eq!(validate(&hash(text)).unwrap_err().kind(), kind);
    kind
}

/// Made by argon2-cffi 25 (the reference C library), hashlib and, with `legacy-hashes`, the `bcrypt` package.
#[rstest]
#[case("$argon2id$v=19$m=1024,t=1,p=4$MDEyMzQ1Njc4OWFiY2RlZg$oOFILnrgTHdRuwZO2FI3qJUbld349TCB/lHTLfwr+74")]
#[case("$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$QRB1qar40utA64mDlrxJwTpmhiHgPd5dfEsEriXEtfs")]
#[case("$argon2id$v=19$m=65536,t=1,p=4$MDEyMzQ1Njc4OWFiY2RlZg$UDuHT+E61E/OjOXeTltKos8QjAZjB6SjAZ+Nf2vFCaQ")]
#[case("$argon2id$v=19$m=64,t=3,p=2$c2FsdHNhbHQ$uxHV9mQPCmy4XzX7Xl6j4dgegTVogYWAEK+WlBdNWAI")]
#[case(
    "$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm$jYBmPCEsah7IPQBJFV6qAPP6eJJh1cMhnf9pDSI20Nc"
)]
#[case("sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("sha256:3447B54F53E8427AC64EF97CC413EF1C7BADFB82DBF85A39F16DA40F4D1E1623")]
#[case(
    "sha512:a7e8a3a4bb8901c6bdbd3ef8e4d6b2c8499ae88e59400c37d462a374dd2893572ae7b969799721709602ab2cc1f869e020e785e0826adaa76d7e689d25898f9c"
)]
#[cfg_attr(
    feature = "legacy-hashes",
    case("bcrypt-sha256:$2b$04$abcdefghijklmnopqrstuuemYve4ylSRo1dHVXcP63M1F3vNNEnD.")
)]
#[cfg_attr(
    feature = "legacy-hashes",
    case("$2b$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa")
)]
#[cfg_attr(
    feature = "legacy-hashes",
    case("$2a$05$abcdefghijklmnopqrstuuKoRuzP.bVfsRrr5NLe3vCxuknEjX7aG")
)]
#[cfg_attr(
    feature = "legacy-hashes",
    case("$2y$05$abcdefghijklmnopqrstuuKoRuzP.bVfsRrr5NLe3vCxuknEjX7aG")
)]
// The unused bits of the salt's last character, set.
#[cfg_attr(
    feature = "legacy-hashes",
    case("$2y$05$abcdefghijklmnopqrstuvKoRuzP.bVfsRrr5NLe3vCxuknEjX7aG")
)]
#[tokio::test]
async fn hashes_of_other_software_verify(#[case] text: &str) {
    let pool = HashPool::builder().build();
    let stored = hash(text);
    assert_eq!(validate(&stored).map_err(|error| error.kind()), Ok(()));
    let verify = |presented: String| {
        let (pool, stored) = (&pool, &stored);
        async move { pool.verify(stored, &ApiKey::from(presented)).await }
    };
    assert!(verify(String::from(KEY)).await.unwrap());
    assert!(!verify(KEY.replace("acme_live", "acme_test")).await.unwrap());
    assert!(!verify(format!("{}8", &KEY[..KEY.len() - 1])).await.unwrap());
    assert!(!verify(String::from(&KEY[..KEY.len() - 1])).await.unwrap());
    assert!(!verify(format!("{KEY}7")).await.unwrap());
    assert!(!verify(String::new()).await.unwrap());
}

/// From `src/test.c` of the reference implementation, over `password`.
#[rstest]
#[case("$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")]
#[case("$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc")]
#[case("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")]
#[tokio::test]
async fn reference_vectors_verify(#[case] text: &str) {
    let pool = HashPool::builder().build();
    let verify = |presented| {
        let (pool, stored) = (pool.clone(), hash(text));
        async move { pool.verify(&stored, &key(presented)).await }
    };
    assert!(verify("password").await.unwrap());
    assert!(!verify("sassword").await.unwrap());
}

#[cfg(feature = "legacy-hashes")]
#[tokio::test]
async fn imported_bcrypt_reads_72_bytes_and_ours_reads_all() {
    let pool = HashPool::builder().build();
    let long = format!("{KEY}_and_more_than_seventy_two_bytes");
    let other = format!("{}{}", &long[..72], "_something_else");
    let imported = hash("$2b$04$abcdefghijklmnopqrstuuen/es7hlMvGlmz2TXQylkH5wfysK.IC");
    assert!(pool.verify(&imported, &key(&long)).await.unwrap());
    assert!(pool.verify(&imported, &key(&other)).await.unwrap());
    assert!(!pool.verify(&imported, &key(&long[..71])).await.unwrap());

    let policy = HashPolicy::bcrypt_sha256(4).unwrap();
    let ours = pool.hash(&policy, &key(&long)).await.unwrap();
    assert!(ours.as_str().starts_with("bcrypt-sha256:$2b$04$"));
    assert!(pool.verify(&ours, &key(&long)).await.unwrap());
    assert!(!pool.verify(&ours, &key(&other)).await.unwrap());
}

fn policies() -> Vec<HashPolicy> {
    vec![
        HashPolicy::argon2id(Argon2Params::new(64, 1, 2).unwrap()),
        HashPolicy::argon2id(Argon2Params::new(8, 2, 1).unwrap()),
        HashPolicy::sha256(),
        #[cfg(feature = "legacy-hashes")]
        HashPolicy::bcrypt_sha256(4).unwrap(),
        #[cfg(feature = "legacy-hashes")]
        HashPolicy::bcrypt_sha256(5).unwrap(),
    ]
}

#[tokio::test]
async fn new_hash_verifies_and_is_obsolete_under_other_policies() {
    let pool = HashPool::builder().build();
    for policy in policies() {
        let made = pool.hash(&policy, &key(KEY)).await.unwrap();
        assert!(pool.verify(&made, &key(KEY)).await.unwrap(), "{policy:?}");
        assert!(!pool.verify(&made, &key("another")).await.unwrap(), "{policy:?}");
        for other in policies() {
            assert_eq!(other.is_obsolete(&made), other != policy, "{made:?} under {other:?}");
        }
    }
}

#[tokio::test]
async fn every_hash_has_a_salt_of_its_own() {
    let pool = HashPool::builder().build();
    for policy in policies() {
        let first = pool.hash(&policy, &key(KEY)).await.unwrap();
        let second = pool.hash(&policy, &key(KEY)).await.unwrap();
        assert_eq!(first == second, policy == HashPolicy::sha256(), "{policy:?}");
    }
}

#[test]
fn short_salt_other_sha_and_unusable_hash_are_obsolete() {
    let policy = HashPolicy::argon2id(Argon2Params::new(64, 3, 2).unwrap());
    let short = hash("$argon2id$v=19$m=64,t=3,p=2$c2FsdHNhbHQ$uxHV9mQPCmy4XzX7Xl6j4dgegTVogYWAEK+WlBdNWAI");
    assert!(policy.is_obsolete(&short));
    assert!(HashPolicy::sha256().is_obsolete(&hash(&format!("sha512:{}", "0".repeat(128)))));
    assert!(HashPolicy::sha256().is_obsolete(&hash("sha256:00")));
    assert!(HashPolicy::default().is_obsolete(&hash("$argon2id$")));
}

#[rstest]
#[case(Argon2Params::DEFAULT, (65_536, 1, 4))]
#[case(Argon2Params::OWASP, (19_456, 2, 1))]
fn named_parameters_have_their_values(#[case] params: Argon2Params, #[case] expected: (u32, u32, u32)) {
    assert_eq!((params.memory_kib(), params.passes(), params.lanes()), expected);
    assert_eq!(Argon2Params::new(expected.0, expected.1, expected.2).unwrap(), params);
}

#[test]
fn parameters_have_the_bounds_of_records() {
    for (memory, passes, lanes) in [(8, 1, 1), (64, 6, 8), (262_144, 2, 8), (87_381, 6, 8)] {
        assert!(
            Argon2Params::new(memory, passes, lanes).is_ok(),
            "{memory} {passes} {lanes}"
        );
    }
    for (memory, passes, lanes) in [
        (262_144, 3, 8),
        (87_382, 6, 8),
        (7, 1, 1),
        (63, 1, 8),
        (262_145, 1, 1),
        (64, 0, 1),
        (64, 7, 1),
        (64, 1, 0),
        (72, 1, 9),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert!(
            Argon2Params::new(memory, passes, lanes).is_err(),
            "{memory} {passes} {lanes}"
        );
    }
    let error = Argon2Params::new(63, 1, 8).unwrap_err();
    let text = "invalid Argon2 memory in KiB: must be between 64 and 262144, got 63";
    assert_eq!(error.to_string(), text);
    #[cfg(feature = "legacy-hashes")]
    for (cost, good) in [(3, false), (4, true), (14, true), (15, false), (u32::MAX, false)] {
        assert_eq!(HashPolicy::bcrypt_sha256(cost).is_ok(), good, "{cost}");
    }
}

/// A worker keeps its memory, and the next hash may need less of it, or more than is kept.
#[tokio::test]
async fn hashes_of_any_size_are_right_in_kept_memory() {
    let kept = Argon2Params::new(1024, 1, 4).unwrap();
    let pool = HashPool::builder().keep_memory_for(kept).build();
    let small = "$argon2id$v=19$m=64,t=3,p=2$c2FsdHNhbHQ$uxHV9mQPCmy4XzX7Xl6j4dgegTVogYWAEK+WlBdNWAI";
    let middle = "$argon2id$v=19$m=1024,t=1,p=4$MDEyMzQ1Njc4OWFiY2RlZg$oOFILnrgTHdRuwZO2FI3qJUbld349TCB/lHTLfwr+74";
    let large = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$QRB1qar40utA64mDlrxJwTpmhiHgPd5dfEsEriXEtfs";
    for (turn, text) in [small, middle, small, large, middle, large, small]
        .into_iter()
        .enumerate()
    {
        let right = pool.verify(&hash(text), &key(KEY)).await;
        let wrong = pool.verify(&hash(text), &key(&KEY[1..])).await;
        assert!(
            matches!((&right, &wrong), (Ok(true), Ok(false))),
            "{turn}: {right:?} {wrong:?}"
        );
    }
}

const SHA256_OF_KEY: &str = "sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623";

#[test]
fn sha256_needs_no_pool_and_is_the_policys() {
    assert_eq!(sha256(&key(KEY)).as_str(), SHA256_OF_KEY);
    assert!(!HashPolicy::sha256().is_obsolete(&sha256(&key(KEY))));
    assert!(verify_sha256(&key(KEY), &hash(SHA256_OF_KEY)).unwrap());
    assert!(verify_sha256(&key(KEY), &hash(&SHA256_OF_KEY.replace("f53e", "F53E"))).unwrap());
    for wrong in [&KEY[1..], &KEY[..KEY.len() - 1], "", &format!("{KEY} ")] {
        assert!(!verify_sha256(&key(wrong), &hash(SHA256_OF_KEY)).unwrap(), "{wrong:?}");
    }
}

/// The reference is Python's `hashlib.sha256("…".encode())`.
#[rstest]
#[case(
    "schl\u{fc}ssel",
    "sha256:ccec7a8e3e039f0b6b308a81f438e1d07a59c8c896b4f237d10c3eecb8375ef7"
)]
#[case(
    "\u{1f511}\u{9375}",
    "sha256:f6b0e81a076e66c4c058114b322131b9d0386fc75d578b6b14fdb5cb81f946cb"
)]
fn sha256_of_non_ascii_text_is_that_of_its_utf8(#[case] text: &str, #[case] stored: &str) {
    assert_eq!(sha256(&key(text)).as_str(), stored);
    assert!(verify_sha256(&key(text), &hash(stored)).unwrap());
    assert!(!verify_sha256(&key(&text[..text.len() - 3]), &hash(stored)).unwrap());
}

#[rstest]
#[case("", InvalidHashKind::Malformed)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e162",
    InvalidHashKind::Malformed
)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e162g",
    InvalidHashKind::Malformed
)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e16\u{e9}",
    InvalidHashKind::Malformed
)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e16230",
    InvalidHashKind::Malformed
)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623\n",
    InvalidHashKind::Malformed
)]
#[case(
    "0x47b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623",
    InvalidHashKind::Malformed
)]
#[case(
    "                                                                ",
    InvalidHashKind::Malformed
)]
#[case(
    "3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1\u{ff12}",
    InvalidHashKind::Malformed
)]
#[case("NEe1T1PoQnrGTvl8xBPvHHutfIjb+Fo58W2kD00eFiM=", InvalidHashKind::Malformed)]
fn sha256_of_malformed_hash_is_an_error(#[case] digits: &str, #[case] kind: InvalidHashKind) {
    let error = verify_sha256(&key(KEY), &hash(&format!("sha256:{digits}"))).unwrap_err();
    assert_eq!(error.kind(), kind);
    // An empty key does not help.
    assert!(verify_sha256(&key(""), &hash(&format!("sha256:{digits}"))).is_err());
    let said = format!("{error} {error:?}");
    assert!(
        !said.contains(KEY) && (digits.is_empty() || !said.contains(digits)),
        "{said}"
    );
}

#[test]
fn sha256_neither_normalizes_nor_cuts_keys() {
    let long = "k".repeat(1_000_000);
    for (made_of, other) in [
        ("caf\u{e9}", "cafe\u{301}"),
        ("a\0b", "a"),
        ("key", "key\0"),
        ("Key", "key"),
        (&long, &long[1..]),
        ("", " "),
    ] {
        let stored = sha256(&key(made_of));
        assert!(verify_sha256(&key(made_of), &stored).unwrap());
        assert!(!verify_sha256(&key(other), &stored).unwrap());
    }
}

#[test]
fn sha256_of_another_scheme_is_an_error() {
    for (text, kind) in [
        (format!("sha512:{}", "0".repeat(128)), InvalidHashKind::UnexpectedScheme),
        (
            format!("$argon2id$v=19$m=8,t=1,p=1${SALT}${OUTPUT}"),
            InvalidHashKind::UnexpectedScheme,
        ),
        (SHA256_OF_KEY.replace("sha256:", ""), InvalidHashKind::UnknownScheme),
        (
            String::from("md5:d41d8cd98f00b204e9800998ecf8427e"),
            InvalidHashKind::UnknownScheme,
        ),
    ] {
        assert_eq!(
            verify_sha256(&key(KEY), &hash(&text)).unwrap_err().kind(),
            kind,
            "{text}"
        );
    }
}

const SALT: &str = "MDEyMzQ1Njc4OWFiY2RlZg";
const OUTPUT: &str = "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI";

#[rstest]
#[case::four_gib("$argon2id$v=19$m=4194304,t=1,p=1")]
#[case::just_above_the_memory("$argon2id$v=19$m=262145,t=1,p=1")]
#[case::most_memory("$argon2id$v=19$m=4294967295,t=1,p=1")]
#[case::a_million_passes("$argon2id$v=19$m=64,t=1000000,p=1")]
#[case::too_much_in_all_passes("$argon2id$v=19$m=262144,t=3,p=1")]
#[case::seven_passes("$argon2id$v=19$m=64,t=7,p=1")]
#[case::no_pass("$argon2id$v=19$m=64,t=0,p=1")]
#[case::nine_lanes("$argon2id$v=19$m=72,t=1,p=9")]
#[case::no_lane("$argon2id$v=19$m=64,t=1,p=0")]
#[case::most_lanes("$argon2id$v=19$m=64,t=1,p=4294967295")]
#[case::too_little_for_its_lanes("$argon2id$v=19$m=63,t=1,p=8")]
#[case::no_memory("$argon2id$v=19$m=0,t=1,p=1")]
#[case::argon2d("$argon2d$v=19$m=8,t=1,p=1")]
#[case::argon2i("$argon2i$v=19$m=8,t=1,p=1")]
#[case::version_16("$argon2id$v=16$m=8,t=1,p=1")]
#[case::version_20("$argon2id$v=20$m=8,t=1,p=1")]
#[tokio::test]
async fn argon2_beyond_the_bounds_is_never_run(#[case] head: &str) {
    let text = format!("{head}${SALT}${OUTPUT}");
    assert_eq!(refused(&text).await, InvalidHashKind::OutOfBounds, "{text}");
}

#[tokio::test]
async fn argon2_within_the_bounds_is_run() {
    let text = format!("$argon2id$v=19$m=8,t=1,p=1${SALT}${OUTPUT}");
    let pool = HashPool::builder().build();
    assert!(!pool.verify(&hash(&text), &key(KEY)).await.unwrap());
    assert_eq!(pool.hashes_run(), 1);
}

#[rstest]
#[case::no_version("$argon2id$m=8,t=1,p=1")]
#[case::empty_version("$argon2id$v=$m=8,t=1,p=1")]
#[case::negative_version("$argon2id$v=-19$m=8,t=1,p=1")]
#[case::no_parameters("$argon2id$v=19")]
#[case::empty_parameters("$argon2id$v=19$")]
#[case::memory_missing("$argon2id$v=19$t=1,p=1")]
#[case::passes_missing("$argon2id$v=19$m=8,p=1")]
#[case::lanes_missing("$argon2id$v=19$m=8,t=1")]
#[case::twice("$argon2id$v=19$m=8,t=1,p=1,m=16")]
#[case::same_thrice("$argon2id$v=19$m=8,m=8,m=8")]
#[case::another_order("$argon2id$v=19$t=1,m=8,p=1")]
#[case::unknown_parameter("$argon2id$v=19$m=8,t=1,p=1,x=1")]
#[case::associated_data("$argon2id$v=19$m=8,t=1,p=1,data=Dw8PDw8P")]
#[case::key_id("$argon2id$v=19$m=8,t=1,p=1,keyid=8PDw8A")]
#[case::empty_value("$argon2id$v=19$m=,t=1,p=1")]
#[case::negative("$argon2id$v=19$m=-8,t=1,p=1")]
#[case::leading_zero("$argon2id$v=19$m=08,t=1,p=1")]
#[case::beyond_32_bits("$argon2id$v=19$m=4294967304,t=1,p=1")]
#[case::not_a_number("$argon2id$v=19$m=8,t=one,p=1")]
#[tokio::test]
async fn malformed_argon2_is_refused(#[case] head: &str) {
    assert_eq!(
        refused(&format!("{head}${SALT}${OUTPUT}")).await,
        InvalidHashKind::Malformed
    );
}

#[rstest]
#[case::salt_of_7_bytes("MDEyMzQ1Ng", OUTPUT)]
#[case::salt_of_49_bytes("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMA", OUTPUT)]
#[case::no_salt("", OUTPUT)]
#[case::salt_not_base64("MDEyMzQ1Njc4OW_iY2RlZg", OUTPUT)]
#[case::salt_padded("MDEyMzQ1Njc4OWFiY2RlZg==", OUTPUT)]
#[case::no_output(SALT, "")]
#[case::output_of_16_bytes(SALT, "17gMImbSaG3X7XlordPfwQ")]
#[case::output_of_31_bytes(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3g")]
#[case::output_of_33_bytes(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qIA")]
#[case::output_not_base64(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3q!")]
#[case::output_with_bits_over(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qJ")]
#[case::something_after(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI$x")]
#[case::line_end_after(SALT, "17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI\n")]
#[tokio::test]
async fn malformed_salts_and_outputs_are_refused(#[case] salt: &str, #[case] output: &str) {
    let text = format!("$argon2id$v=19$m=8,t=1,p=1${salt}${output}");
    assert_eq!(refused(&text).await, InvalidHashKind::Malformed, "{text}");
}

#[rstest]
#[case("sha256:")]
#[case("sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e162")]
#[case("sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e16230")]
#[case("sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e162g")]
#[case("sha256:+447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("sha256: 447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("sha512:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("sha256:é447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e162")]
#[tokio::test]
async fn bad_hexadecimal_is_refused(#[case] text: &str) {
    assert_eq!(refused(text).await, InvalidHashKind::Malformed);
}

#[rstest]
#[case("$")]
#[case(":")]
#[case("3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("md5:d41d8cd98f00b204e9800998ecf8427e")]
#[case("SHA256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case("$1$abcdefgh$0123456789abcdefghijk.")]
#[case("$scrypt$ln=15,r=8,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
#[case("$argon2x$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI")]
#[case("$argon2$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI")]
#[case("💥")]
#[tokio::test]
async fn unknown_schemes_are_refused(#[case] text: &str) {
    assert_eq!(refused(text).await, InvalidHashKind::UnknownScheme);
}

#[cfg(feature = "legacy-hashes")]
#[rstest]
#[case::cost_3(
    "$2b$03$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::OutOfBounds
)]
#[case::cost_15(
    "$2b$15$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::OutOfBounds
)]
#[case::cost_31(
    "$2b$31$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::OutOfBounds
)]
#[case::cost_99(
    "$2b$99$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::OutOfBounds
)]
#[case::prehashed_15(
    "bcrypt-sha256:$2b$15$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::OutOfBounds
)]
#[case::signed_cost(
    "$2b$+4$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::Malformed
)]
#[case::faulty_version(
    "$2x$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::Malformed
)]
#[case::first_version(
    "$2$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTaa",
    InvalidHashKind::Malformed
)]
#[case::too_long(
    "$2b$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTaa",
    InvalidHashKind::Malformed
)]
#[case::not_base64(
    "$2b$04$abcdefghijklmnopqrst+uOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::Malformed
)]
#[case::not_ascii(
    "$2b$04$abcdefghijklmnopqrstéOkUEuwORoPKUhOAswtdHMt1pXx1qFTa",
    InvalidHashKind::Malformed
)]
#[case::not_bcrypt_inside("bcrypt-sha256:sha256:00", InvalidHashKind::Malformed)]
#[tokio::test]
async fn bcrypt_out_of_bounds_or_form_is_refused(#[case] text: &str, #[case] kind: InvalidHashKind) {
    assert_eq!(refused(text).await, kind);
}

#[cfg(not(feature = "legacy-hashes"))]
#[rstest]
#[case("bcrypt-sha256:$2b$04$abcdefghijklmnopqrstuuemYve4ylSRo1dHVXcP63M1F3vNNEnD.")]
#[case("$2b$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa")]
#[tokio::test]
async fn bcrypt_needs_its_feature(#[case] text: &str) {
    assert_eq!(refused(text).await, InvalidHashKind::UnknownScheme);
}

#[rstest]
#[case("$argon2id$v=19$m=8,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$17gMImbSaG3X7XlordPfwROFILnrgTHdRuwZO2FI3qI")]
#[case("sha256:3447b54f53e8427ac64ef97cc413ef1c7badfb82dbf85a39f16da40f4d1e1623")]
#[case(
    "sha512:a7e8a3a4bb8901c6bdbd3ef8e4d6b2c8499ae88e59400c37d462a374dd2893572ae7b969799721709602ab2cc1f869e020e785e0826adaa76d7e689d25898f9c"
)]
#[case("bcrypt-sha256:$2b$04$abcdefghijklmnopqrstuuemYve4ylSRo1dHVXcP63M1F3vNNEnD.")]
#[case("$2b$04$abcdefghijklmnopqrstuuOkUEuwORoPKUhOAswtdHMt1pXx1qFTa")]
#[tokio::test]
async fn truncated_anywhere_is_refused(#[case] text: &str) {
    assert!(SecretHash::new("").is_err());
    for end in 1..text.len() {
        refused(&text[..end]).await;
    }
}

#[test]
fn hash_of_100_kb_is_refused() {
    for text in [
        "x".repeat(100_000),
        format!("sha256:{}", "0".repeat(100_000)),
        format!("$argon2id$v=19$m=8,t=1,p=1${}", "A".repeat(100_000)),
        "$".repeat(100_000),
    ] {
        assert!(SecretHash::new(text).is_err());
    }
}

#[tokio::test]
async fn longest_text_of_a_record_is_refused() {
    for head in [
        "",
        "$argon2id$",
        "$argon2id$v=19$m=8,t=1,p=1$",
        "sha256:",
        "$2b$",
        "bcrypt-sha256:",
    ] {
        for filling in ["A", "$", "=", ",", "0"] {
            refused(&format!("{head}{}", filling.repeat(512 - head.len()))).await;
        }
    }
}

#[tokio::test]
async fn errors_show_nothing_of_the_hash() {
    let text = format!("$argon2id$v=19$m=4194304,t=1,p=1${SALT}${OUTPUT}");
    let pool = HashPool::builder().build();
    let error = pool.verify(&hash(&text), &key(KEY)).await.unwrap_err();
    let shown = format!("{error} {error:?} {:?} {}", error.source(), error.source().unwrap());
    for secret in [KEY, SALT, OUTPUT, "4194304"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "[$a-z0-9=,:+./é]{1,200}|(\\$argon2id\\$v=19\\$)[mtp=,0-9$A-Za-z+/]{0,120}|\\$2[abxy]\\$[0-9]{2}\\$\\PC{0,60}") {
        if let Ok(stored) = SecretHash::new(text) {
            let _ = validate(&stored);
            let _ = HashPolicy::default().is_obsolete(&stored);
        }
    }
}
