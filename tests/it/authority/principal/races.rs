//! What is changed between the judgement and the commit: a principal changes no key that has become another user's, and a user who
//! is disabled meanwhile grants nothing.

use std::pin::Pin;

use tower_api_key::store::StoreExt;
use tower_api_key::testing::{Barrier, Fault, FaultStore};

use super::*;

struct Slow<S> {
    store: FaultStore<S>,
    all: TwoUsers<FaultStore<S>>,
}

impl<S: ManagedStore> Slow<S> {
    async fn over(store: S) -> Self {
        let store = FaultStore::new(store);
        let all = TwoUsers::over(store.clone()).await;
        Self { store, all }
    }

    async fn key(&self) -> KeyId {
        key_of(&self.all.host, self.all.acme.id, "alice", "orders:read")
            .await
            .record
            .id
    }

    /// What comes of `call` when `change` is made before its last call of the store, which is the commit. `rehearse` is the same call
    /// for another key, and counts what is read.
    // In a box, since the three are large together.
    fn meanwhile<'a, T: 'a>(
        &'a self,
        rehearse: impl Future<Output = Result<T, IssueError>> + 'a,
        call: impl Future<Output = Result<T, IssueError>> + 'a,
        change: impl Future<Output = ()> + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, IssueError>> + 'a>> {
        Box::pin(async move {
            let before = self.store.faults().manages();
            rehearse.await.unwrap();
            let calls = self.store.faults().manages() - before;
            let barrier = Barrier::new();
            for _ in 1..calls {
                self.store.faults().next_manage(Fault::None);
            }
            self.store.faults().next_manage(Fault::Before(barrier.clone()));
            let change = async {
                barrier.reached(1).await;
                change.await;
                barrier.open();
            };
            tokio::join!(call, change).0
        })
    }
}

#[tokio::test]
async fn key_given_to_another_user_meanwhile_is_not_changed() {
    for database in Database::each() {
        let slow = Slow::over(database.open().await).await;
        let (all, alice) = (&slow.all, slow.all.alice());
        for call in 0..6 {
            let (first, second) = (slow.key().await, slow.key().await);
            for id in [first, second] {
                match call {
                    3 => drop(all.host.disable(id).await.unwrap()),
                    4 | 5 => drop(all.host.rotate(id, Duration::from_secs(60)).await.unwrap()),
                    _ => {}
                }
            }
            let made = async |id: KeyId| match call {
                0 => alice.revoke(id, "").await,
                1 => alice.rotate(id, Duration::ZERO).await.map(|issued| issued.record),
                2 => alice.update(id, |key| key.name = "mine".into()).await,
                3 => alice.enable(id).await,
                4 => alice.finish(id, Duration::ZERO).await,
                _ => alice.take_back(id, IfUsed::Override).await,
            };
            let give = async {
                let give = |key: &mut KeyRecord| key.user = Some(user("bob"));
                all.host.update(second, give).await.unwrap();
            };
            let answer = Box::pin(slow.meanwhile(made(first), made(second), give)).await;
            assert_eq!(answer.unwrap_err().kind(), MISSING, "{call}");
            let stored = all.host.key(second).await.unwrap().unwrap();
            let is_disabled = stored.record.status == KeyStatus::Disabled;
            assert_eq!((is_disabled, &*stored.record.name), (call == 3, "key"), "{call}");
            let secrets = if call > 3 { 2 } else { 1 };
            assert_eq!(stored.secrets.len(), secrets, "{call}");
        }
    }
}

/// A change of many keys writes their states alone, whatever their revisions. The key is given away before each call of the store in
/// turn.
#[tokio::test]
async fn key_given_to_another_user_meanwhile_is_not_stopped_with_others() {
    for database in Database::each() {
        let slow = Slow::over(database.open().await).await;
        let (all, alice) = (&slow.all, slow.all.alice());
        let mut given_in_time = 0;
        for place in 1.. {
            let id = slow.key().await;
            let label = format!("group-{place}");
            let mark = |key: &mut KeyRecord| key.labels = label.parse().unwrap();
            all.host.update(id, mark).await.unwrap();
            let group = KeySelection::label(&*label).within(all.acme.id);
            let barrier = Barrier::new();
            for _ in 1..place {
                slow.store.faults().next_manage(Fault::None);
            }
            slow.store.faults().next_manage(Fault::Before(barrier.clone()));
            let mut stop = std::pin::pin!(alice.disable_all(&group, ""));
            tokio::select! {
                done = &mut stop => {
                    assert_eq!(done.unwrap().total, 1);
                    slow.store.faults().heal();
                    break;
                }
                () = barrier.reached(1) => {}
            }
            let was = slow.store.inner().get(id).await.unwrap().unwrap().record.status;
            let give = |key: &mut KeyRecord| key.user = Some(user("bob"));
            all.host.update(id, give).await.unwrap();
            barrier.open();
            let done = stop.await;
            assert_eq!(all.record(id).await.status, was, "{place} {done:?}");
            given_in_time += u32::from(was == KeyStatus::Active);
        }
        assert!(given_in_time >= 3, "{given_in_time}");
    }
}

