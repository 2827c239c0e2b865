//! The public API as one page, `docs/public-api.md`, read from the source.
//!
//! It leaves out documentation, auto traits, and methods that come with a trait.

mod crate_items;
mod macros;
mod page;

use std::collections::BTreeMap;
use std::{env, fs};

use self::crate_items::Crate;
use crate::files::SourceFile;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/public-api.md");
const REWRITE: &str = "API_KEYS_BLESS=1 ./scripts/test --test source public_api";

#[test]
fn public_api_page_is_up_to_date() {
    let actual = page::write(&Crate::new(SourceFile::all()));
    println!(
        "{}",
        actual
            .lines()
            .find(|line| line.contains("public names"))
            .unwrap_or("no public names?")
    );
    if env::var_os("API_KEYS_BLESS").is_some() {
        fs::write(PAGE, &actual).unwrap();
    }
    let expected = fs::read_to_string(PAGE).unwrap_or_default();
    let changed = changed_lines(&expected, &actual);
    assert!(
        expected == actual,
        "run `{REWRITE}` to rewrite docs/public-api.md; it lacks:\n{changed}"
    );
}

/// The lines that only one of the texts has, or has more often.
fn changed_lines(expected: &str, actual: &str) -> String {
    let mut counts = BTreeMap::<&str, i32>::new();
    expected.lines().for_each(|line| *counts.entry(line).or_default() -= 1);
    actual.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    let changed = counts.iter().filter(|(_, count)| **count != 0);
    let shown = changed.map(|(line, count)| format!("{} {line}\n", if *count > 0 { '+' } else { '-' }));
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> String {
        page::write(&Crate::new(
            files.iter().map(|(path, text)| SourceFile::new(path, text)).collect(),
        ))
    }

    #[track_caller]
    fn shows(files: &[(&str, &str)], lines: &[&str]) {
        let page = of(files);
        for line in lines {
            assert!(page.lines().any(|other| other == *line), "no line {line:?} in\n{page}");
        }
    }

    #[track_caller]
    fn hides(files: &[(&str, &str)], text: &str) {
        let page = of(files);
        assert!(!page.contains(text), "{text:?} in\n{page}");
    }

    #[test]
    fn follows_modules_uses_renames_and_globs() {
        let lib = "mod a; pub mod b; pub use self::a::{One, Two as Second}; use a::Hidden; pub use crate::c::*; mod c;
                   pub use http::Method;";
        let a = "pub struct One; pub struct Two; pub struct Hidden;";
        let c = "pub fn three(n: u8) {} pub(crate) fn private() {}";
        let files = [
            ("lib.rs", lib),
            ("a.rs", a),
            ("b/mod.rs", "pub use super::a::One;"),
            ("c.rs", c),
        ];
        shows(
            &files,
            &[
                "pub struct One",
                "// also `b::One`",
                "pub struct Two",
                "### `Second`",
                "pub fn three(n: u8)",
                "pub use http::Method",
            ],
        );
        hides(&files, "Hidden");
        hides(&files, "private");
    }

    #[test]
    fn new_public_method_changes_the_page() {
        let before = "pub struct A; impl A { pub fn one(mut self) {} fn two(&self) {} }";
        let after = "pub struct A; impl A { pub fn one(mut self) {} pub fn two(&self) -> u8 { 2 } }";
        shows(&[("lib.rs", before)], &["pub fn one(self)"]);
        hides(&[("lib.rs", before)], "two");
        shows(&[("lib.rs", after)], &["pub fn one(self)", "pub fn two(&self) -> u8"]);
        assert_eq!(changed_lines("a\nb\n", "a\nc\nc\n"), "- b\n+ c\n");
    }

    #[test]
    fn shows_fields_variants_trait_items_and_implementations() {
        let lib = "
            #[derive(Clone, thiserror::Error)] #[non_exhaustive] pub struct A<T> { pub a: Vec<T>, b: u8 }
            impl<T: Copy> A<T> { pub fn make(
                one: T,
            ) -> Self where T: Send {} }
            impl<T> fmt::Display for A<T> {}
            impl From<A<u8>> for String {}
            pub enum E { One, #[cfg(test)] Not, Two(u8), Three { a: u8 } }
            pub trait T: Send { type Out; const N: u8 = 1; fn needed(&self); fn provided(&self) {} }
            impl<S: T> T for Box<S> {}
            trait Sealed {} impl Sealed for E {} struct Private; impl From<Private> for E {}";
        let lines = [
            "pub struct A<T> // non-exhaustive",
            "// Clone, Display, Error",
            "// `String`: From<A<u8>>",
            "pub a: Vec<T>",
            "impl<T: Copy> A<T>",
            "    pub fn make(one: T) -> Self where T: Send",
            "pub enum E",
            "One",
            "Two(u8)",
            "Three { a: u8 }",
            "pub trait T: Send",
            "type Out",
            "const N: u8 // provided",
            "fn needed(&self)",
            "fn provided(&self) // provided",
            "// `Box<S>`: T",
        ];
        shows(&[("lib.rs", lib)], &lines);
        for text in ["b: u8", "Not", "Sealed", "Private"] {
            hides(&[("lib.rs", lib)], text);
        }
    }

    #[test]
    fn shows_features_of_items_and_of_what_leads_to_them() {
        let lib = "#[cfg(feature = \"x\")] pub mod m; #[cfg(any(test, feature = \"y\"))] pub fn f() {} #[cfg(test)] pub fn t() {}";
        let m = "pub struct A; impl A { #[cfg(feature = \"y\")] pub fn g() {} }";
        let files = [("lib.rs", lib), ("m.rs", m)];
        shows(&files, &["pub struct A // x", "pub fn g() // y", "pub fn f() // y"]);
        hides(&files, "fn t()");
    }

    #[test]
    fn reads_what_macros_make() {
        let lib = "
            macro_rules! id { ($(#[$doc:meta])* $name:ident, $what:literal) => {
                $(#[$doc])* #[derive(Clone)] pub struct $name(u8);
                impl $name { pub fn new() -> Self { f($what) } }
            }; }
            id! { /// Text.
                KeyId, \"key id\" }
            macro_rules! get { () => { pub fn get_ref(&self) -> &u8 { &self.0 } }; }
            impl KeyId { get!(); }
            macro_rules! each { ($($name:ident: $what:literal;)*) => { $(impl Text for $name { const A: &str = $what; })* }; }
            each! { KeyId: \"a\"; F: \"b\"; }
            pub trait Text {}
            pin_project! { pub struct F<T> { #[pin] inner: T } }";
        shows(
            &[("lib.rs", lib)],
            &[
                "pub struct KeyId",
                "// Clone, Text",
                "pub fn new() -> Self",
                "pub fn get_ref(&self) -> &u8",
                "pub struct F<T>",
            ],
        );
    }

    #[test]
    #[should_panic(expected = "`made!`")]
    fn macro_that_cannot_be_read_is_reported() {
        of(&[("lib.rs", "made! { A => B }")]);
    }
}
