//! What a migration says of the roles that it makes.

use tower_api_key::store::PostgresStore;
use tracing::Level;

use super::as_user;
use crate::support::audit::Audit;
use crate::support::postgres::{psql, schema_name, shared};

const KINDS: [&str; 3] = ["owner", "service", "reader"];

/// What is said of roles, and what is said that was left out.
struct Said {
    roles: Vec<String>,
    left_out: Vec<String>,
}

async fn open(url: &str, schema: &str, is_borrowed: bool) -> Said {
    let (audit, _guard) = Audit::start();
    let builder = PostgresStore::builder().schema(schema);
    let opened = match is_borrowed {
        true => builder.with_pool(super::pools::pool(url, 4)).await,
        false => builder.open(url).await,
    };
    opened.unwrap();
    let of_level = |level, field: &str| {
        let events = audit.all_of_level(level).into_iter();
        let fields = events.map(|event| event.fields);
        fields.filter(|fields| fields.contains(field)).collect()
    };
    Said {
        roles: of_level(Level::INFO, "role="),
        left_out: of_level(Level::WARN, "left out"),
    }
}

#[track_caller]
fn assert_roles(said: &Said, schema: &str, is_new: bool) {
    assert_eq!(said.roles.len(), 3, "{:?}", said.roles);
    for (line, kind) in said.roles.iter().zip(KINDS) {
        let expected = [
            format!("role=\"{schema}_{kind}\""),
            format!("is_new={is_new}"),
            format!("GRANT {schema}_{kind} TO <user>;"),
        ];
        assert!(expected.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn migration_names_its_roles_and_how_to_grant_them(#[case] is_borrowed: bool) {
    let schema = schema_name();
    let said = open(&shared(), &schema, is_borrowed).await;
    assert_roles(&said, &schema, true);
    assert_eq!(said.left_out, [""; 0]);

    // Nothing was migrated.
    let said = open(&shared(), &schema, is_borrowed).await;
    assert_eq!((said.roles.len(), said.left_out.len()), (0, 0));

    // The roles are of the whole server, and stay.
    psql(&shared(), &format!("DROP SCHEMA {schema} CASCADE"));
    let said = open(&shared(), &schema, is_borrowed).await;
    assert_roles(&said, &schema, false);
}

#[rstest::rstest]
#[case::own(false)]
#[case::borrowed(true)]
#[tokio::test]
async fn what_the_user_may_not_do_is_named_without_its_password(#[case] is_borrowed: bool) {
    let (schema, user) = (schema_name(), schema_name());
    let make = format!("CREATE SCHEMA {schema} AUTHORIZATION {user}");
    psql(
        &shared(),
        &format!("CREATE ROLE {user} LOGIN PASSWORD 'hunter2'; {make}"),
    );
    let url = as_user(&shared(), &format!("{user}:hunter2"));
    let said = open(&url, &schema, is_borrowed).await;
    assert_eq!(said.roles, [""; 0]);
    for (line, kind) in said.left_out.iter().zip(KINDS) {
        let expected = format!("role {schema}_{kind} was not made: permission denied");
        assert!(line.contains(&expected) && !line.contains("hunter2"), "{line}");
    }
    assert_eq!(said.left_out.len(), 3, "{:?}", said.left_out);

    // An administrator has made them, and this user may use none of them.
    psql(&shared(), &format!("DROP SCHEMA {schema} CASCADE; {make}"));
    for kind in KINDS {
        psql(&shared(), &format!("CREATE ROLE {schema}_{kind} NOLOGIN"));
    }
    let said = open(&url, &schema, is_borrowed).await;
    assert_roles(&said, &schema, false);
    let named = |text: &str| said.left_out.iter().any(|line| line.contains(text));
    assert!(
        named("was not granted role") && named("keep their owner"),
        "{:?}",
        said.left_out
    );
}
