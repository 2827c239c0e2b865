//! The keys of one text: a snapshot that is replaced as a whole.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::entry::{self, Entry, Rules};
use super::organizations::Organizations;
use super::problem::{Fault, Problem};
use super::value::Value;
use super::{json, toml};
use crate::key::{KeyRecord, KeySecret, Lookup, Organization, OrganizationId};
use crate::store::Candidate;

const MOST_KEYS: usize = 10_000;
/// Room for that many keys of some 400 bytes: with any hash, a name, an organization, and some scopes, limits and networks.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Toml,
    Json,
}

/// Keys by their lookups.
pub(super) struct Keys {
    keys: HashMap<Lookup, Key>,
    organizations: Vec<Organization>,
    pub(super) has_plaintext: bool,
}

struct Key {
    record: KeyRecord,
    secret: KeySecret,
    organization: usize,
}

impl Keys {
    /// Reads the keys of a text, all or none.
    pub(super) fn parse(text: &[u8], syntax: Syntax, rules: &Rules) -> Result<Self, Problem> {
        if text.len() > MOST_BYTES {
            return Err(Problem::new("must have at most 4 MiB"));
        }
        if UTF_16.iter().any(|mark| text.starts_with(mark)) {
            return Err(Fault::new(0, "must be UTF-8, and is UTF-16, which some Windows programs write").within(""));
        }
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let text = std::str::from_utf8(text).map_err(|error| {
            let valid = text.get(..error.valid_up_to()).unwrap_or_default();
            let valid = String::from_utf8_lossy(valid);
            Fault::new(valid.len(), "must be UTF-8").within(&valid)
        })?;
        let value = match syntax {
            Syntax::Toml => toml::parse(text),
            Syntax::Json => json::parse(text),
        };
        let keys = value.and_then(|value| Self::read(&value, rules));
        keys.map_err(|fault| fault.within(text))
    }

    fn read(value: &Value<'_>, rules: &Rules) -> Result<Self, Fault> {
        let table = value.table(&["realm", "organizations", "keys"])?;
        let realm = table.get("realm").map(entry::name).transpose()?;
        let ids = Ids {
            realm: realm.unwrap_or_default(),
        };
        let mut keys = Self {
            keys: HashMap::new(),
            organizations: Vec::new(),
            has_plaintext: false,
        };
        let id = |name: &str| ids.organization(name);
        let mut organizations = Organizations::read(table.get("organizations"), id)?;
        let (mut hashes, mut names) = (HashSet::new(), HashSet::new());
        let values = table.need("keys")?;
        if values.list()?.len() > MOST_KEYS {
            return Err(values.fault(format!("must be at most {MOST_KEYS} keys")));
        }
        for value in values.list()? {
            let Entry {
                mut record,
                secret,
                organization: name,
                plaintext,
            } = entry::key(value, rules)?;
            let (owner, organization) = organizations.named(name, value, id)?;
            if record
                .limits
                .iter()
                .any(|limit| owner.limits.iter().any(|other| other.name() == limit.name()))
            {
                return Err(value.fault("a limit has the name of one of its organization"));
            }
            if !names.insert((organization, record.name.clone())) {
                return Err(value.fault("repeated name; each key of an organization needs its own"));
            }
            if !hashes.insert(secret.hash.as_str().to_owned()) {
                return Err(value.fault("repeated hash; another entry has the same key"));
            }
            record.organization_id = owner.id;
            (record.id, keys.has_plaintext) = (
                ids.key(&owner.name, &record.name).into(),
                keys.has_plaintext || plaintext,
            );
            let key = Key {
                record,
                organization,
                secret,
            };
            if keys.keys.insert(key.secret.lookup.clone(), key).is_some() {
                return Err(value.fault("repeated lookup; another key is found by it"));
            }
        }
        keys.organizations = organizations.into_list();
        Ok(keys)
    }

    pub(super) fn find(&self, lookup: &Lookup) -> Option<Candidate> {
        let key = self.keys.get(lookup)?;
        let organization = self.organizations.get(key.organization)?;
        Some(Candidate::new(
            key.record.clone(),
            key.secret.clone(),
            organization.clone(),
        ))
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// Ids that are the same after every start: limits and logs go by them.
struct Ids<'t> {
    realm: &'t str,
}

impl Ids<'_> {
    fn organization(&self, name: &str) -> OrganizationId {
        id(&["organization", self.realm, name]).into()
    }

    fn key(&self, organization: &str, name: &str) -> Uuid {
        id(&["key", self.realm, organization, name])
    }
}

/// A UUIDv8 (RFC 9562) of the SHA-256 of these texts. Each has its length in front, so that no two lists are one text.
fn id(texts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
