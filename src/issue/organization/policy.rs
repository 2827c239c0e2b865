//! What a policy would do to the keys that are there.

use std::collections::BTreeMap;

use super::check::check_policy;
use crate::issue::error::IssueError;
use crate::issue::issuer::Issuer;
use crate::key::{KeyRecord, KeyStatus, Organization, OrganizationId, Policy, ScopeSet, Timestamp};
use crate::store::query::{Cursor, Keys, Paged, Roles};
use crate::store::{Candidate, ManagedStore, StoreExt, StoredKey};

/// Keys that are looked at for one page.
const PAGE: u16 = 1000;

/// What a policy would do to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyEffect {
    /// The key.
    pub record: KeyRecord,
    /// Its new end, if it would end earlier than now. One that is past ends the key at once.
    pub ends_at: Option<Timestamp>,
    /// Whether that end is past.
    pub ends_at_once: bool,
    /// The scopes that it has now, of its own or of its roles, and would not have any more, or not as wide: of `orders:*` under a
    /// policy that grants `orders:read`, that is left.
    pub lost_scopes: ScopeSet,
    /// Whether it would be refused because it is bound to no networks.
    pub lacks_networks: bool,
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// Which living keys of an organization a policy would end, end earlier, take scopes from, or refuse for want of networks, before
    /// it is set by [`update_organization`](Self::update_organization). Keys that it would leave as they are are not listed, nor those
    /// that are revoked or have ended. Disabled keys are: they may be enabled again.
    ///
    /// A page looks at up to 1,000 keys, so it may be short, or empty, and not be the last: go on with its `next` until there is none.
    /// A stricter policy stops keys that are there; one that is less strict brings those back that it alone had ended.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_api_key::key::Policy;
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{IssueRequest, Issuer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let acme = issuer.create_organization("acme").await?;
    /// issuer.issue(IssueRequest::new(acme.id, "endless")).await?;
    ///
    /// let mut policy = Policy::default();
    /// policy.longest_life = Some(Duration::from_secs(90 * 86_400));
    /// let mut after = None;
    /// loop {
    ///     let page = issuer.policy_preview(acme.id, &policy, after).await?;
    ///     for effect in &page.items {
    ///         println!("{} would end at {:?}", effect.record.name, effect.ends_at);
    ///     }
    ///     # assert_eq!(page.items.len(), 1);
    ///     after = page.next;
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such organization, the policy is not valid, the cursor is one of another list, or the store fails.
    pub async fn policy_preview(
        &self,
        organization: OrganizationId,
        policy: &Policy,
        after: Option<Cursor>,
    ) -> Result<Paged<PolicyEffect>, IssueError> {
        check_policy(policy)?;
        let organization = self.store.get(organization).await?;
        let organization = organization.ok_or_else(|| IssueError::missing("organization"))?;
        let mut keys = Keys::of(organization.id).page(PAGE);
        if let Some(after) = after {
            keys = keys.after(after);
        }
        let page = self.page(keys).await?;
        let mut roles = BTreeMap::new();
        let mut items = Vec::new();
        for key in page.items {
            let role_scopes = self.scopes_of_roles(&key.record, &mut roles).await?;
            items.extend(self.effect(key, role_scopes, &organization, policy));
        }
        Ok(Paged { items, next: page.next })
    }

    /// What the policy does to a key; `None` if nothing, or if the key has ended already.
    fn effect(
        &self,
        key: StoredKey,
        role_scopes: ScopeSet,
        organization: &Organization,
        policy: &Policy,
    ) -> Option<PolicyEffect> {
        if key.record.status == KeyStatus::Revoked {
            return None;
        }
        // The secret that lasts longest is that of the key.
        let lasts = |secret: &crate::key::KeySecret| secret.ends_at().map_or(i64::MAX, Timestamp::as_millis);
        let secret = key.secrets.iter().max_by_key(|secret| lasts(secret))?;
        let mut candidate = Candidate::new(key.record, secret.clone(), organization.clone());
        candidate.role_scopes = role_scopes;
        let (ends, scopes, lacked) = (candidate.ends_at(), candidate.scopes(), candidate.lacks_networks());
        if ends.is_some_and(|end| self.clock.is_over(end)) {
            return None;
        }
        candidate.organization.policy = policy.clone();
        // No end is later than every end.
        let ends_at = candidate.ends_at().filter(|new| ends.is_none_or(|end| *new < end));
        let left = candidate.scopes();
        let is_lost = |scope: &&str| scope.parse().is_ok_and(|scope| !left.allows(&scope));
        let lost: Vec<&str> = scopes.iter().filter(is_lost).collect();
        let effect = PolicyEffect {
            ends_at,
            ends_at_once: ends_at.is_some_and(|end| self.clock.is_over(end)),
            lost_scopes: ScopeSet::of_sorted(&lost),
            lacks_networks: candidate.lacks_networks() && !lacked,
            record: candidate.record,
        };
        let is_one = effect.ends_at.is_some() || !effect.lost_scopes.is_empty() || effect.lacks_networks;
        is_one.then_some(effect)
    }

    /// The scopes of a key's roles. Of each role that was read, the scopes are kept in `known`.
    async fn scopes_of_roles(
        &self,
        record: &KeyRecord,
        known: &mut BTreeMap<String, ScopeSet>,
    ) -> Result<ScopeSet, IssueError> {
        let mut all = ScopeSet::default();
        for name in record.roles.iter() {
            if !known.contains_key(name) {
                let role = self.store.get(Roles::named(name)).await?.items.pop();
                known.insert(name.to_owned(), role.map(|role| role.scopes).unwrap_or_default());
            }
            if let Some(scopes) = known.get(name) {
                all = all.union(scopes);
            }
        }
        Ok(all)
    }
}
