//! Bounds of names and limits.

use crate::error::ConfigError;
use crate::key::{LONGEST_NAME, MOST_LIMITS, Metadata, RateLimit, Timestamp};

/// Of an e-mail address, in bytes (RFC 5321).
const LONGEST_EMAIL: usize = 254;
/// Of names and values of metadata, in bytes.
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

/// One `@` with something on both sides. What else is an address, the mail server of the domain knows alone.
pub(super) fn check_email(email: &str) -> Result<(), ConfigError> {
    let has_two_parts = email.split('@').count() == 2 && !email.starts_with('@') && !email.ends_with('@');
    let is_shown = !email.chars().any(|c| c.is_control() || c.is_whitespace());
    if email.len() > LONGEST_EMAIL || !has_two_parts || !is_shown {
        let problem = format!(
            "must be an e-mail address of at most {LONGEST_EMAIL} bytes with one @ and no spaces, got {} bytes",
            email.len()
        );
        return Err(ConfigError::new("email", problem));
    }
    Ok(())
}

pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), ConfigError> {
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MOST_METADATA {
        let problem = format!("must have at most {MOST_METADATA} bytes in all, got {bytes}");
        return Err(ConfigError::new("metadata", problem));
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
