//! Which keys are issued and accepted over one store: parts that were set differently are found by this.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::key::KeyFormat;
use crate::sync::unpoisoned;

/// Far more than one service has.
const MOST: usize = 256;

/// The prefixes and environments of the keys that this process issues and accepts over one store.
#[derive(Default)]
pub(super) struct Heads(Mutex<Known>);

#[derive(Default)]
struct Known {
    accepted: BTreeSet<Head>,
    issued: BTreeSet<Head>,
    /// Those that were logged.
    told: BTreeSet<Head>,
}

/// A prefix and an environment, which is empty for a format without environments.
type Head = (Box<str>, Box<str>);

impl Heads {
    /// Keys of these formats are accepted.
    pub(super) fn accepted<'f>(&self, formats: impl Iterator<Item = &'f KeyFormat>) {
        self.tell(|known| {
            for format in formats {
                let mut environments = format.environments().peekable();
                if environments.peek().is_none() {
                    remember(&mut known.accepted, format.prefix(), "");
                }
                environments.for_each(|environment| remember(&mut known.accepted, format.prefix(), environment));
            }
        });
    }

    /// A key with this prefix and environment is issued.
    pub(super) fn issued(&self, prefix: &str, environment: &str) {
        self.tell(|known| remember(&mut known.issued, prefix, environment));
    }

    /// Logs what is issued and not accepted, once. A process that accepts nothing only issues keys, for others.
    fn tell(&self, learn: impl FnOnce(&mut Known)) {
        let mut known = unpoisoned(self.0.lock());
        learn(&mut known);
        let known = &mut *known;
        if known.accepted.is_empty() {
            return;
        }
        for head in known.issued.difference(&known.accepted) {
            if known.told.insert(head.clone()) {
                let (prefix, environment) = head;
                let accepted: BTreeSet<&str> = known.accepted.iter().map(|(prefix, _)| &**prefix).collect();
                tracing::warn!(
                    %prefix,
                    %environment,
                    ?accepted,
                    "a key was issued that no layer or authenticator over this store accepts: requests with it get 401. Take \
                     the issuer and the layer from one ApiKeys handle, or give both the same key formats"
                );
            }
        }
    }
}

fn remember(heads: &mut BTreeSet<Head>, prefix: &str, environment: &str) {
    if heads.len() < MOST {
        heads.insert((prefix.into(), environment.into()));
    }
}
