//! Plans: created, changed, deleted.

use super::bounds::{check_limits, check_max_keys, of_field};
use super::change::names;
use super::difference::{Field, chained, described, limits, removed};
use super::error::{IssueError, IssueErrorKind};
use super::issuer::Issuer;
use super::retry::{ATTEMPTS, retried};
use crate::audit::{AuditAction, AuditEvent};
use crate::error::ConfigError;
use crate::key::{OrganizationId, Plan, PlanId, check_name};
use crate::store::query::{Paged, Plans};
use crate::store::{Change, Commit, ManagedStore, StoreError, StoreErrorKind, StoreExt, Write};

impl<S: ManagedStore> Issuer<S> {
    /// Creates a plan. A new store has three: `free`, `pro` and `enterprise`. The plan's id is a new one, whatever the given one is.
    ///
    /// ```
    /// use tower_api_key::key::Plan;
    /// use tower_api_key::store::MemoryStore;
    /// use tower_api_key::{Issuer, OrganizationRequest};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let issuer = Issuer::new(MemoryStore::new())?;
    /// let mut team = Plan::new("team");
    /// team.key_limits = vec!["requests=300/60s".parse()?]; // of each key
    /// team.limits = vec!["all-requests=1000/60s".parse()?]; // that all keys of an organization share
    /// team.max_keys = Some(20);
    /// let team = issuer.create_plan(team).await?;
    ///
    /// let acme = issuer.create_organization(OrganizationRequest::new("acme").plan(team.id)).await?;
    /// assert_eq!(issuer.max_keys(acme.id).await?, Some(20));
    ///
    /// // For all that have the plan, at once.
    /// issuer.update_plan(team.id, |team| team.max_keys = Some(50)).await?;
    /// assert_eq!(issuer.max_keys(acme.id).await?, Some(50));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a part of the plan is not valid, or the store fails; [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another plan
    /// has the name.
    pub async fn create_plan(&self, mut plan: Plan) -> Result<Plan, IssueError> {
        (plan.id, plan.revision) = (PlanId::new(), 1);
        check_plan(&plan, None)?;
        let event = self.plan_event(&plan, AuditAction::PLAN_CREATED);
        let commit = Commit::new()
            .write(Write::InsertPlan(plan.clone()))
            .audit(described(event, None, fields(&plan)));
        match self.commit(commit).await {
            Ok(_) => Ok(plan),
            Err(error) => Err(refused(error)),
        }
    }

    /// Changes a plan: its limits, its number of keys, its name. That holds for all organizations that have it, at once: when this
    /// returns, every request on this node is judged by the new limits. The closure may run more than once, when others change the
    /// same row. What changes nothing is not written.
    ///
    /// Keys beyond a smaller number of keys stay; there are no new ones until there is room.
    ///
    /// # Errors
    /// When there is no such plan, a part of the change is not valid, or the store fails;
    /// [`AlreadyExists`](IssueErrorKind::AlreadyExists) when another plan has the new name;
    /// [`Conflict`](IssueErrorKind::Conflict) when another change came first 8 times.
    pub async fn update_plan(&self, id: PlanId, change: impl Fn(&mut Plan) + Send + Sync) -> Result<Plan, IssueError> {
        retried!(ATTEMPTS, async {
            let before = self.store.get(id).await?.ok_or_else(|| IssueError::missing("plan"))?;
            let mut plan = before.clone();
            change(&mut plan);
            (plan.id, plan.revision) = (id, before.revision);
            if plan == before {
                self.announce_again(Change::new(id, before.revision)).await?;
                return Ok(before);
            }
            check_plan(&plan, Some(&before))?;
            let event = self.plan_event(&plan, AuditAction::PLAN_UPDATED);
            let event = event.detail("changed", changed_fields(&before, &plan));
            let commit = Commit::new().write(Write::UpdatePlan(plan.clone())).audit(described(
                event,
                Some(fields(&before)),
                fields(&plan),
            ));
            let committed = self.commit(commit).await.map_err(refused)?;
            plan.revision = committed.revision_of(id).unwrap_or(plan.revision);
            Ok(plan)
        })
    }

