//! Sets of short names: roles, labels, features and names of limits.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::{ParseError, unlike};

macro_rules! name_set {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:literal) => {
        $(#[$doc])*
        ///
        /// The text form has spaces between the names.
        #[derive(Clone, Default, PartialEq, Eq, Hash)]
        pub struct $name(BTreeSet<Box<str>>);

        impl $name {
            /// The most names that a set has.
            pub const MOST: usize = $most;

            /// A set of these names.
            ///
            /// # Errors
            /// When a name does not match `[a-z0-9][a-z0-9_.:/-]{0,63}`, or there are too many.
            pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, ParseError> {
                let names = names.into_iter().zip(1..);
                let names: Result<BTreeSet<Box<str>>, ParseError> = names
                    .map(|(name, number)| match check_name($what, name) {
                        Ok(()) => Ok(name.into()),
                        Err(error) => Err(error.of_entry(number)),
                    })
                    .collect();
                let names = names?;
                match names.len() <= Self::MOST {
                    true => Ok(Self(names)),
                    false => {
                        let problem = format!("must be at most {}, got {}", Self::MOST, names.len());
                        Err(ParseError::new($what, problem))
                    }
                }
            }

            /// Whether the set has this name.
            pub fn contains(&self, name: &str) -> bool {
                self.0.contains(name)
            }

            /// The names, in order.
            pub fn iter(&self) -> impl Iterator<Item = &str> {
                self.0.iter().map(|name| &**name)
            }

            /// Whether there are none.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// How many there are.
            pub fn len(&self) -> usize {
                self.0.len()
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::new(text.split_ascii_whitespace())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (index, name) in self.iter().enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    write!(f, "{space}{name}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

name_set! {
    /// The roles of a key: names of sets of scopes that the realm keeps, at most 16.
    ///
    /// ```
    /// use tower_api_key::key::RoleNames;
    ///
    /// let roles: RoleNames = "reader billing".parse()?;
    /// assert!(roles.contains("billing"));
    /// assert_eq!(roles.to_string(), "billing reader");
    /// # Ok::<_, tower_api_key::ParseError>(())
    /// ```
    RoleNames, "roles", 16
}

name_set! {
    /// The labels of a key, by which lists find it, at most 32.
    Labels, "labels", 32
}

name_set! {
    /// What a server must know to judge a key or an organization, at most 16 features. One that does not know all of them
    /// answers with 503: a newer version may have stored a restriction that this one would not see.
    Features, "features", 16
}

name_set! {
    /// Names of rate limits that are lifted: a limit of that name on a level above does not hold. At most 16.
    LimitNames, "limit names", 16
}

/// Whether this version knows all of these features.
pub(crate) fn knows_all_of(features: &Features) -> bool {
    features.iter().all(is_known)
}

#[cfg(not(feature = "testing"))]
fn is_known(feature: &str) -> bool {
    KNOWN_FEATURES.contains(&feature)
}

#[cfg(feature = "testing")]
fn is_known(feature: &str) -> bool {
    KNOWN_FEATURES.contains(&feature) || crate::sync::unpoisoned(OF_TESTS.read()).contains(feature)
}

/// This process knows these features too.
#[cfg(feature = "testing")]
pub(crate) fn know(features: &Features) {
    let mut known = crate::sync::unpoisoned(OF_TESTS.write());
    known.extend(features.iter().map(Into::into));
}

#[cfg(feature = "testing")]
static OF_TESTS: std::sync::RwLock<BTreeSet<Box<str>>> = std::sync::RwLock::new(BTreeSet::new());

/// Restrictions that came after the first release, by the names under which records require them. There are none yet.
const KNOWN_FEATURES: &[&str] = &[];

/// Whether a text can be in a set, or be the name of a role or a plan.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), ParseError> {
    let fits = |at, c| match c {
        'a'..='z' | '0'..='9' => true,
        '_' | '.' | ':' | '/' | '-' => at > 0,
        _ => false,
    };
    let wrong = match unlike(name, fits) {
        None if name.is_empty() || name.len() > LONGEST => format!("{} bytes", name.len()),
        None => return Ok(()),
        Some(wrong) => wrong,
    };
    // The text is not shown: it may be a key that was pasted into the wrong place.
    let problem = format!("must match `[a-z0-9][a-z0-9_.:/-]{{0,{}}}`, got {wrong}", LONGEST - 1);
    Err(ParseError::new(what, problem))
}

const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_of_the_grammar_are_errors() {
        for bad in ["", "-a", "A", "a b", "é", "a*", &"x".repeat(65)] {
            assert!(Labels::new([bad]).is_err(), "{bad:?}");
        }
        for good in ["a", "0", "team:a/b_c.d-e", &"x".repeat(64)] {
            assert_eq!(Labels::new([good]).unwrap().to_string(), good);
        }
        let error = "ok No".parse::<Labels>().unwrap_err().to_string();
        let form = "must match `[a-z0-9][a-z0-9_.:/-]{0,63}`";
        assert_eq!(
            error,
            format!("invalid labels: entry 2 {form}, got an upper-case letter at byte 1")
        );
    }

    #[test]
    fn sets_are_bounded_and_have_no_duplicates() {
        let names: Vec<String> = (0..17).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(RoleNames::new(names[..16].iter().copied()).unwrap().len(), 16);
        let error = RoleNames::new(names.iter().copied()).unwrap_err().to_string();
        assert_eq!(error, "invalid roles: must be at most 16, got 17");
        assert_eq!("b a b".parse::<Labels>().unwrap().to_string(), "a b");
    }
}
