//! A store of your own: one method, over a table that exists already.
//!
//! `cargo run --example custom_store`. It checks two keys against a table in memory, without any server.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::error::Error;

use tower_api_key::key::{KeyFormat, KeyId, KeyRecord, KeySecret, Lookup, Organization, SecretHash, Timestamp};
use tower_api_key::store::{Candidate, KeyStore, StoreError};
use tower_api_key::{Authenticator, PresentedKey};

/// Keys as an older system keeps them, found by eight characters.
struct OldTable {
    owner: Organization,
    rows: HashMap<&'static str, Row>,
}

struct Row {
    id: u32,
    /// SHA-256 of the whole key.
    hash: &'static str,
}

impl KeyStore for OldTable {
    async fn find(&self, lookup: &Lookup) -> Result<Option<Candidate>, StoreError> {
        let Some(row) = self.rows.get(lookup.as_str()) else {
            return Ok(None);
        };
        let made_at = Timestamp::from_millis(0);
        let mut record = KeyRecord::new(self.owner.id, "from the old system", made_at);
        // The same id at every read, of this key alone, and the prefix that its keys have.
        record.id = KeyId::from_u128(row.id.into());
        record.prefix = "cmpz".into();
        let hash = SecretHash::new(row.hash)
            .map_err(|error| StoreError::with_source(tower_api_key::store::StoreErrorKind::InvalidRecord, error))?;
        let secret = KeySecret::new(lookup.clone(), hash, made_at);
        Ok(Some(Candidate::new(record, secret, self.owner.clone())))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = OldTable {
        owner: Organization::new("acme"),
        rows: HashMap::from([(
            "01234567",
            Row {
                id: 17,
                hash: "sha256:1e4860b2f7fc88041a54c64fb828f907028f8795796c8f06161ff0816a5d91c1",
            },
        )]),
    };
    // Nothing announces a change of that table, so a deleted key works until the time to live ends.
    let keys = Authenticator::builder(store)
        .formats(KeyFormat::cmpz())
        .time_to_live(std::time::Duration::from_secs(30))?
        .build();

    let right = PresentedKey::new(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUV");
    let context = keys.check(right).await?;
    println!("{} of {}", context.name(), context.organization().name);
    assert_eq!(context.organization().name, "acme");

    let wrong = PresentedKey::new(b"cmpz_0123456789ABCDEFGHIJKLMNOPQRSTUX");
    match keys.check(wrong).await {
        Ok(context) => Err(format!("{} should not pass", context.name()).into()),
        Err(refused) => {
            println!("{refused}");
            assert_eq!(refused.kind(), tower_api_key::RejectionKind::WrongSecret);
            Ok(())
        }
    }
}
