//! What was made for an idempotency key.

use crate::key::{Actor, IdempotencyKey, IdempotencyRecord, OrganizationId};
use crate::store::query::{Answer, Query, TypedQuery};

/// What was made for this idempotency key of this actor in this organization; `None` if nothing was. A row that
/// [is over](IdempotencyRecord::is_over) may still be there.
#[derive(Clone, Debug)]
#[must_use]
pub struct OneIdempotency(pub OrganizationId, pub Actor, pub IdempotencyKey);

impl TypedQuery for OneIdempotency {
    type Output = Option<IdempotencyRecord>;

    fn query(self) -> Query {
        Query::Idempotency(self.0, self.1, self.2)
    }

    fn take(answer: Answer) -> Option<Self::Output> {
        match answer {
            Answer::Idempotency(row) => Some(row),
            _ => None,
        }
    }
}
