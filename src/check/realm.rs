//! What a check needs of the realm's secrets.

use std::sync::Arc;

use super::core::Core;
use super::presented::{PresentedKey, TaggedKey};
use crate::clock::Monotonic;
use crate::key::{KeyFormat, Parsed, SecretForm, Timestamp, earlier};
use crate::store::{Candidate, KeyStore};

/// What a presented text turned out to be.
pub(super) enum Presented {
    Key(TaggedKey),
    Malformed,
    /// It depends on secrets that may have changed: read them first.
    NeedsSecrets,
}

impl<S: KeyStore> Core<S> {
    /// Parses a presented key. Once the secrets `were_read`, they are taken as they are.
    pub(super) fn parse(&self, presented: &PresentedKey<'_>, were_read: bool) -> Presented {
        let now = || self.clock.wall();
        let key = match self.formats.read(presented.bytes(), &now, !were_read) {
            Parsed::Key(key) => key,
            Parsed::UnknownSecret => return Presented::NeedsSecrets,
            Parsed::Malformed => return Presented::Malformed,
        };
        // A change may have ended the keys with a CRC-32.
        if key.form() == SecretForm::Crc32 && !were_read && self.are_secrets_outdated() {
            return Presented::NeedsSecrets;
        }
        if key.form() == SecretForm::Keyed && !key.is_proven() {
            self.warned_of_checksums.get_or_init(|| {
                tracing::warn!(
                    "keyed checksums are not verified, so an invented key costs a read and perhaps a hash: if the store has \
                     their secret, get the layer from `ApiKeys::open` or `ApiKeysBuilder::open`, without \
                     `dangerous_unverified_checksums`; if it has not, as a file of keys, give the secret to \
                     `ApiKeysBuilder::realm_secret`. If no key was issued with such a checksum, there \
                     is nothing to do"
                );
            });
        }
        TaggedKey::new(&self.tag_seed, &key).map_or(Presented::Malformed, Presented::Key)
    }

    /// Whether it is known until when keys of this form are accepted. The secrets are read again if that may have changed since
    /// the key was parsed: asked once an entry has its mark, so that a change after this makes the entry old.
    pub(super) async fn knows_end_of(self: &Arc<Self>, form: SecretForm) -> bool {
        form != SecretForm::Crc32 || !self.are_secrets_outdated() || self.read_secrets_again().await
    }

    /// By a change that was announced, or by age: nothing may tell of changes by other processes.
    fn are_secrets_outdated(&self) -> bool {
        let (now, epoch) = (self.clock.now(), self.fence.epoch());
        self.secrets.are_outdated(epoch, now, self.time_to_live)
    }

    /// Whether the secrets were read just now, if no read is needed to tell.
    pub(super) fn were_secrets_read(&self, now: Monotonic) -> Option<bool> {
        self.secrets.were_read(now, self.fence.epoch())
    }

    /// Reads the secrets again, once for all who wait; whether that succeeded.
    pub(super) async fn read_secrets_again(self: &Arc<Self>) -> bool {
        let core = self.clone();
        let read = move || async move {
            match core.secrets.read_again(&core.store, core.read_timeout).await {
                Ok(()) => true,
                Err(error) => {
                    core.alerts.secrets_not_read(&error, core.clock.now());
                    false
                }
            }
        };
        let reading = self.secrets.realm().reading();
        reading.run(&self.clock, self.fence.epoch(), read).await
    }

    /// When a key that was presented in this form ends.
    pub(super) fn end_of(&self, candidate: &Candidate, form: SecretForm) -> Option<Timestamp> {
        earlier(candidate.ends_at(), self.end_of_form(form, &candidate.record.prefix))
    }

    fn end_of_form(&self, form: SecretForm, prefix: &str) -> Option<Timestamp> {
        let mut formats = self.formats.iter().filter(|format| format.prefix() == prefix);
        if form != SecretForm::Crc32 || !formats.any(KeyFormat::is_of_realm) {
            return None;
        }
        self.secrets.crc_accepted_until().filter(|end| *end < Timestamp::MAX)
    }
}
