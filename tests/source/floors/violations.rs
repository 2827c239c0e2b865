//! Each rule reports what violates it, in made-up files.

use super::*;

fn of(path: &str, text: &str) -> Vec<String> {
    problems(&[SourceFile::new(path, text)])
}

#[track_caller]
fn reports(path: &str, text: &str, words: &str) {
    let problems = of(path, text);
    assert!(
        problems.len() == 1 && problems[0].contains(words),
        "{path}: {text}\nexpected one problem with {words:?}, got {problems:#?}"
    );
}

#[track_caller]
fn accepts(path: &str, text: &str) {
    assert_eq!(of(path, text), Vec::<String>::new(), "{path}: {text}");
}

#[test]
fn sees_a_module_that_looks_up() {
    reports(
        "limit/mod.rs",
        "use crate::store::KeyStore;",
        "src/limit/mod.rs:1: `limit` (floor 1)",
    );
    reports(
        "key/record.rs",
        "\n\nfn f() -> crate::hash::Pool {}",
        "src/key/record.rs:3:",
    );
    reports(
        "hash/pool.rs",
        "use crate::{key::SecretHash, check::{Authenticator as A}};",
        "crate::check::Authenticator",
    );
    reports(
        "store/mod.rs",
        "use crate::{\n    error::ConfigError,\n    check::Authenticator,\n};",
        "rs:3:",
    );
    reports("clock.rs", "use crate::fence::Fence;", "looks up");
    reports("middleware/layer.rs", "use crate::keys::ApiKeys;", "looks up");
    accepts("manage/mod.rs", "use crate::keys::ApiKeys;");
}

#[test]
fn sees_a_module_that_looks_sideways() {
    reports("check/mod.rs", "use crate::issue::Issuer;", "sideways");
    reports("issue/mod.rs", "type T = crate::check::Authenticator;", "sideways");
    reports("limit/local.rs", "use crate::audit::{self};", "`crate::audit`");
}

#[test]
fn follows_super_and_self_to_where_they_lead() {
    reports(
        "limit/local.rs",
        "use super::super::store::KeyStore;",
        "crate::store::KeyStore",
    );
    reports(
        "limit/local.rs",
        "use self::super::super::store::KeyStore;",
        "crate::store::KeyStore",
    );
    reports("limit/mod.rs", "use super::store::{self};", "crate::store");
    reports(
        "limit/local.rs",
        "use super::{Charge, super::store::KeyStore};",
        "crate::store::KeyStore",
    );
    accepts(
        "limit/local.rs",
        "use super::{Charge, Take}; use self::charge::Charge; use super::store::X;",
    );
}

#[test]
fn sees_ways_around_module_names() {
    reports("limit/mod.rs", "use crate::Authenticator;", "does not name the module");
    reports("limit/mod.rs", "use crate::*;", "does not name the module");
    reports("limit/mod.rs", "use super::*;", "does not name the module");
    reports("limit/mod.rs", "use crate as house;", "another name for the root");
    reports(
        "limit/mod.rs",
        "use crate::{self as house};",
        "another name for the root",
    );
    reports(
        "limit/mod.rs",
        "macro_rules! m { () => { $crate::store::find() } }",
        "crate::store",
    );
}

#[test]
fn sees_what_macros_and_attributes_name() {
    reports(
        "limit/mod.rs",
        "fn f() { assert!(crate::store::is_up()) }",
        "crate::store",
    );
    reports(
        "limit/mod.rs",
        "fn f() { m!(use super::{store::{T as U}}) }",
        "crate::store::T",
    );
    reports("limit/mod.rs", "fn f() { m! { use http; } }", "`http` below");
    reports("limit/mod.rs", "fn f() { m!(\"DELETE FROM keys\") }", "SQL outside");
    reports("limit/mod.rs", "#[derive(crate::store::Row)] struct A;", "crate::store");
    reports("limit/mod.rs", "fn f() { m!(todo!()) }", "`todo!`");
    accepts(
        "limit/mod.rs",
        "macro_rules! m { () => { /** crate::store::S, SELECT 1 FROM keys */ fn f() {} } }",
    );
}

