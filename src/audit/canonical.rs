//! The one text form of an event, which is what the chain hashes and what stores keep.
//!
//! Fields stand in a fixed order, each as `length:text,` with the length in bytes (a netstring), so that no field can
//! pretend to be two. The order: organization, commit, time in milliseconds, actor's kind and id, action, key, user, then
//! name and value of each detail. A key or user that is not set is empty.

use std::fmt::Write as _;

use crate::audit::{AuditAction, AuditEvent, CommitId};
use crate::key::{Actor, Timestamp};

pub(super) fn write(event: &AuditEvent, commit: CommitId) -> String {
    let mut text = String::new();
    let mut field = |value: &str| {
        // Writing into a string does not fail.
        let _ = write!(text, "{}:{value},", value.len());
    };
    field(&event.organization_id.to_string());
    field(&commit.to_string());
    field(&event.at.as_millis().to_string());
    field(event.actor.kind().as_str());
    field(event.actor.id());
    field(event.action.as_str());
    field(&event.key_id.map(|id| id.to_string()).unwrap_or_default());
    field(event.user.as_ref().map_or("", |user| user.as_str()));
    for (name, value) in &event.details {
        field(name);
        field(value);
    }
    text
}

/// `None` for text that [`write`] does not write.
pub(super) fn read(text: &str) -> Option<(AuditEvent, CommitId)> {
    let mut fields = Fields(text);
    let organization_id = fields.take()?.parse().ok()?;
    let commit = fields.take()?.parse().ok()?;
    let at = Timestamp::from_millis(fields.take()?.parse().ok()?);
    let actor: Actor = format!("{}:{}", fields.take()?, fields.take()?).parse().ok()?;
    let action = AuditAction::new(fields.take()?);
    let mut event = AuditEvent::new(organization_id, at, actor, action);
    event.key_id = match fields.take()? {
        "" => None,
        id => Some(id.parse().ok()?),
    };
    event.user = match fields.take()? {
        "" => None,
        user => Some(user.parse().ok()?),
    };
    while !fields.0.is_empty() {
        let detail = (fields.take()?.to_owned(), fields.take()?.to_owned());
        event.details.push(detail);
    }
    (write(&event, commit) == text).then_some((event, commit))
}

struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let (length, rest) = self.0.split_once(':')?;
        let length: usize = length.parse().ok()?;
        let field = rest.get(..length)?;
        self.0 = rest.get(length..)?.strip_prefix(',')?;
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::key::{KeyId, OrganizationId};

    fn event() -> (AuditEvent, CommitId) {
        let organization = OrganizationId::from(Uuid::from_u128(1));
        let at = Timestamp::from_millis(1_767_225_600_000);
        let event = AuditEvent::new(organization, at, Actor::user("alice"), AuditAction::KEY_REVOKED)
            .key(KeyId::from(Uuid::from_u128(2)))
            .detail("reason", "lost: é, \"\n");
        (event, CommitId::from(Uuid::from_u128(3)))
    }

    /// The form is stored and hashed, so it must not change.
    #[test]
    fn form_is_frozen() {
        let (event, commit) = event();
        let text = write(&event, commit);
        assert_eq!(
            text,
            "36:00000000-0000-0000-0000-000000000001,36:00000000-0000-0000-0000-000000000003,13:1767225600000,4:user,\
             5:alice,11:key.revoked,36:00000000-0000-0000-0000-000000000002,0:,6:reason,12:lost: é, \"\n,"
        );
        assert_eq!(read(&text), Some((event, commit)));
    }

    #[test]
    fn other_text_is_not_read() {
        let (event, commit) = event();
        let text = write(&event, commit);
        for wrong in [
            String::new(),
            text.replace("5:alice", "05:alice"),
            text.replace("5:alice", "4:alice"),
            text.replace("5:alice", "6:alice"),
            text.replace("4:user", "4:usex"),
            text.replace("13:1767225600000", "14:01767225600000"),
            format!("{text}6:reason,"),
            format!("{text} "),
            text.trim_end_matches(',').to_owned(),
        ] {
            assert_eq!(read(&wrong), None, "{wrong}");
        }
    }
}
