//! The last key of the operator stays.

use std::time::Duration;

use super::bench::{Bench, NOW, insert_key, new_key, one};
use crate::key::{KeyId, KeyStatus, Organization, Role, User, UserStatus};
use crate::store::query::{Organizations, Roles};
use crate::store::{Commit, Guard, ManagedStore, StoreErrorKind, Write};

/// Nothing else may mark an organization as the operator's at the same time, so this goes on with one that is there.
pub(super) async fn last_key<S: ManagedStore>(bench: &Bench<S>) {
    let operator = operator(bench).await;
    let lives = |beside: &[KeyId], at| Guard::OperatorKeyLives {
        beside: beside.to_vec(),
        at,
    };
    let last = StoreErrorKind::LastOperatorKey;
    let guarded = |write: Write| one(write).guard(lives(&[], NOW));

    let mut plain = new_key(&operator);
    plain.record.scopes = bench.parsed("*");
    let insert = insert_key(&plain).guard(lives(&[], NOW));
    bench
        .fails("the first key of the operator, without its scopes", insert, last)
        .await;

    let mut first = new_key(&operator);
    first.record.scopes = bench.parsed("api-keys.keys:write orders:read");
    first.record.expires_at = Some(NOW.after(Duration::from_secs(60)));
    let insert = insert_key(&first).guard(lives(&[], NOW));
    bench.commit("the first key of the operator", insert).await;
    let late = NOW.after(Duration::from_secs(60));
    let guard = Commit::new().guard(lives(&[], late));
    bench.fails("a commit after the end of the only key", guard, last).await;
    let guard = Commit::new().guard(lives(&[first.record.id], NOW));
    bench.fails("a commit beside the only key", guard, last).await;

    let mut disabled = first.record.clone();
    disabled.status = KeyStatus::Disabled;
    let what = "disabling the only key";
    bench.fails(what, guarded(Write::UpdateKey(disabled)), last).await;
    let what = "deleting the only key";
    bench
        .fails(what, guarded(Write::DeleteKey(first.record.id)), last)
        .await;
    let mut narrowed = first.record.clone();
    narrowed.scopes = bench.parsed("*");
    let what = "narrowing the only key";
    bench.fails(what, guarded(Write::UpdateKey(narrowed)), last).await;
    let mut inactive = operator.clone();
    inactive.status = crate::key::OrganizationStatus::Inactive;
    let what = "deactivating the organization of the only key";
    bench
        .fails(what, guarded(Write::UpdateOrganization(inactive)), last)
        .await;

    // A second one, by a role and of a user.
    let role = Role::new(
        first.record.id.as_uuid().simple().to_string(),
        bench.parsed("api-keys.keys:write"),
    );
    bench
        .commit("inserting a role", one(Write::InsertRole(role.clone())))
        .await;
    let mut second = new_key(&operator);
    second.record.roles = bench.parsed(&role.name);
    second.record.user = Some(bench.parsed("alice"));
    bench
        .commit("the second key of the operator", insert_key(&second))
        .await;
    let guard = Commit::new().guard(lives(&[first.record.id], NOW));
    bench.commit("a commit beside one of two keys", guard).await;
    bench
        .commit("deleting one of two keys", guarded(Write::DeleteKey(first.record.id)))
        .await;
    let what = "deleting the role of the only key";
    bench
        .fails(what, guarded(Write::DeleteRole(role.name.clone())), last)
        .await;
    let mut user = User::new(operator.id, bench.parsed("alice"), NOW);
    user.status = UserStatus::Disabled;
    let what = "disabling the user of the only key";
    bench.fails(what, guarded(Write::InsertUser(user)), last).await;
    let found = bench.find(&second.secrets[0].lookup).await;
    bench.same(
        "what is found of the second key",
        found.map(|found| found.record),
        Some(second.record.clone()),
    );
    let roles = bench.get("reading a role", Roles::named(&*role.name).page(1)).await;
    bench.same("the role", roles.items, vec![role]);
    bench
        .commit(
            "deleting the last key on the host",
            one(Write::DeleteKey(second.record.id)),
        )
        .await;
}

/// The operator's organization, without keys.
async fn operator<S: ManagedStore>(bench: &Bench<S>) -> Organization {
    let mut page = bench
        .get("reading organizations", Organizations::all().page(1000))
        .await;
    loop {
        if let Some(found) = page.items.into_iter().find(|organization| organization.is_operator) {
            return found;
        }
        match page.next {
            Some(next) => {
                page = bench
                    .get("reading organizations", Organizations::all().page(1000).after(next))
                    .await;
            }
            None => break,
        }
    }
    let mut operator = Organization::new("Operator");
    operator.is_operator = true;
    let insert = one(Write::InsertOrganization(operator.clone()));
    bench.commit("inserting the operator's organization", insert).await;
    let mut second = Organization::new("Second");
    second.is_operator = true;
    let what = "a second organization of the operator";
    let insert = one(Write::InsertOrganization(second));
    bench.fails(what, insert, StoreErrorKind::AlreadyExists).await;
    operator
}