#[test]
fn field_an_arm_and_a_statement_can_be_test_code() {
    accepts("key/a.rs", "struct A { #[cfg(test)] store: crate::store::S }");
    accepts(
        "key/a.rs",
        "fn f() { #[cfg(test)] crate::store::g!(); #[cfg(all(unix, test))] let a = crate::store::A; }",
    );
    reports(
        "key/a.rs",
        "struct A { #[cfg(test)] a: u8, store: crate::store::S }",
        "crate::store",
    );
    reports(
        "key/a.rs",
        "fn f() { #[cfg(any(test, unix))] let a = crate::store::A; }",
        "crate::store",
    );
}

#[test]
fn accepts_what_leans_downwards() {
    accepts(
        "check/mod.rs",
        "use crate::{store::KeyStore, limit::{Charge, Take}, sync::AtomicU64};",
    );
    accepts(
        "middleware/service.rs",
        "use crate::check::Authenticator; pub(crate) fn f(self: &Self) {}",
    );
    accepts("fence/mod.rs", "use crate::key::KeyId; use self::protocol::Protocol;");
    accepts("lib.rs", "pub use self::clock::Clock; pub use crate::store::KeyStore;");
    accepts("testing.rs", "pub use crate::check::AuthContext;");
}

#[test]
fn sees_a_module_without_a_floor() {
    reports("helpers/mod.rs", "", "on no floor");
}

#[test]
fn comments_literals_and_tests_are_not_code() {
    accepts(
        "key/a.rs",
        "//! See crate::check::Authenticator.\n/* crate::check /* nested */ crate::store */",
    );
    accepts(
        "key/a.rs",
        r##"const A: &str = "crate::check \" x"; const B: &str = r#"crate::check " x"#;"##,
    );
    accepts(
        "key/a.rs",
        "const A: char = '\"'; const B: char = '\\''; fn f<'a>(x: &'a str) {} // \" '",
    );
    accepts(
        "key/a.rs",
        "#[cfg(test)]\nmod tests {\n    use crate::store::MemoryStore;\n}\n",
    );
    accepts(
        "key/a.rs",
        "#[cfg(test)]\n#[allow(dead_code)]\nuse crate::store::{MemoryStore};\n",
    );
}

#[test]
fn code_beside_comments_literals_and_tests_is_seen() {
    reports("key/a.rs", "/* x */ use crate::store::S; /* y */", "crate::store");
    reports(
        "key/a.rs",
        "const A: &[u8] = br#\"x\"#; use crate::store::S;",
        "crate::store",
    );
    reports(
        "key/a.rs",
        "const A: char = '\"'; use crate::store::S; const B: char = '\"';",
        "crate::store",
    );
    reports(
        "key/a.rs",
        "fn f<'a>(x: &'a str) { let y: &'a crate::store::S; }",
        "crate::store",
    );
    reports(
        "key/a.rs",
        "#[cfg(test)]\nuse crate::hash::Pool;\n\nuse crate::store::S;",
        "a.rs:4:",
    );
    reports(
        "key/a.rs",
        "#[cfg(test)]\nmod tests { fn f() {} }\n\nfn f() { crate::store::g() }",
        "a.rs:4:",
    );
    reports("key/a.rs", "#[cfg(not(test))]\nuse crate::store::S;", "a.rs:2:");
}

#[test]
fn module_declared_for_tests_is_test_code() {
    let file = SourceFile::new;
    let files = [
        file("key/mod.rs", "#[cfg(test)]\nmod samples;\nmod format;"),
        file("key/samples.rs", "use crate::store::MemoryStore;"),
        file("key/format/samples.rs", "use crate::hash::Pool;"),
    ];
    let problems = problems(&files);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].starts_with("src/key/format/samples.rs:1:"), "{problems:#?}");
}

