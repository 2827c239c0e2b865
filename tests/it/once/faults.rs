//! Clients that go away, and stores that fail.

use std::io::{BufRead, BufReader, Write};
use std::pin::pin;

use tower_api_key::store::StoreErrorKind;
use tower_api_key::testing::{Fault, FaultStore};

use super::*;
use crate::house::{poll_once, settle};

/// Whether it was ready before it was dropped.
async fn poll_then_drop<T>(future: impl Future<Output = T>, polls: usize) -> bool {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll_once(future.as_mut()).await.is_some() {
            return true;
        }
        settle().await;
    }
    false
}

/// What was under way goes on, or was not begun: in both cases the next one that asks has the one key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_at_any_poll_the_key_is_made_once() {
    for shop in Shop::each().await {
        let (mut cut, mut found) = (0, 0);
        for polls in (0..60).chain([100, 300, 1_000, 10_000]) {
            let (name, key) = (format!("key {polls}"), format!("poll-{polls}"));
            let request = || IssueRequest::new(shop.acme.id, &*name);
            let is_done = poll_then_drop(Box::pin(shop.once(&key, request())), polls).await;
            let answer = shop.once(&key, request()).await.unwrap();
            cut += usize::from(!is_done);
            found += usize::from(matches!(answer, OnceIssued::MadeBefore(_)));
            assert!(!is_done || matches!(answer, OnceIssued::MadeBefore(_)));
            let again = made_before(shop.once(&key, request()).await);
            assert_eq!(again.id, answer.record().id);
            let named = Keys::of(shop.acme.id).name_starts_with(&name).page(1000);
            let named = shop.store.get(named).await.unwrap().items;
            let of_name = named.iter().filter(|key| key.record.name == name);
            assert_eq!(of_name.count(), 1, "{name} on {}", shop.database);
        }
        assert!(cut > 0 && found > 0, "{cut} {found} on {}", shop.database);
    }
}

/// Each call of the store fails once: before it does anything, and after it has done it.
#[tokio::test]
async fn after_any_failure_of_the_store_the_key_is_made_once() {
    for database in Database::each() {
        let store = FaultStore::new(database.open().await);
        let keys = ApiKeys::builder(store.clone()).hash_policy(cheap_hashes());
        let keys = keys.open().await.unwrap();
        let issuer = keys.issuer().acting_as(Actor::user("alice"));
        let acme = issuer.create_organization("acme").await.unwrap();
        let (mut made_all_the_same, mut total) = (0, 0);
        for fault in [
            Fault::Error(StoreErrorKind::Unavailable),
            Fault::ErrorAfter(StoreErrorKind::OutcomeUnknown),
        ] {
            for call in 0.. {
                let key = once(&format!("{call}-{}", total));
                let request = || IssueRequest::new(acme.id, "key");
                for _ in 0..call {
                    store.faults().next_manage(Fault::None);
                }
                store.faults().next_manage(fault.clone());
                let first = issuer.issue_once(request(), &key).await;
                store.faults().heal();
                total += 1;
                let again = issuer.issue_once(request(), &key).await.unwrap();
                let Err(error) = first else {
                    assert!(call > 2, "no call failed");
                    break;
                };
                let expected = match fault {
                    Fault::Error(_) => IssueErrorKind::StoreUnavailable,
                    _ => IssueErrorKind::OutcomeUnknown,
                };
                assert_eq!(error.kind(), expected);
                made_all_the_same += usize::from(matches!(again, OnceIssued::MadeBefore(_)));
                assert_eq!(made_before(issuer.issue_once(request(), &key).await), *again.record());
            }
        }
        assert_eq!(
            made_all_the_same, 1,
            "that of the commit whose answer was lost, on {database}"
        );
        let all = keys.read(Keys::of(acme.id).count()).await.unwrap();
        assert_eq!(all.number, total, "{database}");
    }
}

/// Makes keys one after the other, and says so after each.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[tokio::test]
#[ignore = "run in another process by another test"]
async fn maker() {
    let Some(address) = crate::shared_database::processes::role() else {
        return;
    };
    let keys = handle(Database::at(&address).open().await, &ManualClock::new()).await;
    let host = keys.issuer().acting_as(Actor::user("alice"));
    let acme = host.organization_by_slug("acme").await.unwrap().unwrap();
    for number in 0.. {
        let request = IssueRequest::new(acme.id, format!("key {number}"));
        let made = host.issue_once(request, &once(&number.to_string())).await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "made {number} {}", made.record().id).unwrap();
        out.flush().unwrap();
    }
}

/// Whatever the process had acknowledged or not, each request has one key afterwards.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[tokio::test]
async fn after_a_kill_the_key_is_made_once() {
    for database in Database::shared() {
        let shop = Shop::over(database).await;
        let address = shop.database.address();
        let mut maker = crate::shared_database::processes::play("once::faults::maker", &address);
        let mut said = Vec::new();
        for line in BufReader::new(maker.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            // The last line may be cut in the middle.
            if let ["made", number, id] = *words
                && let (Ok(number), Ok(id)) = (number.parse::<usize>(), id.parse::<KeyId>())
            {
                assert_eq!(number, said.len());
                said.push(id);
                if said.len() == 50 {
                    maker.kill().unwrap();
                }
            }
        }
        maker.wait().unwrap();
        assert!(said.len() >= 50);
        // And the one that may have been under way.
        for number in 0..=said.len() {
            let request = || IssueRequest::new(shop.acme.id, format!("key {number}"));
            let again = shop.once(&number.to_string(), request()).await.unwrap();
            if let Some(id) = said.get(number) {
                assert!(matches!(again, OnceIssued::MadeBefore(_)));
                assert_eq!(again.record().id, *id);
            }
        }
        let number = said.len() + 1;
        assert_eq!(shop.made().await, (number as u64, number), "{}", shop.database);
    }
}