    /// Deletes a plan that no organization has.
    ///
    /// # Errors
    /// When there is no such plan, or the store fails; [`InUse`](IssueErrorKind::InUse) while an organization has it.
    pub async fn delete_plan(&self, id: PlanId) -> Result<(), IssueError> {
        let plan = self.store.get(id).await?.ok_or_else(|| IssueError::missing("plan"))?;
        let event = self.plan_event(&plan, AuditAction::PLAN_DELETED);
        let commit = Commit::new()
            .write(Write::DeletePlan(id))
            .audit(removed(event, fields(&plan)));
        match self.commit(commit).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == StoreErrorKind::Conflict => {
                let sentence = "organizations have the plan; give them another one first";
                Err(IssueError::about(IssueErrorKind::InUse, "plan", sentence))
            }
            Err(error) => Err(refused(error)),
        }
    }

    fn plan_event(&self, plan: &Plan, action: AuditAction) -> AuditEvent {
        let system = OrganizationId::from(uuid::Uuid::nil());
        self.event(system, action).detail("plan", plan.id.to_string())
    }
}

impl<S: ManagedStore, A: Sync> Issuer<S, A> {
    /// A plan; `None` if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plan(&self, id: PlanId) -> Result<Option<Plan>, IssueError> {
        Ok(self.store.get(id).await?)
    }

    /// The plan with this name; `None` if there is no such.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plan_named(&self, name: &str) -> Result<Option<Plan>, IssueError> {
        Ok(self.store.get(Plans::named(name).page(1)).await?.items.pop())
    }

    /// A page of plans.
    ///
    /// # Errors
    /// When the store fails, or the page's cursor is one of another list.
    pub async fn plans(&self, plans: Plans) -> Result<Paged<Plan>, IssueError> {
        self.page(plans).await
    }
}

fn refused(error: StoreError) -> IssueError {
    match error.kind() {
        StoreErrorKind::AlreadyExists => IssueError::taken("name", "plan"),
        StoreErrorKind::NotFound => IssueError::missing("plan"),
        _ => error.into(),
    }
}

/// Checks what differs from before, or all of a new plan.
fn check_plan(plan: &Plan, before: Option<&Plan>) -> Result<(), ConfigError> {
    // Each field is named, so that a new one is not forgotten.
    let Plan {
        name,
        key_limits,
        limits,
        max_keys,
        id: _,
        revision: _,
    } = plan;
    if before.is_none_or(|before| before.name != *name) {
        check_name("name", name)?;
    }
    if before.is_none_or(|before| before.limits != *limits) {
        check_limits(limits, &[])?;
    }
    if before.is_none_or(|before| before.key_limits != *key_limits) {
        check_limits(key_limits, &[]).map_err(|error| of_field("key_limits", error))?;
    }
    if before.is_none_or(|before| before.max_keys != *max_keys) {
        check_max_keys(*max_keys)?;
    }
    Ok(())
}

fn changed_fields(before: &Plan, after: &Plan) -> String {
    let Plan {
        name,
        key_limits,
        limits,
        max_keys,
        id: _,
        revision: _,
    } = before;
    names(&[
        ("name", *name != after.name),
        ("key_limits", *key_limits != after.key_limits),
        ("limits", *limits != after.limits),
        ("max_keys", *max_keys != after.max_keys),
    ])
}

fn fields(plan: &Plan) -> [Field; 4] {
    let Plan {
        name,
        key_limits,
        limits: shared_limits,
        max_keys,
        id: _,
        revision: _,
    } = plan;
    [
        chained("name", Some(name.clone())),
        chained("key_limits", Some(limits(key_limits))),
        chained("limits", Some(limits(shared_limits))),
        chained("max_keys", max_keys.map(|number| number.to_string())),
    ]
}
