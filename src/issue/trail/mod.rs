//! The audit trail as a whole: verified, anchored, cut by retention; and exported, by an issuer.

mod anchoring;
mod anchors;
mod error;
mod export;
mod flushing;
mod retention;
mod verify;

use std::fmt;
use std::sync::Arc;

pub use self::anchors::AuditAnchors;
pub use self::error::{AuditError, AuditErrorKind};
pub use self::export::ExportFormat;
pub use self::verify::VerifiedTrail;
use super::authorized_store::AuthorizedStore;
use crate::clock::Clock;
use crate::secrets::RealmSecrets;

/// The audit trail: [verified](Self::verify), [anchored](Self::anchor) and [cut by retention](Self::prune). From
/// [`ApiKeys::audit`](crate::ApiKeys::audit); for a request with a key from [`Issuer::audit`](crate::Issuer::audit).
/// [`Issuer::export_audit`](crate::Issuer::export_audit) exports it, in somebody's name.
///
/// ```
/// use tower_api_key::{ApiKeys, AuditAnchors};
/// use tower_api_key::key::Actor;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = ApiKeys::open("memory:").await?;
/// keys.issuer().acting_as(Actor::user("alice")).create_organization("acme").await?;
///
/// let mut anchors = AuditAnchors::default();
/// keys.audit().anchor(&mut anchors).await?; // every 10 minutes, and kept outside of the database
/// let verified = keys.audit().verify(&anchors).await?;
/// assert_eq!(verified.chains, 2); // acme's, and the system's
/// # Ok(())
/// # }
/// ```
pub struct AuditTrail<S> {
    store: AuthorizedStore<S>,
    secrets: Arc<RealmSecrets>,
    clock: Clock,
}

impl<S> AuditTrail<S> {
    pub(crate) fn over(store: S, secrets: Arc<RealmSecrets>, clock: Clock) -> Self {
        Self::within(AuthorizedStore::of_host(store), secrets, clock)
    }

    pub(super) fn within(store: AuthorizedStore<S>, secrets: Arc<RealmSecrets>, clock: Clock) -> Self {
        Self { store, secrets, clock }
    }
}

impl<S> fmt::Debug for AuditTrail<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditTrail").finish_non_exhaustive()
    }
}
