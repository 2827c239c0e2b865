//! Who acts, and from where.

use std::net::IpAddr;

use crate::audit::AuditEvent;
use crate::key::{Actor, is_hidden, shortened};

const LONGEST_AGENT: usize = 256;
/// Every key has a longer part than this without a separator.
const SHORTEST_KEY: usize = 20;

/// Who makes changes, and from where: for [`Issuer::acting_as`](crate::Issuer::acting_as), which takes an [`Actor`] alone too.
///
/// Audit events have the actor's kind and id. Name, address and user agent are personal: they are kept beside the chain and can
/// be forgotten.
///
/// ```
/// use tower_api_key::audit::Caller;
/// use tower_api_key::key::Actor;
///
/// let caller = Caller::new(Actor::user("alice"))
///     .name("Alice Adams")
///     .address("192.0.2.7".parse()?)
///     .user_agent("curl/8.5 (key_live_4kTz0Q2mVbXwA1b2C3d4)");
/// assert_eq!(caller.agent(), Some("curl/8.5 ([masked])"));
/// # Ok::<_, std::net::AddrParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Caller {
    actor: Actor,
    name: Option<Box<str>>,
    address: Option<IpAddr>,
    agent: Option<Box<str>>,
}

impl Caller {
    /// This actor, from nowhere known.
    pub fn new(actor: Actor) -> Self {
        Self {
            actor,
            name: None,
            address: None,
            agent: None,
        }
    }

    /// The actor's name, as people read it.
    pub fn name(mut self, name: &str) -> Self {
        self.name = (!name.is_empty()).then(|| visible(name).into());
        self
    }

    /// The address of the client.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address.to_canonical());
        self
    }

    /// The client's user agent, of which at most 256 bytes are kept. Control characters become `U+FFFD`. What may be a key
    /// becomes `[masked]`: 20 or more letters, digits, `_`, `-` and `%` in a row, unless they are small letters and `-` alone.
    pub fn user_agent(mut self, agent: &str) -> Self {
        self.agent = (!agent.is_empty()).then(|| cleaned(agent).into());
        self
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The user agent, as it is kept.
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// The event, with what is known of this caller.
    pub(crate) fn describe(&self, mut event: AuditEvent) -> AuditEvent {
        if let Some(name) = &self.name {
            event = event.personal("actor.name", name);
        }
        if let Some(address) = self.address {
            event = event.at_address(address);
        }
        if let Some(agent) = &self.agent {
            event = event.personal("agent", agent);
        }
        event
    }
}

impl From<Actor> for Caller {
    fn from(actor: Actor) -> Self {
        Self::new(actor)
    }
}

/// Names no person: for `Debug` of whatever holds one.
impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller")
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

fn visible(text: &str) -> String {
    let shown = |c: char| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// Masked before it is cut: what is left of a key could be short enough to pass.
fn cleaned(agent: &str) -> String {
    // Enough for whatever is kept, and a bound on the work.
    let agent = visible(shortened(agent, 16 * LONGEST_AGENT));
    let is_of_keys = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '%');
    let mut text = String::new();
    let mut rest = &*agent;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_of_keys(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run);
        let is_plain = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        text.push_str(match word.len() < SHORTEST_KEY || is_plain {
            true => word,
            false => "[masked]",
        });
        let next = after.find(is_of_keys).unwrap_or(after.len());
        text.push_str(&after[..next]);
        rest = &after[next..];
    }
    shortened(&text, LONGEST_AGENT).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_user_agents_stay() {
        for agent in [
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36",
            "curl/8.5.0",
            "my-company-internal-service-client/2",
            "python-requests/2.31.0",
        ] {
            assert_eq!(cleaned(agent), agent);
        }
    }

    #[test]
    fn what_may_be_a_key_is_masked_wherever_it_is() {
        let base62 = "4kTz0Q2mVbXwA1b2C3d4E5";
        for key in [
            format!("acme_live_{base62}"),
            base62.to_owned(),
            "a".repeat(200) + base62,
            "0123456789abcdef0123456789abcdef".to_owned(),
            format!("17|{base62}{base62}"),
            format!("-{base62}-_"),
            "%61%62%63%64%65%66%67%68".to_owned(),
        ] {
            for agent in [
                key.clone(),
                format!("a/1 ({key})"),
                format!("{}{key}", "x ".repeat(120)),
            ] {
                let kept = cleaned(&agent);
                assert!(kept.len() <= 256, "{kept}");
                let parts = key.split('|').flat_map(|part| part.as_bytes().windows(12));
                for part in parts {
                    assert!(!kept.as_bytes().windows(12).any(|window| window == part), "{kept}");
                }
            }
        }
    }

    #[test]
    fn hidden_characters_are_replaced_and_length_is_bounded() {
        assert_eq!(
            cleaned("a\u{1b}[2J\r\n\u{202e}b\u{2028}\u{61c}"),
            "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}\u{fffd}"
        );
        assert_eq!(cleaned(&"é ".repeat(1000)).len(), 255);
        assert_eq!(cleaned(&"\u{1}".repeat(100_000)).len(), 255);
    }
}
