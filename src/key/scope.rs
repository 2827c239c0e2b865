//! Scopes: the permissions of a key.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{ParseError, unlike};

/// One permission: `resource:action`, `resource:*`, or `*`.
///
/// The grammar is `[a-z0-9_.-]+(:[a-z0-9_.*-]+)?` or a single `*`, with at most 128 bytes.
///
/// Scopes that begin with `api-keys.`, such as `api-keys.keys:read-own`, are those of managing keys. No wildcard covers them: a
/// key for everything that a service does is no administrator of its keys.
///
/// ```
/// use tower_api_key::key::Scope;
///
/// let granted: Scope = "orders:*".parse()?;
/// assert!(granted.covers(&"orders:read".parse()?));
/// assert!(!granted.covers(&"invoices:read".parse()?));
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of managing keys, which every realm has.
    pub(crate) fn is_of_management(&self) -> bool {
        is_of_management(&self.0)
    }

    /// Whether this scope grants what `needed` asks for: both are equal, this scope is `*`, or it is `resource:*` of the
    /// same resource. There are no other wildcards, and none covers a scope that begins with `api-keys.`.
    pub fn covers(&self, needed: &Scope) -> bool {
        covers(&self.0, &needed.0)
    }
}

fn covers(granted: &str, needed: &str) -> bool {
    if granted == needed {
        return true;
    }
    if is_of_management(needed) {
        return false;
    }
    if granted == "*" {
        return true;
    }
    match (granted.strip_suffix(":*"), needed.split_once(':')) {
        (Some(granted), Some((resource, _))) => granted == resource,
        _ => false,
    }
}

/// Whether the resource is one of managing keys.
fn is_of_management(scope: &str) -> bool {
    scope.starts_with(MANAGEMENT)
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() > LONGEST {
            let problem = format!("must have at most {LONGEST} bytes, got {}", text.len());
            return Err(ParseError::new("scope", problem));
        }
        let colon = text.find(':');
        let fits = |at: usize, c: char| match c {
            'a'..='z' | '0'..='9' | '_' | '.' | '-' => true,
            ':' => colon == Some(at),
            '*' => text == "*" || colon.is_some_and(|colon| colon < at),
            _ => false,
        };
        let wrong = match unlike(text, fits) {
            Some(wrong) => wrong,
            None if text.is_empty() || text.starts_with(':') => String::from("no resource"),
            None if text.ends_with(':') => String::from("no action"),
            None => return Ok(Self(text.into())),
        };
        let problem = format!("must be `resource:action`, `resource:*` or `*` in lower case, got {wrong}");
        Err(ParseError::new("scope", problem))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({})", self.0)
    }
}

/// The scopes of a key: at most 256, sorted and without duplicates.
///
/// The text form is that of RFC 6749, section 3.3: scopes separated by spaces. Clones share one allocation.
///
/// ```
/// use tower_api_key::key::ScopeSet;
///
/// let scopes: ScopeSet = "orders:write orders:read".parse()?;
/// assert_eq!(scopes.to_string(), "orders:read orders:write");
/// assert!(scopes.allows(&"orders:read".parse()?));
/// assert!(!scopes.allows(&"orders:delete".parse()?));
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Arc<str>);

impl ScopeSet {
    /// A set of scopes.
    ///
    /// # Errors
    /// When there are more than 256.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ParseError> {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        if scopes.len() > MOST {
            let problem = format!("must be at most {MOST}, got {}", scopes.len());
            return Err(ParseError::new("scopes", problem));
        }
        let texts: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        Ok(Self(texts.join(" ").into()))
    }

    /// Whether one of the scopes [covers](Scope::covers) the needed one.
    pub fn allows(&self, needed: &Scope) -> bool {
        self.iter().any(|granted| covers(granted, &needed.0))
    }

    /// The scopes of both sets. There may be more than 256 of them.
    pub(crate) fn union(&self, other: &Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return if self.is_empty() { other.clone() } else { self.clone() };
        }
        let all: BTreeSet<&str> = self.iter().chain(other.iter()).collect();
        Self(all.into_iter().collect::<Vec<_>>().join(" ").into())
    }

    /// What both sets allow: of two scopes of which one covers the other, the narrower one.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let allowed_by = |set: &Self, scope: &str| set.iter().any(|granted| covers(granted, scope));
        let ours = self.iter().filter(|scope| allowed_by(other, scope));
        let theirs = other.iter().filter(|scope| allowed_by(self, scope));
        let all: BTreeSet<&str> = ours.chain(theirs).collect();
        Self(all.into_iter().collect::<Vec<_>>().join(" ").into())
    }

    /// Whether each scope of the other set is covered by one of these.
    pub(crate) fn includes(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|needed| self.iter().any(|granted| covers(granted, needed)))
    }

    /// Whether one of the scopes is of managing keys.
    pub(crate) fn has_management(&self) -> bool {
        self.iter().any(is_of_management)
    }

    /// Some of the scopes of another set, in their order.
    pub(crate) fn of_sorted(scopes: &[&str]) -> Self {
        Self(scopes.join(" ").into())
    }

    /// The text of each scope, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// All scopes, separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are no scopes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for ScopeSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let scopes = text.split_ascii_whitespace().zip(1..);
        let scopes: Result<Vec<Scope>, ParseError> = scopes
            .map(|(scope, number)| scope.parse().map_err(|error: ParseError| error.of_entry(number)))
            .collect();
        Self::new(scopes?)
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeSet({})", self.0)
    }
}

/// What the resources of managing keys begin with.
const MANAGEMENT: &str = "api-keys.";
const LONGEST: usize = 128;
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_two_wildcards_cover_other_scopes() {
        assert!(scope("*").covers(&scope("orders:read")));
        assert!(scope("orders:*").covers(&scope("orders:*")));
        assert!(!scope("orders:r*").covers(&scope("orders:read")));
        assert!(!scope("orders").covers(&scope("orders:read")));
        assert!(!scope("orders:*").covers(&scope("orders-archive:read")));
        assert!(!scope("orders:*").covers(&scope("orders")));
        assert!(!scope("orders:read").covers(&scope("*")));
    }

    #[test]
    fn text_outside_of_the_grammar_is_an_error() {
        for bad in [
            "",
            ":",
            "a:",
            ":b",
            "a:b:c",
            "A:b",
            "a b",
            "**",
            "*:read",
            "a\"b",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        }
        for good in ["a", "a:b", "a:*", "*", "a.b-c_d:x.y", "a:b*c", &"x".repeat(128)] {
            assert_eq!(scope(good).as_str(), good);
        }
    }

    #[test]
    fn errors_say_where_and_not_what() {
        let form = "must be `resource:action`, `resource:*` or `*` in lower case, got";
        for (text, problem) in [
            ("", format!("{form} no resource")),
            (":", format!("{form} no resource")),
            ("orders:", format!("{form} no action")),
            ("orders:Read", format!("{form} an upper-case letter at byte 8")),
            ("or*:read", format!("{form} a `*` at byte 3")),
            ("a:b:c", format!("{form} a `:` at byte 4")),
            (&"x".repeat(129), String::from("must have at most 128 bytes, got 129")),
        ] {
            let error = text.parse::<Scope>().unwrap_err();
            assert_eq!(error.to_string(), format!("invalid scope: {problem}"));
        }
        let error = "orders:read orders:!".parse::<ScopeSet>().unwrap_err();
        let said = format!("invalid scope: entry 2 {form} a punctuation character at byte 8");
        assert_eq!(error.to_string(), said);
    }
}
