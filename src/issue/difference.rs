//! What audit events say of a change: fields before and after, those of persons apart.

use crate::audit::AuditEvent;
use crate::key::{KeyRecord, Metadata, RateLimit, Timestamp, User, shortened};

/// Of one value. What is longer is cut.
const LONGEST: usize = 1024;

/// One field of a row: its name, whether it may name persons, and its text. What is not set is empty.
pub(super) struct Field {
    name: &'static str,
    is_personal: bool,
    /// It is compared, and not told.
    is_withheld: bool,
    text: String,
}

/// The event, with the fields that a key has now and those it had before, as far as they differ.
pub(super) fn of_key(event: AuditEvent, before: Option<&KeyRecord>, after: &KeyRecord) -> AuditEvent {
    let mut was = before.map(key_fields);
    // The event is about the user that the key has now, and is forgotten with that one. What it would say of the one before stands in
    // events about that one.
    if before.is_some_and(|before| before.user.is_some() && before.user != after.user) {
        was.iter_mut()
            .flatten()
            .for_each(|field| field.is_withheld = field.is_personal);
    }
    described(event, was, key_fields(after))
}

/// The event, with the fields that a user has now and those it had before, as far as they differ. A deleted user has none now.
pub(super) fn of_user(event: AuditEvent, before: Option<&User>, after: Option<&User>) -> AuditEvent {
    let fields = after.map_or_else(no_user_fields, user_fields);
    described(event, before.map(user_fields), fields)
}

/// The event, with the fields that a row has now and those it had before, as far as they differ.
pub(super) fn described<const N: usize>(
    mut event: AuditEvent,
    before: Option<[Field; N]>,
    after: [Field; N],
) -> AuditEvent {
    let before: Vec<Option<Field>> = match before {
        Some(fields) => fields.into_iter().map(Some).collect(),
        None => after.iter().map(|_| None).collect(),
    };
    for (before, after) in before.into_iter().zip(after) {
        let was = before.as_ref().map_or("", |field| &field.text);
        if was == after.text {
            continue;
        }
        for (when, text) in [("before", was), ("after", &after.text)] {
            // A key that was just made has no before.
            if when == "before" && before.as_ref().is_none_or(|field| field.is_withheld) {
                continue;
            }
            let (name, text) = (format!("{when}.{}", after.name), shortened(text, LONGEST));
            event = match after.is_personal {
                true => event.personal(name, text),
                false => event.detail(name, text),
            };
        }
    }
    event
}

fn key_fields(record: &KeyRecord) -> [Field; 16] {
    [
        // An id, and so no personal field.
        chained("user", record.user.as_ref().map(|user| user.as_str().to_owned())),
        chained("ends_with_user", set(record.ends_with_user)),
        personal("name", &record.name),
        chained("labels", Some(record.labels.to_string())),
        chained("environment", record.environment.clone()),
        chained("scopes", Some(record.scopes.to_string())),
        chained("roles", Some(record.roles.to_string())),
        // A network may be one person's address.
        personal("networks", &record.networks.to_string()),
        chained("limits", Some(limits(&record.limits))),
        chained("lifted_limits", Some(record.lifted_limits.to_string())),
        personal("metadata", &metadata(&record.metadata)),
        chained("created_by_key", record.created_by_key.map(|id| id.to_string())),
        chained("canary", set(record.is_canary)),
        chained("requires", Some(record.requires.to_string())),
        chained("expires_at", record.expires_at.map(time)),
        chained("status", Some(record.status.as_str().to_owned())),
    ]
}

/// The event, with what a row had that is gone.
pub(super) fn removed<const N: usize>(event: AuditEvent, before: [Field; N]) -> AuditEvent {
    before
        .into_iter()
        .filter(|field| !field.text.is_empty())
        .fold(event, |event, field| {
            let (name, text) = (format!("before.{}", field.name), shortened(&field.text, LONGEST));
            match field.is_personal {
                true => event.personal(name, text),
                false => event.detail(name, text),
            }
        })
}

fn set(is_set: bool) -> Option<String> {
    is_set.then(|| "true".to_owned())
}

fn user_fields(user: &User) -> [Field; 4] {
    [
        personal("name", user.name.as_deref().unwrap_or_default()),
        personal("email", user.email.as_deref().unwrap_or_default()),
        personal("metadata", &metadata(&user.metadata)),
        chained("status", Some(user.status.as_str().to_owned())),
    ]
}

fn no_user_fields() -> [Field; 4] {
    [
        personal("name", ""),
        personal("email", ""),
        personal("metadata", ""),
        chained("status", None),
    ]
}

pub(super) fn chained(name: &'static str, text: Option<String>) -> Field {
    Field {
        name,
        is_personal: false,
        is_withheld: false,
        text: text.unwrap_or_default(),
    }
}

pub(super) fn personal(name: &'static str, text: &str) -> Field {
    Field {
        name,
        is_personal: true,
        is_withheld: false,
        text: text.to_owned(),
    }
}

pub(super) fn limits(limits: &[RateLimit]) -> String {
    let texts: Vec<String> = limits.iter().map(RateLimit::to_string).collect();
    texts.join("; ")
}

pub(super) fn metadata(metadata: &Metadata) -> String {
    let pairs: Vec<String> = metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

fn time(time: Timestamp) -> String {
    time.to_string()
}
