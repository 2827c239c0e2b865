//! What a key may do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::ConfigError;

const LONGEST: usize = 128;
const MOST: usize = 256;

/// One permission: `resource:action`, `resource:*`, or `*`.
///
/// The grammar is `[a-z0-9_.-]+(:[a-z0-9_.*-]+)?`, or a single `*`; at most 128 bytes. A custom scheme of names fits as
/// long as it keeps to it.
///
/// ```
/// use tower_api_key::key::Scope;
///
/// let granted: Scope = "orders:*".parse()?;
/// assert!(granted.covers(&"orders:read".parse()?));
/// assert!(!granted.covers(&"invoices:read".parse()?));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The scope's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether whoever holds this scope may do what `needed` names: they are equal, this is `*`, or this is
    /// `resource:*` of the same resource. Nothing else is a wildcard.
    pub fn covers(&self, needed: &Scope) -> bool {
        covers(&self.0, &needed.0)
    }
}

fn covers(granted: &str, needed: &str) -> bool {
    if granted == needed || granted == "*" {
        return true;
    }
    match (granted.strip_suffix(":*"), needed.split_once(':')) {
        (Some(granted), Some((resource, _))) => granted == resource,
        _ => false,
    }
}

impl FromStr for Scope {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let word = |part: &str, star: bool| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-') || (star && b == b'*'))
        };
        let valid = text.len() <= LONGEST
            && (text == "*"
                || match text.split_once(':') {
                    Some((resource, action)) => word(resource, false) && word(action, true),
                    None => word(text, false),
                });
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(ConfigError::new(
                "scope",
                format!("{text:?} is not `resource:action`, `resource:*` or `*` in lower case"),
            ))
        }
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

/// The scopes of a key: sorted, each once, at most 256.
///
/// Kept and stored as one text with single spaces between (the form of RFC 6749, section 3.3), which is also the form
/// that [`FromStr`] reads; one allocation, which clones share.
///
/// ```
/// use tower_api_key::key::ScopeSet;
///
/// let scopes: ScopeSet = "orders:write orders:read".parse()?;
/// assert_eq!(scopes.to_string(), "orders:read orders:write");
/// assert!(scopes.allows(&"orders:read".parse()?));
/// assert!(!scopes.allows(&"orders:delete".parse()?));
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ScopeSet(Arc<str>);

impl ScopeSet {
    /// A set of these scopes.
    ///
    /// # Errors
    /// When there are more than 256.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, ConfigError> {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        if scopes.len() > MOST {
            return Err(ConfigError::new("scopes", "a key may have at most 256"));
        }
        let texts: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
        Ok(Self(texts.join(" ").into()))
    }

    /// Whether one of the scopes [covers](Scope::covers) what is needed.
    pub fn allows(&self, needed: &Scope) -> bool {
        self.iter().any(|granted| covers(granted, &needed.0))
    }

    /// The scopes' texts, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// All scopes with single spaces between.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for ScopeSet {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let scopes: Result<Vec<Scope>, _> = text.split_ascii_whitespace().map(str::parse).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_two_wildcards_match_more_than_themselves() {
        assert!(scope("*").covers(&scope("orders:read")));
        assert!(scope("orders:*").covers(&scope("orders:*")));
        assert!(!scope("orders:r*").covers(&scope("orders:read")));
        assert!(!scope("orders").covers(&scope("orders:read")));
        assert!(!scope("orders:*").covers(&scope("orders-archive:read")));
        assert!(!scope("orders:*").covers(&scope("orders")));
        assert!(!scope("orders:read").covers(&scope("*")));
    }

    #[test]
    fn the_grammar_is_kept() {
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
        for good in ["a", "a:b", "a:*", "*", "a.b-c_d:x.y"] {
            assert_eq!(scope(good).as_str(), good);
        }
    }
}
