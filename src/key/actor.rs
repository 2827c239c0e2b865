//! Who makes a change.

use std::fmt;
use std::str::FromStr;

use crate::error::ParseError;
use crate::key::KeyId;
use crate::key::text::shortened;

const LONGEST_ID: usize = 255;

/// Who makes a change: a kind and an id, never a person's name. Audit events and revocations keep it.
///
/// `Display` and `FromStr` use the form `kind:id`, such as `user:alice`, or the kind alone where there is no id.
///
/// ```
/// use tower_api_key::key::{Actor, ActorKind};
///
/// let alice = Actor::user("alice");
/// assert_eq!(alice.to_string(), "user:alice");
/// assert_eq!("user:alice".parse::<Actor>()?, alice);
/// assert_eq!(Actor::service().kind(), ActorKind::Service);
/// # Ok::<_, tower_api_key::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    kind: ActorKind,
    id: Box<str>,
}

/// What kind of actor makes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorKind {
    /// The service that this crate is part of.
    Service,
    /// A user of the service.
    User,
    /// Someone who presented an API key.
    Key,
    /// An operator, at the command line.
    Operator,
    /// This crate's own maintenance.
    System,
}

impl Actor {
    /// The service itself. [`Issuer::new`](crate::Issuer::new) acts as this.
    pub fn service() -> Self {
        Self::new(ActorKind::Service, "")
    }

    /// A user, by the id that the service gives its users. Of an id longer than 255 bytes the start is kept, and control
    /// characters become `U+FFFD`.
    pub fn user(id: impl Into<String>) -> Self {
        Self::new(ActorKind::User, &id.into())
    }

    /// The holder of an API key.
    pub fn key(id: KeyId) -> Self {
        Self::new(ActorKind::Key, &id.to_string())
    }

    /// An operator, by login name or the like. The id is bounded as in [`user`](Self::user).
    pub fn operator(id: impl Into<String>) -> Self {
        Self::new(ActorKind::Operator, &id.into())
    }

    /// This crate's own maintenance.
    pub fn system() -> Self {
        Self::new(ActorKind::System, "")
    }

    /// What kind of actor this is.
    pub fn kind(&self) -> ActorKind {
        self.kind
    }

    /// The id; empty for the service and the system.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn new(kind: ActorKind, id: &str) -> Self {
        let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let id: String = shortened(id, LONGEST_ID).chars().map(shown).collect();
        // Again, since a replacement may be longer than what it replaces.
        let id = shortened(&id, LONGEST_ID).into();
        Self { kind, id }
    }
}

impl ActorKind {
    /// `service`, `user`, `key`, `operator` or `system`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::User => "user",
            Self::Key => "key",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    fn of(text: &str) -> Option<Self> {
        let kinds = [Self::Service, Self::User, Self::Key, Self::Operator, Self::System];
        kinds.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.id {
            "" => f.write_str(self.kind.as_str()),
            id => write!(f, "{}:{id}", self.kind.as_str()),
        }
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actor({:?})", self.to_string())
    }
}

impl FromStr for Actor {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        let Some(kind) = ActorKind::of(kind) else {
            return Err(ParseError::new(
                "actor",
                "must start with service, user, key, operator or system",
            ));
        };
        let actor = Self::new(kind, id);
        if *actor.id != *id {
            return Err(ParseError::new(
                "actor",
                "its id must have at most 255 bytes and no control characters",
            ));
        }
        Ok(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for actor in [
            Actor::service(),
            Actor::system(),
            Actor::user("a:b é"),
            Actor::operator("root"),
            Actor::key(KeyId::new()),
            Actor::user("é".repeat(300)),
            Actor::user("a\n\0".repeat(100)),
        ] {
            assert!(actor.id().len() <= LONGEST_ID);
            assert_eq!(actor.to_string().parse(), Ok(actor.clone()), "{actor:?}");
        }
        for text in ["", "alice", "User:a", "user:a\n", &format!("user:{}", "x".repeat(256))] {
            assert!(text.parse::<Actor>().is_err(), "{text}");
        }
    }
}
