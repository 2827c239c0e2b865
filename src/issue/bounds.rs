//! Bounds of names, limits and what else a row must keep to by itself.

use crate::error::ConfigError;
use crate::key::{LONGEST_NAME, MOST_LIMITS, Metadata, RateLimit, Timestamp, UserId, folds_whole};

/// Of names and values of metadata, in bytes: lists show all of it, and a cached key holds it.
const MOST_METADATA: usize = 16 << 10;

pub(super) fn check_name(name: &str) -> Result<(), ConfigError> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        let problem = format!("must have 1 to {LONGEST_NAME} bytes, got {}", name.len());
        return Err(ConfigError::new("name", problem));
    }
    if let Some(at) = name.find(char::is_control) {
        let problem = format!("must have no control characters, got one at byte {}", at + 1);
        return Err(ConfigError::new("name", problem));
    }
    Ok(())
}

pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), ConfigError> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MOST_METADATA {
        let problem = format!("must have at most {MOST_METADATA} bytes in all, got {bytes}");
        return Err(ConfigError::new("metadata", problem));
    }
    if metadata
        .iter()
        .any(|(name, value)| name.contains('\0') || value.contains('\0'))
    {
        // Not every database can hold it.
        return Err(ConfigError::new("metadata", "must have no NUL characters"));
    }
    Ok(())
}

/// A time that has no text form would be shown as another one.
pub(super) fn check_calendar(expiry: Option<Timestamp>) -> Result<(), ConfigError> {
    match expiry {
        Some(end) if !end.has_text() => {
            let problem = "must be in the years 0000 to 9999; a key without an expiry does not expire";
            Err(ConfigError::new("expiry", problem))
        }
        _ => Ok(()),
    }
}

/// Responses tell limits apart by name, so each name must be unique.
pub(super) fn check_limits(limits: &[RateLimit], others: &[RateLimit]) -> Result<(), ConfigError> {
    if limits.len() > MOST_LIMITS {
        let problem = format!("must be at most {MOST_LIMITS}, got {}", limits.len());
        return Err(ConfigError::new("rate limits", problem));
    }
    for (index, limit) in limits.iter().enumerate() {
        let mut earlier = limits.iter().take(index).chain(others);
        if earlier.any(|other| other.name() == limit.name()) {
            return Err(ConfigError::new(
                "rate limit name",
                format!(
                    "{:?} is used twice; names must be unique across a key and its organization",
                    limit.name()
                ),
            ));
        }
    }
    Ok(())
}

/// The same error, about this field.
pub(super) fn of_field(field: &'static str, error: ConfigError) -> ConfigError {
    let (_, problem) = error.into_parts();
    ConfigError::new(field, problem)
}

/// No text that can be mailed to is refused but quoted ones with spaces or a second `@`, which nobody has. The address is not
/// shown: it is somebody's.
pub(super) fn check_email(address: &str) -> Result<(), ConfigError> {
    let problem = |problem: String| Err(ConfigError::new("email", problem));
    if !(SHORTEST_EMAIL..=LONGEST_EMAIL).contains(&address.len()) {
        return problem(format!(
            "must have {SHORTEST_EMAIL} to {LONGEST_EMAIL} bytes, got {}",
            address.len()
        ));
    }
    if let Some(at) = address.find(|c: char| c.is_control() || c.is_whitespace()) {
        return problem(format!(
            "must have no spaces and no control characters, got one at byte {}",
            at + 1
        ));
    }
    let parts = address.split_once('@').filter(|(_, domain)| !domain.contains('@'));
    let is_mailbox = |local: &str, domain: &str| {
        (1..=64).contains(&local.len()) && !domain.is_empty() && domain.split('.').all(|label| !label.is_empty())
    };
    if !parts.is_some_and(|(local, domain)| is_mailbox(local, domain)) {
        return problem("must be `name@domain`, with one `@` and a name of 1 to 64 bytes".to_owned());
    }
    // Otherwise two addresses with the same start would be one.
    if !folds_whole(address) {
        return problem("has too many characters that stand for several others".to_owned());
    }
    Ok(())
}

pub(super) fn check_max_keys(number: Option<u32>) -> Result<(), ConfigError> {
    match number {
        Some(0) => Err(ConfigError::new("max_keys", "must be at least 1, got 0")),
        _ => Ok(()),
    }
}

/// What something is for, in the words of those who run the service.
pub(super) fn check_description(text: &str) -> Result<(), ConfigError> {
    if text.len() > LONGEST_DESCRIPTION {
        let problem = format!("must have at most {LONGEST_DESCRIPTION} bytes, got {}", text.len());
        return Err(ConfigError::new("description", problem));
    }
    match text.find(char::is_control) {
        Some(at) => {
            let problem = format!("must have no control characters, got one at byte {}", at + 1);
            Err(ConfigError::new("description", problem))
        }
        None => Ok(()),
    }
}

pub(super) fn check_owner(user: Option<&UserId>, ends_with_user: bool) -> Result<(), ConfigError> {
    match user {
        None if ends_with_user => Err(ConfigError::new("ends_with_user", "needs a user, and the key has none")),
        _ => Ok(()),
    }
}

const SHORTEST_EMAIL: usize = 3;
/// RFC 5321, with errata 1690.
const LONGEST_EMAIL: usize = 254;
const LONGEST_DESCRIPTION: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_at_sign_and_no_spaces() {
        let long = format!("{}@b.example", "a".repeat(64));
        let folding = format!("{}@b", "\u{fdfa}".repeat(20));
        let longest = format!("a@{}", "b".repeat(252));
        for good in ["a@b", "Alice.Adams+keys@Acme.example", "ünï@例え.jp", &long, &longest] {
            assert_eq!(check_email(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a@",
            "@b",
            "ab",
            "abc",
            "a@b@c",
            "a b@c",
            "a@b\n",
            "a@.b",
            "a@b.",
            "a@b..c",
            &format!("a{long}"),
            &format!("{longest}b"),
            &folding,
        ] {
            let error = check_email(bad).unwrap_err();
            assert_eq!(error.setting(), "email", "{bad}");
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
    }
}
