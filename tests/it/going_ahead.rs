//! Keys that something speaks for, in a full hash queue.

use std::time::Duration;

use rstest::rstest;
use tower_api_key::hash::HashPool;
use tower_api_key::key::{Actor, ApiKey, Checksum, KeyFormat, KeyFormats, ServerSecret, ServerSecrets};
use tower_api_key::{ApiKeys, IssueRequest, RejectionKind};

use crate::house::brake::Brake;
use crate::house::{House, argon2, presented_from, settle, text, until, with_other_secret};
use crate::support::rows::Rows as _;

/// What happened to a right key before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Admitted,
    AdmittedAndRevoked,
    RefusedForItsNetwork,
}

/// A house with a full hash queue of wrong keys from one address, in which a key that was right before has to be hashed
/// again.
async fn crowded(before: Before) -> Result<(), RejectionKind> {
    let (brake, pool) = Brake::pool();
    brake.open();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let request = house.request("good");
    let request = match before {
        Before::RefusedForItsNetwork => request.networks("198.51.100.0/24".parse().unwrap()),
        _ => request,
    };
    let good = house.issuer.issue(request).await.unwrap();
    let first = house.check(text(&good)).await;
    assert_eq!(first.is_err(), before == Before::RefusedForItsNetwork);
    // The same key with another hash, as an import could leave it.
    let id = good.record.id;
    let mut stored = house.store.inner().key(id).await.unwrap().unwrap();
    let key = ApiKey::from(String::from(text(&good)));
    stored.secrets[0].hash = HashPool::builder().build().hash(&argon2(), &key).await.unwrap();
    house.store.inner().update_key(stored).await.unwrap();
    if before == Before::AdmittedAndRevoked {
        house.issuer.revoke(id, "lost").await.unwrap();
    }
    let mut others = Vec::new();
    for _ in 0..=house.pool.capacity() {
        others.push(house.key().await);
    }
    brake.close();
    let hashes = house.pool.hashes_run();
    let check = |key: &str| tokio::spawn(house.authenticator.check(presented_from(key, "192.0.2.1")));
    let mut flood = Vec::new();
    for (number, issued) in others.iter().enumerate() {
        flood.push(check(&with_other_secret(text(issued), number)));
        if number == 0 {
            until(|| house.pool.hashes_run() > hashes).await;
        }
    }
    until(|| house.pool.queued() == house.pool.capacity()).await;
    let good = check(text(&good));
    settle().await;
    let is_refused = good.is_finished();
    brake.open();
    let checked = good.await.unwrap();
    for job in flood {
        assert!(job.await.unwrap().is_err());
    }
    match checked {
        Ok(_) => {
            assert!(!is_refused);
            Ok(())
        }
        Err(rejection) => Err(rejection.kind()),
    }
}

#[tokio::test]
async fn key_that_was_right_before_goes_ahead_of_a_flood() {
    assert_eq!(crowded(Before::Admitted).await, Ok(()));
}

#[rstest]
#[case::revoked(Before::AdmittedAndRevoked)]
#[case::refused(Before::RefusedForItsNetwork)]
#[tokio::test]
async fn right_key_that_is_not_admitted_does_not_go_ahead(#[case] before: Before) {
    assert_eq!(crowded(before).await, Err(RejectionKind::Busy));
}

/// An invented key never gets this far with a keyed checksum, which only the servers can make.
#[rstest]
#[case::keyed(Checksum::Keyed(ServerSecrets::from(ServerSecret::new('a', &[7; 32]).unwrap())), None)]
#[case::crc(Checksum::Crc32, Some(RejectionKind::Busy))]
#[tokio::test]
async fn first_use_of_key_with_keyed_checksum_goes_ahead(
    #[case] checksum: Checksum,
    #[case] refused: Option<RejectionKind>,
) {
    let (brake, pool) = Brake::pool();
    let format = KeyFormat::builder("key").checksum(checksum).build().unwrap();
    let formats = KeyFormats::new([format.clone(), KeyFormat::cmpz()]).unwrap();
    let house = House::with_pool(argon2(), pool, |builder| builder.formats(formats)).await;
    let issuing = ApiKeys::builder(house.store.clone())
        .formats(format)
        .hash_policy(argon2());
    let issuer = issuing.pool(HashPool::builder().build()).checking().issuer();
    let issuer = issuer.acting_as(Actor::service());
    let good = issuer
        .issue(IssueRequest::new(house.organization.id, "good"))
        .await
        .unwrap();
    // Its client is the largest by far.
    let check = |key: &str| tokio::spawn(house.authenticator.check(presented_from(key, "192.0.2.1")));
    let mut flood = vec![check(&format!("cmpz_{:A<32}", "first"))];
    brake.reached(1).await;
    for number in 0..house.pool.capacity() {
        flood.push(check(&format!("cmpz_{:A<32}", format!("{number:03}"))));
    }
    until(|| house.pool.queued() == house.pool.capacity()).await;
    let good = check(text(&good));
    settle().await;
    brake.open();
    assert_eq!(good.await.unwrap().err().map(|rejection| rejection.kind()), refused);
    for job in flood {
        assert!(job.await.unwrap().is_err());
    }
}

/// What every network of a crowd has sent, and is about to send.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crowd {
    Revoked,
    Expired,
    Active,
}

/// Whether a new key has a place in a hash queue that is full of right keys of other networks, which have sent right ones before.
#[rstest]
#[case::revoked(Crowd::Revoked)]
#[case::expired(Crowd::Expired)]
#[case::active(Crowd::Active)]
#[tokio::test]
async fn right_keys_of_many_networks_leave_newcomers_a_place(#[case] crowd: Crowd) {
    let (brake, pool) = Brake::pool();
    brake.open();
    let house = House::with_pool(argon2(), pool, |builder| builder).await;
    let new = house.key().await;
    let networks = house.pool.capacity() + 1;
    let mut keys = Vec::new();
    for number in 0..2 * networks {
        let request = house.request("one of many");
        let request = match crowd {
            Crowd::Expired => request.expires_in(Duration::from_secs(60)),
            _ => request,
        };
        let issued = house.issuer.issue(request).await.unwrap();
        if crowd == Crowd::Revoked {
            house.issuer.revoke(issued.record.id, "lost").await.unwrap();
        }
        keys.push((text(&issued).to_owned(), format!("10.0.{}.1", number % networks)));
    }
    house.hand.advance(Duration::from_secs(60));
    let (first, second) = keys.split_at(networks);
    for (key, from) in first {
        let checked = house.authenticator.check(presented_from(key, from)).await;
        assert_eq!(checked.is_ok(), crowd == Crowd::Active);
    }
    brake.close();
    let hashes = house.pool.hashes_run();
    let mut flood = Vec::new();
    for (key, from) in second {
        flood.push(tokio::spawn(house.authenticator.check(presented_from(key, from))));
        until(|| house.pool.hashes_run() > hashes).await;
    }
    until(|| house.pool.queued() == house.pool.capacity()).await;
    let newcomer = tokio::spawn(house.authenticator.check(presented_from(text(&new), "198.51.100.1")));
    settle().await;
    brake.open();
    newcomer.await.unwrap().unwrap();
    for job in flood {
        drop(job.await.unwrap());
    }
}
