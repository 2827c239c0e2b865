//! Forgetting persons.

use super::error::IssueError;
use super::issuer::Issuer;
use super::uses::flush_uses;
use crate::audit::{Attempts, AuditAction, AuditEvent, Forget};
use crate::key::OrganizationId;
use crate::last_use::PendingUses;
use crate::store::{Commit, KeyStore, ManagedStore, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Deletes what the audit trail holds of a person: names, addresses and user agents of the events that the person made or
    /// that are about the person, the person's address in samples of refusals, and a user's idempotency keys. Ids, and the
    /// commitments in the chain, stay: it still verifies. An event of its own says that it was done, without an address.
    ///
    /// ```
    /// use tower_api_key::audit::{Caller, Forget};
    /// use tower_api_key::key::Actor;
    /// use tower_api_key::store::query::AuditEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = tower_api_key::ApiKeys::open("memory:").await?;
    /// let caller = Caller::new(Actor::user("alice")).address("192.0.2.7".parse()?);
    /// let acme = keys.issuer().acting_as(caller).create_organization("acme").await?;
    ///
    /// let operator = keys.issuer().acting_as(Actor::operator("bob"));
    /// operator.forget(Forget::user("alice".parse()?)).await?;
    /// let page = keys.read(AuditEvents::of(acme.id)).await?;
    /// assert!(page.items[0].event.personal.are_forgotten());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the store; [`Forbidden`](crate::IssueErrorKind::Forbidden) for a key that acts and is not the operator's.
    pub async fn forget(&self, whom: Forget) -> Result<(), IssueError> {
        // What waits in memory is no part of the commit that is judged.
        self.store.check_operator().await?;
        let organization = whom.organization().unwrap_or(OrganizationId::from(uuid::Uuid::nil()));
        // Not `event`: the actor's own address and name may be those that are forgotten.
        let event = AuditEvent::new(
            organization,
            self.clock.wall(),
            self.actor.clone(),
            AuditAction::PERSONAL_FORGOTTEN,
        );
        let subject = match whom.user_id() {
            Some(_) => "user",
            None if whom.is_everyone() => "everyone",
            None => "address",
        };
        let event = event.user(whom.user_id().cloned()).detail("subject", subject);
        // First what waits to be stored: it could be stored in between.
        let waiting = self.store.fence().map(Attempts::of);
        waiting.iter().for_each(|waiting| waiting.forget(&whom));
        // A batch of uses that is under way could come after this commit. What cannot be stored now goes without addresses.
        let _ = flush_uses(self.store.unbounded()).await;
        let waiting = self.store.fence().map(PendingUses::of);
        waiting.iter().for_each(|waiting| waiting.forget_origins());
        let commit = Commit::new().write(Write::ForgetPersonal(whom)).audit(event);
        self.commit(commit).await?;
        Ok(())
    }
}
