//! What new and changed keys must keep to: the policy of their organization, what the realm knows, and who they are for.

use std::time::Duration;

use super::bounds::check_limits;
use super::creator::Creator;
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use crate::error::{ConfigError, quoted};
use crate::key::{
    KeyRecord, Organization, OrganizationId, OrganizationStatus, Policy, RoleNames, Scope, ScopeSet, Timestamp, UserId,
    earlier,
};
use crate::store::query::Roles;
use crate::store::{Guard, ManagedStore, StoreExt};

/// A new key as it may be issued.
pub(super) struct Permission {
    /// Its end: the one that is asked for, or that the policy or the creator gives it.
    pub(super) expires_at: Option<Timestamp>,
    /// What was judged by, and must still be so when the key is stored.
    pub(super) guards: Vec<Guard>,
    /// How many keys the organization may have.
    pub(super) most_keys: Option<u32>,
}

impl<S: ManagedStore> Issuer<S> {
    /// Whether this organization may have this new key.
    pub(super) async fn may_issue(
        &self,
        record: &KeyRecord,
        organization: &Organization,
    ) -> Result<Permission, IssueError> {
        if organization.status != OrganizationStatus::Active {
            return Err(IssueError::not_allowed(
                "organization",
                "the organization is inactive; activate it before you issue keys",
            ));
        }
        check_limits(&record.limits, &organization.limits)?;
        let policy = &organization.policy;
        let creator = match record.created_by_key {
            // The commit judges what a key that acts may make, also in other organizations.
            Some(id) if self.acting_key() != Some(id) => Some(self.creator(id, organization).await?),
            _ => None,
        };
        let default_end = default_life(policy).map(|life| record.created_at.after(life));
        let creator_end = match &creator {
            Some(creator) => creator.ends_at,
            None => self.end_of_acting(organization).await?,
        };
        let expires_at = record.expires_at.or(earlier(default_end, creator_end));
        check_end(policy, record.created_at, expires_at)?;
        check_networks(policy, record)?;
        self.check_scopes(organization, &record.scopes).await?;
        self.check_roles(record.roles.iter()).await?;
        if let Some(creator) = &creator {
            creator.covers(record, expires_at)?;
        }
        let mut guards = vec![Guard::OrganizationRevision(organization.id, organization.revision)];
        guards.extend(creator.iter().flat_map(Creator::guards));
        if let Some(user) = &record.user {
            guards.push(self.check_active(organization.id, user).await?);
        }
        if let (None, Some(id)) = (organization.max_keys, organization.plan) {
            // Read before its number: a plan that is changed in between has another revision then.
            let plan = self.store.get(id).await?;
            guards.extend(plan.map(|plan| Guard::PlanRevision(id, plan.revision)));
        }
        let most_keys = self.max_keys_of(organization).await?;
        guards.extend(most_keys.map(|most| Guard::LiveKeysBelow(organization.id, most)));
        Ok(Permission {
            expires_at,
            guards,
            most_keys,
        })
    }

    /// Whether a key may be changed so. Only what is new is judged: what the key has already may stay, and narrowing it must
    /// always be possible.
    pub(super) async fn may_change(&self, before: &KeyRecord, after: &KeyRecord) -> Result<Vec<Guard>, IssueError> {
        let mut guards = Vec::new();
        let has_other_bounds = after.limits != before.limits
            || after.networks != before.networks
            || after.scopes != before.scopes
            || after.expires_at != before.expires_at;
        if has_other_bounds && let Some(organization) = self.store.get(before.organization_id).await? {
            let policy = &organization.policy;
            if after.limits != before.limits {
                check_limits(&after.limits, &organization.limits)?;
            }
            if after.networks != before.networks {
                check_networks(policy, after)?;
            }
            if is_later(after.expires_at, before.expires_at) {
                check_end(policy, after.created_at, after.expires_at)?;
            }
            let added = added_scopes(&before.scopes, &after.scopes)?;
            self.check_scopes(&organization, &added).await?;
            guards.push(Guard::OrganizationRevision(organization.id, organization.revision));
        }
        if after.roles != before.roles {
            self.check_roles(added_roles(&before.roles, &after.roles).into_iter())
                .await?;
        }
        match &after.user {
            Some(user) if after.user != before.user => {
                guards.push(self.check_active(before.organization_id, user).await?);
            }
            _ => {}
        }
        Ok(guards)
    }

    /// When the organization's policy ends the key, whatever its own end.
    pub(super) async fn end_of_policy(&self, record: &KeyRecord) -> Result<Option<Timestamp>, IssueError> {
        let organization = self.store.get(record.organization_id).await?;
        let longest = organization.and_then(|organization| organization.policy.longest_life);
        Ok(longest.map(|life| record.created_at.after(life)))
    }

