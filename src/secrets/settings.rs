//! What a handle is told about secrets: those that are given, root keys, and how stale a process may be.

use std::sync::Arc;
use std::time::Duration;

use super::root_key::RootKeys;
use crate::error::ConfigError;
use crate::key::{DatedSecret, ServerSecret, Timestamp};

/// Secrets with one id: an invented key costs an HMAC for each of them.
const MOST_OF_ONE_ID: usize = 8;
/// All that 62 ids with 8 secrets each can be.
const MOST_GIVEN: usize = 495;

/// What a handle is told about secrets.
#[derive(Clone)]
pub(crate) struct SecretSettings {
    given: Option<GivenSecrets>,
    pub(super) root_keys: Option<Arc<RootKeys>>,
    pub(super) accepts_unverified: bool,
    /// How long another process may not know of a change.
    pub(crate) max_staleness: Duration,
}

#[derive(Clone)]
struct GivenSecrets {
    current: Arc<ServerSecret>,
    retired: Arc<[Arc<ServerSecret>]>,
}

impl Default for SecretSettings {
    fn default() -> Self {
        Self::new(Duration::from_secs(5))
    }
}

impl SecretSettings {
    pub(crate) fn new(max_staleness: Duration) -> Self {
        Self {
            given: None,
            root_keys: None,
            accepts_unverified: false,
            max_staleness,
        }
    }

    pub(crate) fn give(
        &mut self,
        current: ServerSecret,
        retired: impl IntoIterator<Item = ServerSecret>,
    ) -> Result<(), ConfigError> {
        let retired: Arc<[_]> = retired.into_iter().map(Arc::new).collect();
        if retired.len() > MOST_GIVEN {
            return Err(ConfigError::out_of_range(
                "retired realm secrets",
                0..=MOST_GIVEN,
                retired.len(),
            ));
        }
        let current = Arc::new(current);
        let ids = || {
            std::iter::once(&current)
                .chain(retired.iter())
                .map(|secret| secret.id())
        };
        let most = ids().map(|id| ids().filter(|other| *other == id).count()).max();
        if most > Some(MOST_OF_ONE_ID) {
            let problem = format!(
                "must be at most {MOST_OF_ONE_ID} with one id, since each of them is tried for a key that names it"
            );
            return Err(ConfigError::new("realm secrets", problem));
        }
        self.given = Some(GivenSecrets { current, retired });
        Ok(())
    }

    pub(crate) fn set_root_keys(&mut self, keys: RootKeys) {
        self.root_keys = Some(Arc::new(keys));
    }

    pub(crate) fn accept_unverified(&mut self) {
        self.accepts_unverified = true;
    }

    pub(super) fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Those that are given, as a history has them.
    pub(super) fn given(&self) -> impl Iterator<Item = DatedSecret> {
        let dated = |secret: &Arc<ServerSecret>, is_retired| DatedSecret {
            secret: secret.clone(),
            from: Timestamp::from_millis(i64::MIN),
            is_retired,
        };
        self.given.iter().flat_map(move |given| {
            let retired = given.retired.iter().map(move |secret| dated(secret, true));
            std::iter::once(dated(&given.current, false)).chain(retired)
        })
    }
}