#[test]
fn sees_http_below_middleware_and_axum_beyond_extractor() {
    reports("check/mod.rs", "use http::HeaderMap;", "`http` below");
    reports("check/mod.rs", "use http;", "`http` below");
    reports("check/mod.rs", "use ::http::HeaderMap;", "`http` below");
    reports("check/mod.rs", "use {http, std::fmt};", "`http` below");
    reports("check/mod.rs", "extern crate http;", "`http` below");
    reports("limit/mod.rs", "fn f(request: &http::Request<()>) {}", "`http` below");
    reports(
        "middleware/extract.rs",
        "use axum::extract::FromRequestParts;",
        "`axum`",
    );
    reports(
        "middleware/layer.rs",
        "use axum_core::response::Response;",
        "outside middleware/extract",
    );
    accepts(
        "middleware/extract.rs",
        "use axum_core::extract::FromRequestParts; use http::request::Parts;",
    );
    accepts(
        "middleware/extract/option.rs",
        "use axum_core::extract::OptionalFromRequestParts;",
    );
    accepts(
        "check/mod.rs",
        "struct A { http: bool } fn f(a: A) { let http = a.http; g::http::h() }",
    );
}

#[test]
fn sees_sql_outside_the_stores() {
    reports("issue/mod.rs", "use rusqlite::Connection;", "outside store/");
    reports(
        "check/mod.rs",
        "const Q: &str = \"SELECT id\n  FROM keys\";",
        "SQL outside",
    );
    reports(
        "usage/mod.rs",
        "const Q: &str = r\"update keys set name = ?1\";",
        "SQL outside",
    );
    accepts(
        "store/sqlite/read.rs",
        "use rusqlite::Connection; const Q: &str = \"SELECT 1 FROM keys\";",
    );
    accepts("check/mod.rs", "const M: &str = \"select a format, or set one\";");
    accepts(
        "check/mod.rs",
        "#[cfg(test)]\nmod tests { const Q: &str = \"DELETE FROM keys\"; }",
    );
}

#[test]
fn sees_a_module_called_http() {
    reports("middleware/http.rs", "", "a module called `http`");
    reports("middleware/http/mod.rs", "", "a module called `http`");
    reports("middleware/mod.rs", "mod http { }", "a module called `http`");
}

#[test]
fn sees_a_file_that_is_too_long_apart_from_its_tests() {
    let longest = "const A: u8 = 1;\n".repeat(MOST_LINES);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn f() {}\n".repeat(500));
    accepts("key/a.rs", &longest);
    accepts("key/a.rs", &(longest.clone() + &tests));
    reports("key/a.rs", &(longest + "const B: u8 = 1;\n" + &tests), "401 lines");
}

#[test]
fn sees_left_over_marks_even_in_tests() {
    reports("key/a.rs", "fn f() { todo!() }", "`todo!`");
    reports("lib.rs", "fn f() { unimplemented!(\"x\") }", "`unimplemented!`");
    reports("key/a.rs", "#[cfg(test)]\nmod tests { fn f() { dbg!(1); } }", "`dbg!`");
    accepts("key/a.rs", "fn todo() { let dbg = 1; }");
}

#[test]
fn sees_what_a_model_checker_could_not_replace_in_the_protocol() {
    accepts(
        "fence/protocol.rs",
        "use crate::sync::{AtomicU64, Mutex}; use std::collections::HashMap;",
    );
    reports("fence/protocol.rs", "use crate::key::KeyId;", "only `crate::sync`");
    reports("fence/protocol.rs", "use super::Fence;", "only `crate::sync`");
    reports(
        "fence/protocol.rs",
        "use std::sync::atomic::AtomicU64;",
        "or a model does not see them",
    );
    reports(
        "fence/protocol.rs",
        "use std::{fmt, sync::Arc};",
        "or a model does not see them",
    );
    reports("fence/protocol.rs", "use tokio::sync::Notify;", "`tokio");
    accepts(
        "fence/mod.rs",
        "use crate::key::KeyId; use tokio::sync::Notify; use std::sync::Arc;",
    );
}
