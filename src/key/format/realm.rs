//! The checksum secrets of a realm, as this process knows them now.

use std::fmt;
use std::sync::{Arc, RwLock};

use super::keyed::{KEYED_LENGTH, KeyedTag, ServerSecret};
use crate::key::Timestamp;
use crate::sync::unpoisoned;

/// What the formats of one handle read when they check a checksum. It is replaced as a whole when the realm's secrets were
/// read anew, so a key is judged by one state of them.
pub(crate) struct RealmChecksum(RwLock<Arc<ChecksumHistory>>);

/// All checksum secrets of a realm, and how long keys with a CRC-32 are accepted beside theirs.
#[derive(Debug)]
pub(crate) struct ChecksumHistory {
    /// Never empty.
    secrets: Vec<DatedSecret>,
    crc_accepted_until: Timestamp,
    /// Whether a wrong tag is accepted, since the secret that it was made with is lost.
    accepts_unverified: bool,
    /// The epoch of the store's fence before the secrets were read.
    epoch: u64,
}

/// A secret, and from when it makes new keys. It verifies keys all the time, also when it is retired.
#[derive(Clone, Debug)]
pub(crate) struct DatedSecret {
    pub(crate) secret: Arc<ServerSecret>,
    pub(crate) from: Timestamp,
    pub(crate) is_retired: bool,
}

/// What a checksum says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChecksumVerdict {
    /// Right, and made with a secret that only the servers have.
    Proven,
    /// Right, as far as anyone can tell without such a secret.
    Right,
    Wrong,
    /// The key names a secret that this process does not know.
    UnknownSecret,
}

impl RealmChecksum {
    pub(crate) fn new(history: ChecksumHistory) -> Self {
        Self(RwLock::new(Arc::new(history)))
    }

    /// Unless the one that is there was read after a later change: of two reads, the first may end last.
    pub(crate) fn replace(&self, history: ChecksumHistory) {
        let mut now = unpoisoned(self.0.write());
        if history.epoch >= now.epoch {
            *now = Arc::new(history);
        }
    }

    pub(crate) fn now(&self) -> Arc<ChecksumHistory> {
        unpoisoned(self.0.read()).clone()
    }
}

impl ChecksumHistory {
    /// Nothing without a secret: there would be none to make keys with.
    pub(crate) fn new(secrets: Vec<DatedSecret>, crc_accepted_until: Timestamp, epoch: u64) -> Option<Self> {
        (!secrets.is_empty()).then_some(Self {
            secrets,
            crc_accepted_until,
            accepts_unverified: false,
            epoch,
        })
    }

