//! Plans, one and lists of them.

use crate::key::{Plan, PlanId};
use crate::store::query::cursor::list_id;
use crate::store::query::{Answer, Filter, List, Page, Paged, Query, SortKey, TypedQuery};

/// A page of plans, ordered by name.
///
/// ```
/// use tower_api_key::key::Plan;
/// use tower_api_key::store::query::Plans;
/// use tower_api_key::store::{Commit, ManagedStore, MemoryStore, StoreExt, Write};
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let store = MemoryStore::new();
/// let team = Plan::new("team");
/// store.commit(Commit::new().write(Write::InsertPlan(team.clone()))).await?;
/// assert_eq!(store.get(Plans::named("team")).await?.items, [team]);
/// # Ok::<_, tower_api_key::store::StoreError>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub type Plans = List<PlanFilter>;

/// Which plans a list has. A field that is not set filters nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanFilter {
    /// The one with this name.
    pub name: Option<String>,
}

impl Plans {
    /// All plans.
    pub fn all() -> Self {
        Self::default()
    }

    /// The plan with exactly this name, if there is one.
    pub fn named(name: impl Into<String>) -> Self {
        Self::from(PlanFilter {
            name: Some(name.into()),
        })
    }
}

impl Filter for PlanFilter {
    type Row = Plan;

    fn matches(&self, plan: &Plan) -> bool {
        self.name.as_ref().is_none_or(|name| plan.name == *name)
    }

    fn sort_key(&self, plan: &Plan) -> SortKey {
        SortKey::Name(plan.name.clone(), plan.id.as_uuid())
    }

    fn may_stand_at(&self, place: &SortKey) -> bool {
        matches!(place, SortKey::Name(..))
    }

    fn list_id(&self) -> [u8; 32] {
        list_id(&[Some("plans"), self.name.as_deref()])
    }

    fn query(self, page: Page) -> Query {
        Query::Plans(self, page)
    }

    fn take(answer: Answer) -> Option<Paged<Plan>> {
        match answer {
            Answer::Plans(page) => Some(page),
            _ => None,
        }
    }
}

impl TypedQuery for PlanId {
    type Output = Option<Plan>;

    fn query(self) -> Query {
        Query::Plan(self)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Plan(plan) => Some(plan),
            _ => None,
        }
    }
}