#[tokio::test]
async fn user_disabled_meanwhile_grants_nothing() {
    for database in Database::each() {
        let slow = Slow::over(database.open().await).await;
        let (all, alice) = (&slow.all, slow.all.alice());
        for call in 0..3 {
            let (first, second) = (slow.key().await, slow.key().await);
            for id in [first, second] {
                if call == 2 {
                    all.host.disable(id).await.unwrap();
                }
            }
            let made = async |id: KeyId| match call {
                0 => alice.issue(all.request()).await.map(|issued| issued.record),
                1 => alice.rotate(id, Duration::ZERO).await.map(|issued| issued.record),
                _ => alice.enable(id).await,
            };
            let disable = async {
                let alice = user("alice");
                all.host.disable_user(all.acme.id, &alice, "left").await.unwrap();
            };
            is_refused(
                Box::pin(slow.meanwhile(made(first), made(second), disable)).await,
                FORBIDDEN,
            );
            all.host.enable_user(all.acme.id, &user("alice")).await.unwrap();
            let stop = async {
                all.host.deactivate_organization(all.acme.id, "unpaid").await.unwrap();
            };
            let third = slow.key().await;
            if call == 2 {
                all.host.disable(third).await.unwrap();
                all.host.disable(first).await.unwrap();
            }
            is_refused(
                Box::pin(slow.meanwhile(made(first), made(third), stop)).await,
                FORBIDDEN,
            );
            all.host.activate_organization(all.acme.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn limits_tightened_meanwhile_bound_the_new_key() {
    let slow = Slow::over(MemoryStore::new()).await;
    let (all, alice) = (&slow.all, slow.all.alice());
    let plan = all.host.create_plan(Plan::new("team")).await.unwrap();
    // With a number of its own, that of the plan is not looked at.
    let give = |row: &mut Organization| (row.plan, row.max_keys) = (Some(plan.id), Some(100));
    all.host.update_organization(all.acme.id, give).await.unwrap();
    let make = async || {
        let request = all.request().limit("writes=10/1s".parse().unwrap());
        alice.issue(request).await
    };
    let tighten = async {
        let limits = |plan: &mut Plan| plan.key_limits = vec!["writes=1/1s".parse().unwrap()];
        all.host.update_plan(plan.id, limits).await.unwrap();
    };
    // What was changed is read again once.
    let _made = make().await.unwrap();
    is_refused(Box::pin(slow.meanwhile(make(), make(), tighten)).await, FORBIDDEN);
}

/// A change of a secret by hand raises no revision, and is not undone.
#[tokio::test]
async fn secret_ended_by_hand_meanwhile_does_not_last_again() {
    for database in Database::shared() {
        let slow = Slow::over(database.open().await).await;
        let (all, alice) = (&slow.all, slow.all.alice());
        let (first, second) = (slow.key().await, slow.key().await);
        let stored = all.host.key(second).await.unwrap().unwrap();
        let lookup = stored.secrets[0].lookup.as_str().to_owned();
        let rotate = async |id| alice.rotate(id, Duration::from_secs(3600)).await.map(drop);
        let end = async {
            let end = format!("UPDATE api_keys_key_secrets SET expires_at = 1 WHERE lookup = '{lookup}'");
            assert!(database.by_hand(&end, &[]).await > 0);
        };
        Box::pin(slow.meanwhile(rotate(first), rotate(second), end))
            .await
            .unwrap();
        let stored = all.host.key(second).await.unwrap().unwrap();
        assert!(stored.secrets.iter().all(|secret| secret.lookup.as_str() != lookup));
    }
}
