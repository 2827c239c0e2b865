//! The one text form of an event, which is what the chain hashes and what stores keep.
//!
//! Fields stand in a fixed order, each as `length:text,` with the length in bytes (a netstring), so that no field can
//! pretend to be two. The order: `2`, the id of the key that the chain is hashed with, organization, commit, time in
//! milliseconds, actor's kind and id, action, key, user, the commitments to the two parts of the personal fields in hexadecimal,
//! then name and value of each detail. What is not set is empty.
//!
//! Events from before there were audit keys begin with the organization, and have neither key nor commitment.

use crate::audit::netstring::{Fields, push};
use crate::audit::{AuditAction, AuditEvent, CommitId, PersonalFields, PersonalRow};
use crate::key::{Actor, Timestamp, hex};

const VERSION: &str = "2";

pub(super) fn write(event: &AuditEvent, commit: CommitId, key: &str) -> String {
    let mut text = String::new();
    let mut field = |value: &str| push(&mut text, value);
    field(VERSION);
    field(key);
    field(&event.organization_id.to_string());
    field(&commit.to_string());
    field(&event.at.as_millis().to_string());
    field(event.actor.kind().as_str());
    field(event.actor.id());
    field(event.action.as_str());
    field(&event.key_id.map(|id| id.to_string()).unwrap_or_default());
    field(event.user.as_ref().map_or("", |user| user.as_str()));
    for commitment in event.personal.commitments() {
        field(&commitment.map(|hash| hex::encode(&hash)).unwrap_or_default());
    }
    for (name, value) in &event.details {
        field(name);
        field(value);
    }
    text
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl AuditEvent {
    /// The text of an event that no commit has linked yet, without its personal fields.
    pub(crate) fn to_text(&self) -> String {
        write(self, CommitId::from(uuid::Uuid::nil()), "")
    }

    /// `None` for text that is not one.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        read(text).map(|payload| payload.event)
    }
}

/// What a payload says.
pub(super) struct Payload<'a> {
    /// The id of the key that the chain is hashed with; empty for none.
    pub(super) key: &'a str,
    pub(super) commit: CommitId,
    /// Without its personal fields.
    pub(super) event: AuditEvent,
    pub(super) commitments: [Option<[u8; 32]>; 2],
}

/// `None` for text that no version writes.
pub(super) fn read(text: &str) -> Option<Payload<'_>> {
    let mut fields = Fields(text);
    let first = fields.take()?;
    let is_first_version = first.len() == 36;
    let (key, organization) = match first {
        VERSION => (fields.take()?, fields.take()?),
        organization if is_first_version => ("", organization),
        _ => return None,
    };
    let organization_id = organization.parse().ok()?;
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
    let mut commitments = [None; 2];
    if !is_first_version {
        for commitment in &mut commitments {
            *commitment = match fields.take()? {
                "" => None,
                hash => Some(hex::decode(hash)?),
            };
        }
    }
    event.details = fields.pairs()?;
    event.personal = PersonalFields::from_stored(commitments, None)?;
    // Numbers, ids and hexadecimal have more than one form.
    let again = match is_first_version {
        true => write(&event, commit, "")
            .strip_prefix("1:2,0:,")
            .map(without_commitments),
        false => Some(write(&event, commit, key)),
    };
    let payload = Payload {
        key,
        commit,
        event,
        commitments,
    };
    (again.as_deref() == Some(text)).then_some(payload)
}

/// The text without the two fields after the user, which are empty and which the first version does not have.
fn without_commitments(text: &str) -> String {
    let mut fields = Fields(text);
    let taken: Option<Vec<&str>> = (0..8).map(|_| fields.take()).collect();
    let start = &text[..text.len() - fields.0.len()];
    match taken {
        Some(_) => format!("{start}{}", fields.0.strip_prefix("0:,0:,").unwrap_or_default()),
        None => String::new(),
    }
}

/// The event of a stored payload, with its personal fields.
pub(super) fn event(payload: Payload<'_>, personal: Option<&PersonalRow>) -> Option<AuditEvent> {
    let mut event = payload.event;
    event.personal = PersonalFields::from_stored(payload.commitments, personal)?;
    Some(event)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::key::{KeyId, OrganizationId};

    fn example() -> (AuditEvent, CommitId) {
        let organization = OrganizationId::from(Uuid::from_u128(1));
        let at = Timestamp::from_millis(1_767_225_600_000);
        let event = AuditEvent::new(organization, at, Actor::user("alice"), AuditAction::KEY_REVOKED)
            .key(KeyId::from(Uuid::from_u128(2)))
            .detail("reason", "lost: é, \"\n");
        (event, CommitId::from(Uuid::from_u128(3)))
    }

    fn read_back(text: &str) -> Option<(AuditEvent, CommitId, &str)> {
        read(text).map(|payload| (payload.event, payload.commit, payload.key))
    }

    /// The forms are stored and hashed, so they must not change.
    #[test]
    fn forms_are_frozen() {
        let (event, commit) = example();
        let first = "36:00000000-0000-0000-0000-000000000001,36:00000000-0000-0000-0000-000000000003,13:1767225600000,\
                     4:user,5:alice,11:key.revoked,36:00000000-0000-0000-0000-000000000002,0:,6:reason,12:lost: é, \"\n,";
        assert_eq!(read_back(first), Some((event.clone(), commit, "")));

        let text = write(&event, commit, "0");
        assert_eq!(
            text,
            "1:2,1:0,36:00000000-0000-0000-0000-000000000001,36:00000000-0000-0000-0000-000000000003,13:1767225600000,\
             4:user,5:alice,11:key.revoked,36:00000000-0000-0000-0000-000000000002,0:,0:,0:,6:reason,12:lost: é, \"\n,"
        );
        assert_eq!(read_back(&text), Some((event, commit, "0")));
    }

    #[test]
    fn personal_fields_are_committed_to_and_not_in_the_text() {
        let (event, commit) = example();
        let event = event.personal("address", "192.0.2.7");
        let text = write(&event, commit, "");
        assert!(!text.contains("192.0.2.7") && !text.contains("address"));
        let [origin, others] = event.personal.commitments();
        assert!(text.contains(&hex::encode(&origin.unwrap())) && others.is_none());
        let mut forgotten = event;
        forgotten.personal.forget();
        assert_eq!(read_back(&text), Some((forgotten, commit, "")));
    }

    #[test]
    fn other_text_is_not_read() {
        let (event, commit) = example();
        let event = event.personal("address", "192.0.2.7");
        let text = write(&event, commit, "0");
        let hash = hex::encode(&event.personal.commitments()[0].unwrap());
        for wrong in [
            String::new(),
            text.replace("1:2,", "1:3,"),
            text.replace("5:alice", "05:alice"),
            text.replace("5:alice", "4:alice"),
            text.replace("5:alice", "6:alice"),
            text.replace("4:user", "4:usex"),
            text.replace("13:1767225600000", "14:01767225600000"),
            text.replace(&hash, &hash.to_uppercase()),
            format!("{text}6:reason,"),
            format!("{text} "),
            text.trim_end_matches(',').to_owned(),
        ] {
            assert!(wrong == text || read(&wrong).is_none(), "{wrong}");
        }
    }
}
