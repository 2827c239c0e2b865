//! A presented key, and the tag that stands for it afterwards.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use sha2::block_api::compress256;
use subtle::ConstantTimeEq;

use crate::client::{ClientGroup, ClientOrigin};
use crate::key::{Lookup, OwnedKey, ParsedKey, Scope, SecretForm, SplitKey};

/// A key as a client sent it, and where it came from.
///
/// It borrows the bytes. A check copies them only if it has to wait, into memory that is wiped.
///
/// ```
/// use tower_api_key::PresentedKey;
///
/// let key = PresentedKey::new(b"key_live_not_a_real_key").client_address("192.0.2.7".parse().ok());
/// assert_eq!(format!("{key:?}"), "PresentedKey { client_address: Some(192.0.2.7), .. }");
/// ```
#[derive(Clone, Copy)]
pub struct PresentedKey<'a> {
    key: &'a [u8],
    client: ClientOrigin,
    scope: Option<&'a Scope>,
    environment: Option<&'a str>,
}

/// The same in memory of its own, for a check that has to wait. The key is wiped.
pub(super) struct OwnedPresentedKey {
    pub(super) key: OwnedKey,
    pub(super) client: ClientOrigin,
    scope: Option<Scope>,
    environment: Option<Box<str>>,
}

impl<'a> PresentedKey<'a> {
    /// A key as the client sent it, from an unknown address.
    pub fn new(key: &'a [u8]) -> Self {
        Self::from_client(key, ClientOrigin::UNKNOWN)
    }

    pub(crate) fn from_client(key: &'a [u8], client: ClientOrigin) -> Self {
        Self {
            key,
            client,
            scope: None,
            environment: None,
        }
    }

    /// The client's address. Keys with allowed networks are rejected when it is not known.
    #[must_use]
    pub fn client_address(mut self, address: Option<IpAddr>) -> Self {
        self.client = ClientOrigin::client(address);
        self
    }

    /// Requires the key to have this scope. A key that lacks it is rejected before its limits are charged.
    #[must_use]
    pub fn require_scope(mut self, scope: &'a Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Requires the key to be of this environment, such as `live`. Any other key is rejected before its limits are charged, as
    /// one that is not valid.
    #[must_use]
    pub fn only_environment(mut self, environment: &'a str) -> Self {
        self.environment = Some(environment);
        self
    }

    pub(crate) fn needing(mut self, scope: Option<&'a Scope>, environment: Option<&'a str>) -> Self {
        (self.scope, self.environment) = (scope, environment);
        self
    }

    pub(super) fn into_owned(self) -> OwnedPresentedKey {
        OwnedPresentedKey {
            key: OwnedKey::copy_of(self.key),
            client: self.client,
            scope: self.scope.cloned(),
            environment: self.environment.map(Into::into),
        }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.key
    }

    pub(super) fn client(&self) -> ClientOrigin {
        self.client
    }

    pub(super) fn scope(&self) -> Option<&'a Scope> {
        self.scope
    }

    pub(super) fn environment(&self) -> Option<&'a str> {
        self.environment
    }

    /// The client group charged for a wrong key.
    pub(super) fn failure_budget_group(&self) -> Option<ClientGroup> {
        failure_budget_group(self.client)
    }
}

impl OwnedPresentedKey {
    pub(super) fn borrow(&self) -> PresentedKey<'_> {
        PresentedKey {
            key: self.key.as_bytes(),
            client: self.client,
            scope: self.scope.as_ref(),
            environment: self.environment.as_deref(),
        }
    }
}

/// None for the address of a trusted proxy itself: its clients would share one budget. Clients with unknown address do
/// share one, because a client can hide its address, for example with a malformed `Forwarded` header, and must not escape
/// the budget that way.
pub(super) fn failure_budget_group(client: ClientOrigin) -> Option<ClientGroup> {
    (!client.is_proxy()).then(|| client.group())
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresentedKey")
            .field("client_address", &self.client.address())
            .finish_non_exhaustive()
    }
}