    /// The organization grants these scopes, and the realm knows them.
    async fn check_scopes(&self, organization: &Organization, scopes: &ScopeSet) -> Result<(), IssueError> {
        if let Some(grantable) = &organization.policy.grantable {
            let grants = |text: &&str| text.parse().is_ok_and(|scope| grantable.allows(&scope));
            if let Some(scope) = scopes.iter().find(|text| !grants(text)) {
                let sentence = format!("the organization may not grant the scope {}", quoted(scope));
                return Err(IssueError::not_allowed("scopes", sentence));
            }
        }
        self.check_known(scopes, &ScopeSet::default()).await
    }

    async fn check_roles(&self, names: impl Iterator<Item = &str>) -> Result<(), IssueError> {
        for name in names {
            if self.store.get(Roles::named(name).page(1)).await?.items.is_empty() {
                let problem = format!("there is no role {}", quoted(name));
                return Err(ConfigError::new("roles", problem).into());
            }
        }
        Ok(())
    }

    /// When the key ends that the issuer acts with, if it is of this organization: what it makes ends by then.
    async fn end_of_acting(&self, organization: &Organization) -> Result<Option<Timestamp>, IssueError> {
        let Some(id) = self.acting_key() else { return Ok(None) };
        let stored = self.store.get(id).await?.map(|stored| stored.record);
        let own = stored.filter(|record| record.organization_id == organization.id);
        let longest = organization.policy.longest_life;
        Ok(own.and_then(|record| earlier(record.expires_at, longest.map(|life| record.created_at.after(life)))))
    }

    /// That the user is not disabled, now and when the commit is made.
    async fn check_active(&self, organization: OrganizationId, user: &UserId) -> Result<Guard, IssueError> {
        self.check_user(organization, Some(user)).await?;
        Ok(Guard::UserIsActive(organization, user.clone()))
    }
}

pub(super) fn too_many_keys(most: u32) -> IssueError {
    let sentence = format!("the organization may have {most} keys that are not revoked, and has as many");
    IssueError::about(IssueErrorKind::LimitReached, "max_keys", sentence)
}

/// The life of a key for which none is asked.
fn default_life(policy: &Policy) -> Option<Duration> {
    let life = policy.default_life?;
    Some(policy.longest_life.map_or(life, |longest| life.min(longest)))
}

fn check_end(policy: &Policy, created_at: Timestamp, end: Option<Timestamp>) -> Result<(), IssueError> {
    let forbidden = |sentence: String| Err(IssueError::not_allowed("expiry", sentence));
    let Some(end) = end else {
        return match policy.requires_expiry {
            true => forbidden("the organization's keys must have an expiry".into()),
            false => Ok(()),
        };
    };
    match policy.longest_life {
        Some(longest) if end > created_at.after(longest) => forbidden(format!(
            "the organization's keys end at the latest {} after their creation, which is {}; asked for was {end}",
            in_words(longest),
            created_at.after(longest)
        )),
        _ => Ok(()),
    }
}

/// People count the life of a key in days.
pub(super) fn in_words(time: Duration) -> String {
    const DAY: u64 = 86_400;
    match (time.subsec_nanos(), time.as_secs()) {
        (0, DAY) => "1 day".to_owned(),
        (0, seconds) if seconds > 0 && seconds.is_multiple_of(DAY) => format!("{} days", seconds / DAY),
        _ => format!("{time:?}"),
    }
}

fn check_networks(policy: &Policy, record: &KeyRecord) -> Result<(), IssueError> {
    match policy.requires_networks && record.networks.is_empty() {
        true => Err(IssueError::not_allowed(
            "networks",
            "the organization's keys must be bound to networks",
        )),
        false => Ok(()),
    }
}

/// Whether the end was moved back, or taken away.
fn is_later(after: Option<Timestamp>, before: Option<Timestamp>) -> bool {
    match (after, before) {
        (Some(after), Some(before)) => after > before,
        (None, Some(_)) => true,
        // An end that is too far away is a mistake, even where there was none.
        (Some(_), None) => true,
        (None, None) => false,
    }
}

/// Those that the key did not have in one form or another.
fn added_scopes(before: &ScopeSet, after: &ScopeSet) -> Result<ScopeSet, ConfigError> {
    let scopes = after.iter().map(str::parse).collect::<Result<Vec<Scope>, _>>()?;
    Ok(ScopeSet::new(scopes.into_iter().filter(|scope| !before.allows(scope)))?)
}

fn added_roles<'a>(before: &RoleNames, after: &'a RoleNames) -> Vec<&'a str> {
    after.iter().filter(|name| !before.contains(name)).collect()
}