    /// Accepts keys whose tags are wrong.
    pub(crate) fn accept_unverified(mut self, accepts: bool) -> Self {
        self.accepts_unverified = accepts;
        self
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn crc_accepted_until(&self) -> Timestamp {
        self.crc_accepted_until
    }

    /// The secret of new keys: of those in use, the one that came into use last.
    pub(super) fn current(&self, now: Timestamp) -> Option<&ServerSecret> {
        let is_in_use = |dated: &&DatedSecret| !dated.is_retired && dated.from <= now;
        let in_use = self.secrets.iter().filter(is_in_use).max_by_key(|dated| dated.from);
        // None is in use on a machine whose clock is behind. The oldest is the one that other nodes know best.
        let current = in_use.or_else(|| self.secrets.iter().min_by_key(|dated| (dated.is_retired, dated.from)));
        current.map(|dated| &*dated.secret)
    }

    /// Whether the key ends with a tag of one of the secrets that have its id. There may be several.
    pub(super) fn judge(&self, key: &[u8]) -> ChecksumVerdict {
        let Some((text, &[id, ref digits @ ..])) = key.split_last_chunk::<KEYED_LENGTH>() else {
            return ChecksumVerdict::Wrong;
        };
        let Some(given) = KeyedTag::read(digits) else {
            return ChecksumVerdict::Wrong;
        };
        let mut verdict = match id.is_ascii_alphanumeric() {
            true => ChecksumVerdict::UnknownSecret,
            false => ChecksumVerdict::Wrong,
        };
        for dated in self.secrets.iter().filter(|dated| dated.secret.id() == id) {
            if dated.secret.tag(text).matches(&given) {
                return ChecksumVerdict::Proven;
            }
            verdict = ChecksumVerdict::Wrong;
        }
        match self.accepts_unverified && id.is_ascii_alphanumeric() {
            true => ChecksumVerdict::Right,
            false => verdict,
        }
    }
}

impl fmt::Debug for RealmChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RealmChecksum")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn dated(id: char, byte: u8, from: i64, is_retired: bool) -> DatedSecret {
        DatedSecret {
            secret: Arc::new(ServerSecret::new(id, &[byte; 32]).unwrap()),
            from: at(from),
            is_retired,
        }
    }

    fn history(secrets: Vec<DatedSecret>) -> ChecksumHistory {
        ChecksumHistory::new(secrets, at(0), 0).unwrap()
    }

    fn key_of(dated: &DatedSecret) -> Vec<u8> {
        let mut key = b"acme_live_body".to_vec();
        key.extend(dated.secret.tagged(&key));
        key
    }

    #[test]
    fn pending_secret_verifies_at_once_and_is_used_later() {
        let (old, new) = (dated('0', 1, 0, false), dated('1', 2, 100, false));
        let history = history(vec![old.clone(), new.clone()]);
        for dated in [&old, &new] {
            assert_eq!(history.judge(&key_of(dated)), ChecksumVerdict::Proven);
        }
        let current = |now| history.current(at(now)).unwrap().id();
        assert_eq!((current(0), current(99), current(100)), (b'0', b'0', b'1'));
    }

    #[test]
    fn retired_secret_verifies_and_makes_nothing() {
        let (old, new) = (dated('0', 1, 200, true), dated('1', 2, 100, false));
        let history = history(vec![old.clone(), new]);
        assert_eq!(history.judge(&key_of(&old)), ChecksumVerdict::Proven);
        assert_eq!(history.current(at(300)).unwrap().id(), b'1');
    }

    #[test]
    fn clock_behind_every_secret_uses_the_oldest_in_use() {
        let history = history(vec![
            dated('0', 1, 50, true),
            dated('2', 3, 200, false),
            dated('1', 2, 100, false),
        ]);
        assert_eq!(history.current(at(70)).unwrap().id(), b'1');
    }

    #[test]
    fn all_secrets_of_an_id_are_tried() {
        let (one, two) = (dated('a', 1, 0, false), dated('a', 2, 0, false));
        let both = history(vec![one.clone(), two.clone()]);
        assert_eq!(both.judge(&key_of(&one)), ChecksumVerdict::Proven);
        assert_eq!(both.judge(&key_of(&two)), ChecksumVerdict::Proven);
        assert_eq!(history(vec![one]).judge(&key_of(&two)), ChecksumVerdict::Wrong);
    }

    #[test]
    fn only_a_plain_id_without_a_secret_is_unknown() {
        let known = history(vec![dated('a', 1, 0, false)]);
        let key = |id: char, digit: char| format!("acme_live_body{id}{}", digit.to_string().repeat(10));
        let judge = |key: String| known.judge(key.as_bytes());
        assert_eq!(judge(key('b', '0')), ChecksumVerdict::UnknownSecret);
        assert_eq!(judge(key('a', '0')), ChecksumVerdict::Wrong);
        assert_eq!(judge(key('-', '0')), ChecksumVerdict::Wrong);
        assert_eq!(judge(key('b', '-')), ChecksumVerdict::Wrong);
        assert_eq!(known.judge(b"short"), ChecksumVerdict::Wrong);
    }

    #[test]
    fn unverified_tags_are_accepted_and_prove_nothing() {
        let (known, lost) = (dated('a', 1, 0, false), dated('a', 2, 0, false));
        let lenient = history(vec![known.clone()]).accept_unverified(true);
        assert_eq!(lenient.judge(&key_of(&known)), ChecksumVerdict::Proven);
        assert_eq!(lenient.judge(&key_of(&lost)), ChecksumVerdict::Right);
        assert_eq!(lenient.judge(b"acme_live_body-0000000000"), ChecksumVerdict::Wrong);
    }

    #[test]
    fn replaced_history_is_the_one_read_next() {
        let realm = RealmChecksum::new(history(vec![dated('a', 1, 0, false)]));
        let before = realm.now();
        realm.replace(history(vec![dated('b', 2, 0, false)]));
        assert_eq!(before.current(at(0)).unwrap().id(), b'a');
        assert_eq!(realm.now().current(at(0)).unwrap().id(), b'b');
        assert!(ChecksumHistory::new(Vec::new(), at(0), 0).is_none());
    }

    #[test]
    fn history_of_an_earlier_read_replaces_no_later_one() {
        let read_at = |id, epoch| ChecksumHistory::new(vec![dated(id, 1, 0, false)], at(0), epoch).unwrap();
        let realm = RealmChecksum::new(read_at('a', 2));
        for (id, epoch, served) in [('b', 1, b'a'), ('c', 2, b'c'), ('d', 3, b'd'), ('e', 2, b'd')] {
            realm.replace(read_at(id, epoch));
            assert_eq!(realm.now().current(at(0)).unwrap().id(), served);
        }
    }
}
