//! Secrets as they are stored: made, sealed and opened.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::root_key::{FILE_VARIABLE, RootKeys};
use super::seal::{self, Place};
use crate::key::{RealmId, SecretPurpose, SecretValue, ServerSecretRecord, Timestamp};
use crate::store::{StoreError, StoreErrorKind};

/// The id of the first secret for a purpose: every store begins with this one, so that of two processes that make the first secret one fails.
pub(super) const FIRST_ID: char = '0';

/// What secrets of a realm are sealed and opened with.
#[derive(Clone, Copy)]
pub(super) struct Seals<'a> {
    pub(super) realm: RealmId,
    pub(super) root_keys: Option<&'a RootKeys>,
}

impl Seals<'_> {
    /// A new secret of 32 random bytes, sealed under the current root key. Without one, only what costs little when the
    /// database leaks is stored.
    pub(super) fn generate(
        &self,
        purpose: SecretPurpose,
        id: String,
        now: Timestamp,
    ) -> Result<ServerSecretRecord, StoreError> {
        if self.root_keys.is_none() && ![SecretPurpose::CHECKSUM, SecretPurpose::CURSOR].contains(&purpose) {
            let problem = format!(
                "a secret for {purpose} is not stored unsealed: name a file with a root key in {FILE_VARIABLE}, or call \
                 `ApiKeysBuilder::root_keys`"
            );
            return Err(unusable(problem));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        if SysRng.try_fill_bytes(&mut *bytes).is_err() {
            return Err(unusable("the operating system gave no random bytes"));
        }
        let plain = ServerSecretRecord::new(purpose, id, SecretValue::new(bytes.to_vec()), now);
        match self.sealed(&plain)? {
            Some(sealed) => Ok(sealed),
            None => Ok(plain),
        }
    }

    /// The secret in plain.
    pub(super) fn open(&self, row: &ServerSecretRecord) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let Some(sealed_by) = &row.sealed_by else {
            return Ok(Zeroizing::new(row.value.expose_secret().to_vec()));
        };
        let key = self.root_keys.and_then(|keys| keys.with_id(sealed_by));
        let opened = key.and_then(|key| seal::open(key, &self.place(row), row.value.expose_secret()));
        opened.ok_or_else(|| {
            let (purpose, id) = (&row.purpose, &row.id);
            unusable(match key {
                Some(_) => format!(
                    "secret {id:?} for {purpose} was altered, or comes from another realm: it does not open; {ADOPT}"
                ),
                None => format!(
                    "secret {id:?} for {purpose} is sealed under root key {sealed_by}: give that key as the current or the \
                     former one, in the file that {FILE_VARIABLE} names or to `ApiKeysBuilder::root_keys`; {ADOPT}"
                ),
            })
        })
    }

    /// The same secret sealed under the current root key, if it is not yet.
    pub(super) fn sealed(&self, row: &ServerSecretRecord) -> Result<Option<ServerSecretRecord>, StoreError> {
        let Some(key) = self.root_keys.map(RootKeys::current) else {
            return Ok(None);
        };
        if row.sealed_by.as_deref() == Some(key.id()) {
            return Ok(None);
        }
        let plain = self.open(row)?;
        let Some(sealed) = seal::seal(key, &self.place(row), &plain) else {
            return Err(unusable("the operating system gave no random bytes"));
        };
        Ok(Some(ServerSecretRecord {
            sealed_by: Some(key.id().to_owned()),
            value: SecretValue::new(sealed),
            ..row.clone()
        }))
    }

    fn place<'r>(&self, row: &'r ServerSecretRecord) -> Place<'r> {
        Place {
            purpose: &row.purpose,
            id: &row.id,
            realm: self.realm,
        }
    }
}

const ADOPT: &str = "if this is a copy of another database, make it one of its own with `ApiKeysBuilder::adopt`";

pub(super) fn unusable(problem: impl Into<String>) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unusable, problem.into())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::secrets::RootKey;

    fn root(byte: u8) -> RootKeys {
        RootKeys::from(RootKey::new(&[byte; 32]).unwrap())
    }

    fn seals(realm: RealmId, root_keys: Option<&RootKeys>) -> Seals<'_> {
        Seals { realm, root_keys }
    }

    fn generate(seals: Seals<'_>, purpose: SecretPurpose) -> Result<ServerSecretRecord, StoreError> {
        seals.generate(purpose, "0".to_owned(), Timestamp::from_millis(1))
    }

    fn cause(error: &StoreError) -> String {
        error.source().unwrap().to_string()
    }

    #[test]
    fn new_secrets_are_sealed_and_differ() {
        let (realm, keys) = (RealmId::new(), root(1));
        let seals = seals(realm, Some(&keys));
        let [one, two] = [(); 2].map(|()| generate(seals, SecretPurpose::new("jwt")).unwrap());
        let plain = seals.open(&one).unwrap();
        assert_eq!(plain.len(), 32);
        assert_ne!(plain, seals.open(&two).unwrap());
        assert!(
            !one.value
                .expose_secret()
                .windows(32)
                .any(|window| window == plain.as_slice())
        );
    }

    #[test]
    fn without_a_root_key_only_two_purposes_are_stored() {
        let seals = seals(RealmId::new(), None);
        for purpose in [SecretPurpose::CHECKSUM, SecretPurpose::CURSOR] {
            assert!(generate(seals, purpose).unwrap().sealed_by.is_none());
        }
        for purpose in ["audit", "paseto", "jwt", "webhook:x", "link", "cookie", "cluster"] {
            let error = generate(seals, SecretPurpose::new(purpose)).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unusable);
            assert!(cause(&error).contains(purpose) && cause(&error).contains("API_KEYS_ROOT_KEY_FILE"));
        }
    }

    #[test]
    fn former_root_key_opens_and_the_current_one_seals() {
        let realm = RealmId::new();
        let (old, both, new) = (root(1), root(2).former(RootKey::new(&[1; 32]).unwrap()), root(2));
        let (old, both, new) = (
            seals(realm, Some(&old)),
            seals(realm, Some(&both)),
            seals(realm, Some(&new)),
        );
        let row = generate(old, SecretPurpose::CHECKSUM).unwrap();
        assert!(new.open(&row).is_err());
        let resealed = both.sealed(&row).unwrap().unwrap();
        assert_eq!(new.open(&resealed).unwrap(), old.open(&row).unwrap());
        assert!(both.sealed(&resealed).unwrap().is_none());
        let error = old.open(&resealed).unwrap_err();
        assert!(cause(&error).contains("is sealed under root key"));
    }

    #[test]
    fn plain_secret_is_sealed_once_there_is_a_root_key() {
        let (realm, keys) = (RealmId::new(), root(1));
        let plain = generate(seals(realm, None), SecretPurpose::CHECKSUM).unwrap();
        let sealed = seals(realm, Some(&keys)).sealed(&plain).unwrap().unwrap();
        assert_ne!(sealed.value.expose_secret(), plain.value.expose_secret());
        assert_eq!(
            seals(realm, Some(&keys)).open(&sealed).unwrap().as_slice(),
            plain.value.expose_secret()
        );
        assert!(seals(realm, None).open(&sealed).is_err());
        assert!(
            seals(RealmId::new(), Some(&keys)).open(&sealed).is_err(),
            "another realm"
        );
    }
}
