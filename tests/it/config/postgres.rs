//! Options of PostgreSQL.

use tower_api_key::config::{Config, ConfigFileErrorKind};
use tower_api_key::{ApiKeys, PresentedKey};

use super::{Place, issue};
use crate::support::chain;
use crate::support::postgres::{psql, schema_name, shared};

fn place(options: &str) -> Place {
    let (url, fast) = (shared(), "[hash]\nscheme = \"sha256\"\n");
    Place::new(&format!("[database]\nurl = \"{url}\"\n{options}{fast}"))
}

#[tokio::test]
async fn postgres_has_the_schema_and_the_options_of_the_file() {
    let schema = schema_name();
    let named = format!("schema = \"{schema}\"\n");
    let strict = place(&format!("{named}migrations = false\n"));
    let error = ApiKeys::open_config(strict.path()).await.unwrap_err();
    assert_eq!(error.kind(), ConfigFileErrorKind::Store);
    assert!(chain(&error).contains(&schema), "{}", chain(&error));

    let place = place(&format!(
        "{named}journal = \"gone\"\nmax_staleness = \"2s\"\nmax_connections = 3\nstatement_timeout = \"3s\"\nconnect_timeout = \
         \"4s\"\n"
    ));
    let keys = ApiKeys::open_config(place.path()).await.unwrap();
    let issued = issue(&keys, |request| request).await;
    let key = PresentedKey::new(issued.key.expose_secret().as_bytes());
    keys.authenticator().check(key).await.unwrap();
    assert_eq!(
        psql(&shared(), &format!("SELECT count(*) FROM {schema}.keys")).trim(),
        "1"
    );
    let issuer = keys.issuer().acting_as(tower_api_key::key::Actor::service());
    issuer.revoke(issued.record.id, "test").await.unwrap();
    assert!(place.has("gone"));
    // It is there now.
    ApiKeys::open_config(strict.path()).await.unwrap();
    let builder = Config::read(strict.path()).unwrap().postgres_builder();
    assert!(builder.schema_version(&shared()).await.unwrap() > 0);
    psql(&shared(), &format!("DROP SCHEMA {schema} CASCADE"));
}

#[tokio::test]
async fn times_out_of_the_bounds_of_postgres_are_refused() {
    for (option, name) in [
        ("statement_timeout = \"1ms\"\n", "statement_timeout"),
        ("connect_timeout = \"1ms\"\n", "connect_timeout"),
        ("max_staleness = \"1ms\"\n", "max_staleness"),
    ] {
        let config = Config::read(place(option).path()).unwrap();
        let error = config.open().await.unwrap_err();
        assert!(chain(&error).contains(name), "{}", chain(&error));
    }
}
