//! Where a page ends.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::{ConfigError, ParseError};
use crate::store::{StoreError, StoreErrorKind};

const VERSION: u8 = 2;
const DOMAIN: &[u8] = b"ak-cursor-2";
const LIST_DOMAIN: &[u8] = b"ak-list-2";
const SHORTEST_SECRET: usize = 32;
const LONGEST: usize = 1024;

/// Where a page ends and the next one begins: opaque text, to be handed back in the same query.
///
/// It belongs to one query with one set of filters and one order, and to the secret that it was made under; elsewhere it is
/// [`InvalidCursor`](StoreErrorKind::InvalidCursor).
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor(Box<str>);

/// Which list a cursor belongs to: a digest of query, filters and order.
pub(super) type ListId = [u8; 32];

/// The start of an HMAC: at a million attempts a second, one forgery takes half a million years.
type Tag = [u8; 8];

/// The secret that cursors are made under, so that nobody else can make one. Clones share it.
///
/// Every server that lists the same rows needs the same one. [`ApiKeys::read`](crate::ApiKeys::read) takes it from the
/// secrets of the realm. Without one, a cursor is bound to its list, and anyone can make one that leads to another place of
/// that list.
#[derive(Clone)]
pub struct CursorKey(Arc<Hmac<Sha256>>);

impl CursorKey {
    /// From at least 32 random bytes.
    ///
    /// # Errors
    /// When there are fewer.
    ///
    /// # Security
    /// Use the secret for nothing else. Wipe the bytes you pass in.
    pub fn new(secret: &[u8]) -> Result<Self, ConfigError> {
        if secret.len() < SHORTEST_SECRET {
            let problem = format!("must have at least {SHORTEST_SECRET} bytes, got {}", secret.len());
            return Err(ConfigError::new("cursor secret", problem));
        }
        // HMAC takes secrets of any length, so this error never happens.
        let mac = Hmac::new_from_slice(secret).map_err(|error| ConfigError::new("cursor secret", error.to_string()))?;
        Ok(Self(Arc::new(mac)))
    }

    /// The MAC of something else that needs a secret of the realm. `domain` begins differently from those here, so that nothing that is
    /// made under it is a cursor.
    pub(crate) fn mac_of(&self, domain: &[u8]) -> Hmac<Sha256> {
        (*self.0).clone().chain_update(domain)
    }

    /// What binds a place to its list.
    fn tag(&self, list: ListId, place: &[u8]) -> Tag {
        let mac = (*self.0).clone().chain_update(DOMAIN).chain_update(list);
        let digest = mac.chain_update(place).finalize().into_bytes();
        let mut tag = Tag::default();
        tag.iter_mut().zip(digest).for_each(|(byte, first)| *byte = first);
        tag
    }
}

/// No secret: the empty one.
impl Default for CursorKey {
    fn default() -> Self {
        Self(Arc::new(Hmac::new(&Default::default())))
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey([redacted])")
    }
}

/// What rows are ordered by. Ids and numbers are unique, so that no two rows of a list are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SortKey {
    /// By id.
    Id(Uuid),
    /// By name as it is searched, then by id.
    Name(String, Uuid),
    /// By organization, then by number.
    Entry(Uuid, u64),
    /// By time in milliseconds, then by organization and number.
    Time(i64, Uuid, u64),
}

impl Cursor {
    /// The text, for clients.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn new(key: &CursorKey, list: ListId, last: &SortKey) -> Self {
        let (kind, id, rest): (u8, &Uuid, Vec<u8>) = match last {
            SortKey::Id(id) => (b'i', id, Vec::new()),
            SortKey::Name(name, id) => (b'n', id, name.clone().into_bytes()),
            SortKey::Entry(id, number) => (b'e', id, number.to_be_bytes().to_vec()),
            SortKey::Time(at, id, number) => (b't', id, [at.to_be_bytes(), number.to_be_bytes()].concat()),
        };
        let place = [&[kind], &id.as_bytes()[..], &rest].concat();
        let bytes = [&[VERSION], &key.tag(list, &place)[..], &place].concat();
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// The last row's sort key.
    pub(super) fn open(&self, key: &CursorKey, list: ListId) -> Result<SortKey, StoreError> {
        self.read(key, list)
            .ok_or_else(|| StoreError::new(StoreErrorKind::InvalidCursor))
    }

