//! A context without a check.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use crate::check::{AnyAuthenticator, AuthContext, Entry};
use crate::key::{KeyRecord, KeySecret, Lookup, Organization, SecretHash};
use crate::store::Candidate;

/// An [`AuthContext`] of this key, as if a check had just admitted it: for tests of handlers, which get it as an
/// extension of the request.
///
/// The record is not judged: a revoked key gets its context all the same. All limits are left whole, there is no client
/// address, and [`revoked`](AuthContext::revoked) never resolves; what depends on those is tested with a real
/// [`Authenticator`](crate::Authenticator) over a [`MemoryStore`](crate::store::MemoryStore).
///
/// ```
/// use tower_api_key::key::{KeyRecord, Organization, Timestamp};
/// use tower_api_key::testing::auth_context;
///
/// let acme = Organization::new("acme");
/// let mut record = KeyRecord::new(acme.id, "nightly export", Timestamp::from_millis(0));
/// record.scopes = "orders:read".parse()?;
///
/// let auth = auth_context(record, acme);
/// assert_eq!(auth.organization().name, "acme");
/// assert!(auth.allows(&"orders:read".parse()?));
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(auth);
/// # Ok::<_, tower_api_key::ConfigError>(())
/// ```
///
/// # Security
/// This bypasses authentication entirely. Enable the feature `testing` only in `[dev-dependencies]`, so that no build that serves
/// requests has it.
pub fn auth_context(record: KeyRecord, organization: Organization) -> AuthContext {
    let (Ok(lookup), Ok(hash)) = (Lookup::new("testing"), SecretHash::new("testing")) else {
        unreachable!("both are within their bounds");
    };
    let secret = KeySecret::new(lookup, hash, record.created_at);
    // A context holds its authenticator weakly, so something has to keep this one.
    static NEVER: OnceLock<Arc<dyn AnyAuthenticator>> = OnceLock::new();
    let authenticator = NEVER.get_or_init(|| Arc::new(Never));
    AuthContext::fabricate(
        Candidate::new(record, secret, organization),
        Arc::downgrade(authenticator),
    )
}

/// Stands in for the authenticator: keys never end.
struct Never;

impl AnyAuthenticator for Never {
    fn revoked(self: Arc<Self>, _: Arc<Entry>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(pending())
    }
}
