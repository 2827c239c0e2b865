//! bcrypt ignores what comes after 72 bytes, so another key with the same beginning is right by its hash too.

use std::time::Duration;

use rstest::rstest;
use tower_api_key::hash::{HashPool, InvalidHashKind, validate, validate_for};
use tower_api_key::key::{Checksum, KeyFormat, KeyRecord, KeySecret, Lookup, SecretHash, Timestamp};
use tower_api_key::store::KeyStore as _;

use crate::house::{House, argon2, kind};
use crate::support::rows::Rows as _;

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuumIHb3QahU5VDpzZzrcm3ACZMYWLbXla";

fn key(end: char) -> String {
    format!("acme_live_LongLookup00{:a<67}{end}", "")
}

fn format() -> KeyFormat {
    let builder = KeyFormat::builder("acme").checksum(Checksum::None);
    builder.body_length(80).build().unwrap()
}

/// A house with the imported hash of the key that ends with `x`.
async fn imported(rehash: bool) -> House {
    let house = House::with_pool(argon2(), HashPool::builder().build(), |builder| match rehash {
        true => builder.formats(format()).rehash_obsolete(),
        false => builder.formats(format()),
    })
    .await;
    let mut record = KeyRecord::new(house.organization.id, "imported", Timestamp::now());
    record.prefix = "acme".to_owned();
    record.environment = Some("live".to_owned());
    let lookup = Lookup::new("LongLookup00").unwrap();
    let secret = KeySecret::new(lookup, SecretHash::new(HASH).unwrap(), Timestamp::now());
    house.store.inner().insert_key(record, secret).await.unwrap();
    house
}

#[rstest]
#[case::while_the_other_is_fresh(false)]
#[case::while_the_other_is_stale(true)]
#[tokio::test]
async fn right_key_is_not_refused_because_of_another_with_its_beginning(#[case] stale: bool) {
    let house = imported(false).await;
    house.check(&key('y')).await.unwrap();
    if stale {
        house.everything_changed();
    }
    for _ in 0..2 {
        house.check(&key('x')).await.unwrap();
        house.check(&key('y')).await.unwrap();
    }
    // A key with another beginning is wrong as ever.
    let wrong = key('x').replace("aaaaa", "aaaab");
    kind(&house.check(&wrong).await);
}

#[tokio::test]
async fn key_that_may_be_another_is_not_hashed_anew() {
    let house = imported(true).await;
    house.check(&key('y')).await.unwrap();
    house.hand.advance(Duration::from_secs(1));
    house.is_at_rest().await;
    let stored = house
        .store
        .find(&Lookup::new("LongLookup00").unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.secret.hash.scheme(), "2b");
    house.check(&key('x')).await.unwrap();
}

#[test]
fn hash_that_ignores_the_end_of_keys_is_refused_where_the_format_is_known() {
    let hash = SecretHash::new(HASH).unwrap();
    validate(&hash).unwrap();
    assert_eq!(
        validate_for(&hash, &format()).unwrap_err().kind(),
        InvalidHashKind::CutsKeys
    );
    validate_for(&hash, &KeyFormat::default()).unwrap();
    let whole = "bcrypt-sha256:$2b$04$abcdefghijklmnopqrstuuemYve4ylSRo1dHVXcP63M1F3vNNEnD.";
    validate_for(&SecretHash::new(whole).unwrap(), &format()).unwrap();
}