    fn read(&self, key: &CursorKey, list: ListId) -> Option<SortKey> {
        let bytes = URL_SAFE_NO_PAD.decode(&*self.0).ok()?;
        let (tag, place) = bytes.strip_prefix(&[VERSION])?.split_first_chunk::<8>()?;
        // In constant time: otherwise a tag could be found byte by byte.
        if !bool::from(tag.ct_eq(&key.tag(list, place))) {
            return None;
        }
        let (kind, rest) = place.split_first()?;
        let (id, rest) = rest.split_first_chunk()?;
        let id = Uuid::from_bytes(*id);
        match kind {
            b'i' if rest.is_empty() => Some(SortKey::Id(id)),
            b'n' => Some(SortKey::Name(String::from_utf8(rest.to_vec()).ok()?, id)),
            b'e' => Some(SortKey::Entry(id, u64::from_be_bytes(rest.try_into().ok()?))),
            b't' => {
                let (at, number) = rest.split_first_chunk()?;
                let number = u64::from_be_bytes(number.try_into().ok()?);
                Some(SortKey::Time(i64::from_be_bytes(*at), id, number))
            }
            _ => None,
        }
    }
}

/// The id of the list that these fields stand for.
pub(super) fn list_id(fields: &[Option<&str>]) -> ListId {
    let mut hash = Sha256::new_with_prefix(LIST_DOMAIN);
    for field in fields {
        match field {
            Some(field) => {
                hash.update([1]);
                hash.update((field.len() as u64).to_be_bytes());
                hash.update(field);
            }
            None => hash.update([0]),
        }
    }
    hash.finalize().into()
}

impl FromStr for Cursor {
    type Err = ParseError;

    /// Takes any short text; whether it is a cursor of the query shows when a store reads it.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() > LONGEST {
            return Err(ParseError::new(
                "cursor",
                format!("must have at most {LONGEST} bytes, got {}", text.len()),
            ));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({:?})", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> CursorKey {
        CursorKey::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn opens_in_its_own_list_and_under_its_own_secret_only() {
        let (ours, theirs) = (key(1), key(2));
        let (mine, other) = (list_id(&[Some("a"), None]), list_id(&[None, Some("a")]));
        let id = Uuid::now_v7();
        for place in [
            SortKey::Id(id),
            SortKey::Name("é".repeat(120), id),
            SortKey::Name(String::new(), id),
            SortKey::Entry(id, u64::MAX),
            SortKey::Time(-1, id, 7),
        ] {
            let cursor: Cursor = Cursor::new(&ours, mine, &place).as_str().parse().unwrap();
            assert_eq!(cursor.open(&ours, mine).unwrap(), place);
            for (key, list) in [(&ours, other), (&theirs, mine), (&CursorKey::default(), mine)] {
                let error = cursor.open(key, list).unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::InvalidCursor);
            }
        }
    }

    #[test]
    fn short_secrets_are_refused_and_none_is_shown() {
        assert!(CursorKey::new(&[1; 31]).is_err());
        assert_eq!(format!("{:?}", key(1)), "CursorKey([redacted])");
    }

    #[test]
    fn rubbish_is_an_invalid_cursor() {
        let (list, ours) = (list_id(&[]), key(1));
        let good = Cursor::new(&ours, list, &SortKey::Id(Uuid::nil())).to_string();
        let cut = &good[..good.len() - 1];
        for text in ["", "a", "%", "AAAA", cut, &format!("{good}AA")] {
            let cursor: Cursor = text.parse().unwrap();
            assert!(cursor.open(&ours, list).is_err(), "{text}");
        }
        // Cut anywhere, with any bit changed, or longer.
        for length in 0..good.len() {
            let cursor: Cursor = good[..length].parse().unwrap();
            assert!(cursor.open(&ours, list).is_err(), "{length}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&good).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let cursor: Cursor = URL_SAFE_NO_PAD.encode(bytes).parse().unwrap();
            assert!(cursor.open(&ours, list).is_err(), "{bit}");
        }
        for text in ["YQ==", "+/+/", "\u{e9}", &"A".repeat(LONGEST), &format!("{good}=")] {
            let cursor: Cursor = text.parse().unwrap();
            assert!(cursor.open(&ours, list).is_err(), "{text}");
        }
        let name = [b"n", &Uuid::nil().as_bytes()[..], b"\xc3"].concat();
        let forged = [&[VERSION], &ours.tag(list, &name)[..], &name].concat();
        assert!(Cursor(URL_SAFE_NO_PAD.encode(forged).into()).open(&ours, list).is_err());
        let long = "a".repeat(1_000_000).parse::<Cursor>().unwrap_err();
        assert_eq!(
            long.to_string(),
            "invalid cursor: must have at most 1024 bytes, got 1000000"
        );
        assert!("a".repeat(LONGEST + 1).parse::<Cursor>().is_err());
    }

    #[test]
    fn fields_of_a_list_do_not_run_together() {
        assert_ne!(list_id(&[Some("ab"), Some("c")]), list_id(&[Some("a"), Some("bc")]));
        assert_ne!(list_id(&[Some("")]), list_id(&[None]));
    }
}
