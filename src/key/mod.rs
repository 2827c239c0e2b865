//! Key formats, records and identifiers.

mod actor;
mod format;
mod hash;
pub(crate) mod hex;
mod holds;
mod id;
mod idempotency;
mod life;
mod limit;
mod lookup;
pub(crate) mod management;
mod metadata;
mod name_set;
mod network;
mod organization;
mod plan;
mod policy;
mod realm;
mod record;
mod role;
mod scope;
mod secret;
mod slug;
mod state;
mod subject;
mod text;
mod time;
mod user;
#[cfg(feature = "serde")]
mod wire;

pub use self::actor::{Actor, ActorKind};
pub use self::format::{
    Alphabet, Checksum, GenerateError, GenerateErrorKind, GeneratedKey, KeyFormat, KeyFormatBuilder, KeyFormats,
    MalformedKey, ParsedKey, ServerSecret, ServerSecrets,
};
pub(crate) use self::format::{ChecksumHistory, DatedSecret, LONGEST_KEY, Parsed, RealmChecksum, SplitKey};
pub use self::hash::SecretHash;
pub use self::holds::Holds;
pub use self::id::{KeyId, OrganizationId, PlanId, RealmId, UserId};
pub use self::idempotency::{IdempotencyKey, IdempotencyRecord};
pub use self::life::KeyLife;
pub(crate) use self::limit::MOST_LIMITS;
pub use self::limit::RateLimit;
pub use self::lookup::Lookup;
pub(crate) use self::lookup::LookupBytes;
pub use self::metadata::Metadata;
#[cfg(feature = "testing")]
pub(crate) use self::name_set::know;
pub use self::name_set::{Features, Labels, LimitNames, RoleNames};
pub(crate) use self::name_set::{check_name, knows_all_of};
pub use self::network::Networks;
pub use self::organization::{Organization, OrganizationStatus};
pub use self::plan::Plan;
pub use self::policy::Policy;
pub use self::realm::{Realm, SecretPurpose, SecretState, SecretValue, ServerSecretRecord};
pub(crate) use self::record::earlier;
pub use self::record::{KeyRecord, KeySecret, KeyStatus, Revocation, SecretForm};
pub use self::role::{KnownScope, Role};
pub use self::scope::{Scope, ScopeSet};
pub use self::secret::ApiKey;
pub(crate) use self::secret::OwnedKey;
pub(crate) use self::slug::{check_slug, numbered, slug_of};
pub use self::state::{KeyState, StateChange};
pub use self::subject::Subject;
pub(crate) use self::text::{LONGEST_NAME, folded, folds_whole, is_hidden, is_same_name, shortened, without_nul};
pub use self::time::Timestamp;
pub use self::user::{User, UserStatus};