/// What a check keeps of a key once it is parsed.
#[derive(Clone)]
pub(super) struct TaggedKey {
    pub(super) lookup: Lookup,
    pub(super) tag: Tag,
    /// Which of the formats, and which of its environments.
    pub(super) shape: [u8; 2],
    /// Which checksum it has.
    pub(super) form: SecretForm,
    /// Its checksum was verified under a secret of the servers, so that nobody else can have made it.
    pub(super) is_proven: bool,
}

/// SHA-256 of a presented key, from a random state instead of its constant one: the cache knows a verified key by it.
///
/// It never leaves the process, and is compared in constant time.
#[derive(Clone, Copy)]
pub(crate) struct Tag([u32; 8]);

const BLOCK: usize = 64;
/// Bytes of the mark and of the length.
const PADDING: usize = 1 + size_of::<u64>();

impl TaggedKey {
    /// Nothing if the key has no lookup that could be in a store, which parsing rules out.
    pub(super) fn new(seed: &[u32; 8], key: &ParsedKey<'_>) -> Option<Self> {
        Some(Self {
            is_proven: key.is_proven(),
            ..Self::of(seed, key.as_split())?
        })
    }

    /// The same for a text of a form in which every text is a key.
    pub(super) fn of(seed: &[u32; 8], text: &SplitKey<'_>) -> Option<Self> {
        Some(Self {
            lookup: Lookup::new(std::str::from_utf8(text.lookup()).ok()?).ok()?,
            tag: Tag::of(seed, text),
            shape: text.shape(),
            form: text.form(),
            is_proven: false,
        })
    }

    /// That of a fabricated context. Its tag is never compared.
    #[cfg(feature = "testing")]
    pub(super) fn of_no_key(lookup: Lookup, form: SecretForm) -> Self {
        Self {
            lookup,
            tag: Tag([0; 8]),
            shape: [0; 2],
            form,
            is_proven: false,
        }
    }
}

impl Tag {
    /// Format and environment are part of the tag: two keys with one body are two keys.
    pub(super) fn of(seed: &[u32; 8], text: &SplitKey<'_>) -> Self {
        Self::new(seed, text.shape(), text.body())
    }

    /// Padded by hand, because a streaming hasher takes twice as long for one block, which shows in a check.
    fn new(seed: &[u32; 8], shape: [u8; 2], body: &[u8]) -> Self {
        let mut state = *seed;
        let (blocks, rest) = body.as_chunks::<BLOCK>();
        compress256(&mut state, blocks);
        // What is left of the body and the shape, a mark, and the length of both in bits (FIPS 180-4, section 5.1.1).
        let mut last = [[0; BLOCK]; 2];
        let length = rest.len() + shape.len();
        let used = if length + PADDING > BLOCK { 2 } else { 1 };
        let message = last[..used].as_flattened_mut();
        message[..rest.len()].copy_from_slice(rest);
        message[rest.len()..length].copy_from_slice(&shape);
        message[length] = 0x80;
        let bits = 8 * (body.len() + shape.len()) as u64;
        if let Some(end) = message.last_chunk_mut() {
            *end = bits.to_be_bytes();
        }
        compress256(&mut state, &last[..used]);
        Self(state)
    }

    /// A part of it that tells keys apart well enough for a map.
    pub(super) fn number(&self) -> u64 {
        u64::from(self.0[0]) << 32 | u64::from(self.0[1])
    }

    /// Whether both are of the same presented key, in constant time.
    pub(super) fn is(&self, other: &Tag) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |all, (one, two)| all | (one ^ two));
        differing.ct_eq(&0).into()
    }
}

// As a map key only: tags are uniform and keyed with randomness that no client has.
impl Hash for Tag {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.number());
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Tag {}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// The state that SHA-256 begins with (FIPS 180-4, section 5.3.3).
    const START: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];

    #[test]
    fn tag_is_sha256_of_body_and_shape() {
        for length in 0..=256 {
            let body: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let text = [&body[..], &[3, 1]].concat();
            let words = Tag::new(&START, [3, 1], &body).0;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(bytes, Sha256::digest(text).as_slice(), "{length}");
        }
    }

    #[test]
    fn tags_of_two_processes_differ() {
        let tag = |seed| Tag::new(&seed, [0, 0], b"the same key");
        assert!(!tag(rand::random()).is(&tag(rand::random())));
    }
}
